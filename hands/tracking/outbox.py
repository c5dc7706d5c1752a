"""What a training step has to tell MLflow, on disk until the tracking server has it."""

import io
import json
import os
import warnings
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import mlflow
from mlflow import MlflowClient
from mlflow.entities import Metric
from mlflow.exceptions import MlflowException
from mlflow.tracking.multimedia import compress_image_size
from mlflow.utils.mlflow_tags import MLFLOW_LOGGED_IMAGES
from PIL import Image

from hands.errors import InvalidInput, masked
from hands.tracking import brief_requests

METRICS, PICTURE = ".json", ".png"


class Undelivered(InvalidInput):
    """The tracking server is away at the end of a step, whose checkpoint keeps what it made."""


class Outbox:
    """Entries of one run, each a file, sent in the order of their epochs and deleted when the server has them.

    Every entry arrives once: MLflow keeps one of several equal points of a metric (name, step, time, value), and a picture
    is looked for before it is sent, since a connection may break after the server has it. An entry that cannot be written
    (a full disk) waits in memory.

    Args:
        folder: where entries wait; made with the first one.
        run_id: whose they are.
    """

    def __init__(self, folder: Path, run_id: str):
        self.folder = folder
        self.run_id = run_id
        self.away = False
        self.unwritten: dict[str, bytes] = {}

    def add_metrics(self, epoch: int, metrics: list[Metric]) -> None:
        content = json.dumps([dict(metric) for metric in metrics]).encode()
        self._add(f"{epoch:08d}-1-metrics{METRICS}", content)

    def add_picture(self, epoch: int, key: str, picture: Image.Image) -> None:
        """A picture for MLflow's image grid; key: letters, digits and underscores."""
        encoded = io.BytesIO()
        picture.save(encoded, "PNG")
        self._add(f"{epoch:08d}-2-{key}{PICTURE}", encoded.getvalue())

    def last_epoch(self) -> int:
        """Of the metrics that wait; 0 where none do."""
        return max((_epoch_of(name) for name in self._waiting() if name.endswith(METRICS)), default=0)

    def send(self) -> None:
        """Sends all that waits.

        Raises:
            MlflowException, OSError: the server did not take an entry; it and those after it go on waiting.
        """
        for name in self._waiting():
            content = self.unwritten[name] if name in self.unwritten else (self.folder / name).read_bytes()
            if name.endswith(METRICS):
                metrics = [Metric(**fields) for fields in json.loads(content)]
                MlflowClient().log_batch(self.run_id, metrics=metrics)
            else:
                self._send_picture(name, content)
            if self.unwritten.pop(name, None) is None:
                (self.folder / name).unlink()

    def try_to_send(self) -> None:
        """Sends what the server takes now; that it is away is warned about once."""
        try:
            with brief_requests():
                self.send()
        except (MlflowException, OSError) as error:
            if not self.away:
                warnings.warn(
                    f"{masked(mlflow.get_tracking_uri())} does not take what is logged ({_first_line(error)}); "
                    f"training goes on, metrics and pictures wait in {self.folder}",
                    stacklevel=2,
                )
            self.away = True
        else:
            if self.away:
                warnings.warn(f"{masked(mlflow.get_tracking_uri())} is back and has all that waited", stacklevel=2)
            self.away = False

    def _add(self, name: str, content: bytes) -> None:
        partial = self.folder / f".partial-{name}"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            partial.write_bytes(content)
            os.replace(partial, self.folder / name)
        except OSError as error:
            with suppress(OSError):
                partial.unlink(missing_ok=True)
            if not self.unwritten:
                warnings.warn(f"{self.folder} cannot be written ({error.strerror}); training goes on without it", stacklevel=3)
            self.unwritten[name] = content

    def _waiting(self) -> list[str]:
        written = [path.name for path in self.folder.glob("*") if not path.name.startswith(".")]
        return sorted({*written, *self.unwritten})

    def _send_picture(self, name: str, content: bytes) -> None:
        epoch, key = _epoch_of(name), name.removesuffix(PICTURE).split("-", 2)[2]
        items = MlflowClient().list_artifacts(self.run_id, "images")
        sent = [Path(item.path) for item in items if item.path.startswith(f"images/{key}+step+{epoch}+")]
        with Image.open(io.BytesIO(content)) as picture:
            if not sent:
                MlflowClient().log_image(self.run_id, picture, key=key, step=epoch)
                return
            # MLflow writes a picture, then its thumbnail, then a tag
            if not any(file.suffix == ".webp" for file in sent):
                self._send_again(content, compress_image_size(picture), sent[0].stem)
        MlflowClient().set_tag(self.run_id, MLFLOW_LOGGED_IMAGES, True)

    def _send_again(self, content: bytes, thumbnail: Image.Image, name: str) -> None:
        """Over what a broken connection has left, under the name that MLflow gave it."""
        with TemporaryDirectory() as folder:
            (Path(folder) / f"{name}.png").write_bytes(content)
            thumbnail.save(Path(folder) / f"{name}+compressed.webp")
            MlflowClient().log_artifacts(self.run_id, folder, "images")


def _epoch_of(name: str) -> int:
    return int(name.split("-")[0])


def _first_line(error: Exception) -> str:
    return masked((str(error).splitlines() or [type(error).__name__])[0])[:200]
