"""What a training step has to tell MLflow, on disk until the tracking server has it."""

import json
import os
import shutil
import warnings
from pathlib import Path
from tempfile import TemporaryDirectory

import mlflow
from mlflow import MlflowClient
from mlflow.entities import Metric
from mlflow.exceptions import MlflowException
from mlflow.tracking.multimedia import compress_image_size
from mlflow.utils.mlflow_tags import MLFLOW_LOGGED_IMAGES
from PIL import Image

from hands.errors import InvalidInput
from hands.tracking import brief_requests

METRICS, PICTURE = ".json", ".png"


class Undelivered(InvalidInput):
    """The tracking server is away at the end of a step; what the step made stays on disk."""


class Outbox:
    """Entries of one run, each a file, sent in the order of their epochs and deleted when the server has them.

    Every entry arrives once: MLflow keeps one of several equal points of a metric (name, step, time, value), and a picture
    is looked for before it is sent, since a connection may break after the server has it.

    Args:
        folder: where entries wait; made with the first one.
        run_id: whose they are.
    """

    def __init__(self, folder: Path, run_id: str):
        self.folder = folder
        self.run_id = run_id
        self.away = False

    def add_metrics(self, epoch: int, metrics: list[Metric]) -> None:
        content = json.dumps([dict(metric) for metric in metrics])
        self._add(f"{epoch:08d}-1-metrics{METRICS}", lambda path: path.write_text(content))

    def add_picture(self, epoch: int, key: str, picture: Image.Image) -> None:
        """A picture for MLflow's image grid; key: letters, digits and underscores."""
        self._add(f"{epoch:08d}-2-{key}{PICTURE}", picture.save)

    def last_epoch(self) -> int:
        """Of the metrics that wait; 0 where none do."""
        return max((_epoch_of(path) for path in self._waiting() if path.suffix == METRICS), default=0)

    def send(self) -> None:
        """Sends all that waits.

        Raises:
            MlflowException, OSError: the server did not take an entry; it and those after it go on waiting.
        """
        for path in self._waiting():
            if path.suffix == METRICS:
                metrics = [Metric(**fields) for fields in json.loads(path.read_text())]
                MlflowClient().log_batch(self.run_id, metrics=metrics)
            else:
                self._send_picture(path)
            path.unlink()

    def try_to_send(self) -> None:
        """Sends what the server takes now; that it is away is warned about once."""
        try:
            with brief_requests():
                self.send()
        except (MlflowException, OSError) as error:
            if not self.away:
                warnings.warn(
                    f"{mlflow.get_tracking_uri()} does not take what is logged ({_first_line(error)}); "
                    f"training goes on, metrics and pictures wait in {self.folder}",
                    stacklevel=2,
                )
            self.away = True
        else:
            if self.away:
                warnings.warn(f"{mlflow.get_tracking_uri()} is back and has all that waited", stacklevel=2)
            self.away = False

    def _add(self, name: str, write) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        partial = self.folder / f".partial-{name}"
        write(partial)
        os.replace(partial, self.folder / name)

    def _waiting(self) -> list[Path]:
        return sorted(path for path in self.folder.glob("*") if not path.name.startswith("."))

    def _send_picture(self, path: Path) -> None:
        epoch, key = _epoch_of(path), path.stem.split("-", 2)[2]
        items = MlflowClient().list_artifacts(self.run_id, "images")
        sent = [Path(item.path) for item in items if item.path.startswith(f"images/{key}+step+{epoch}+")]
        with Image.open(path) as picture:
            if not sent:
                MlflowClient().log_image(self.run_id, picture, key=key, step=epoch)
                return
            # MLflow writes a picture, then its thumbnail, then a tag
            if not any(file.suffix == ".webp" for file in sent):
                self._send_again(path, compress_image_size(picture), sent[0].stem)
        MlflowClient().set_tag(self.run_id, MLFLOW_LOGGED_IMAGES, True)

    def _send_again(self, path: Path, thumbnail: Image.Image, name: str) -> None:
        """Over what a broken connection has left, under the name that MLflow gave it."""
        with TemporaryDirectory() as folder:
            shutil.copy(path, Path(folder) / f"{name}.png")
            thumbnail.save(Path(folder) / f"{name}+compressed.webp")
            MlflowClient().log_artifacts(self.run_id, folder, "images")


def _epoch_of(path: Path) -> int:
    return int(path.name.split("-")[0])


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]
