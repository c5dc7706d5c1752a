"""Everything that goes to MLflow, and the names it goes under."""

import hashlib
import json
import os
import platform
import tempfile
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import Iterator

import mlflow
import numpy as np
from mlflow import MlflowClient
from mlflow.data.dataset_source_registry import resolve_dataset_source
from mlflow.data.meta_dataset import MetaDataset
from mlflow.entities import LoggedModelStatus, Metric
from mlflow.exceptions import MlflowException
from torch import nn

from hands.checkpoint import NETWORK_FILE, save_network
from hands.errors import InvalidInput
from hands.packed import PackedSet
from hands.pictures import learning_curves

ROOT = Path(__file__).resolve().parent.parent
SERVED_MODEL = ROOT / "hands" / "served.py"
STEP_KEY_TAG = "hands.step_key"
FAILURE_TAG = "hands.failure"
VAL_FRAMES = "val_frames"
SERVING_REQUIREMENTS = (
    "mlflow",
    "torch",
    "torchvision",
    "segmentation-models-pytorch",
    "kornia",
    "lightning",
    "torchmetrics",
    "lmdb",
    "numpy",
    "safetensors",
)
HEALTH_TIMEOUT_S = 3


def check_server() -> None:
    """Refuses a tracking server that does not answer, in seconds instead of MLflow's minutes of retries."""
    uri = mlflow.get_tracking_uri()
    if not uri.startswith(("http://", "https://")):
        return
    try:
        urllib.request.urlopen(f"{uri.rstrip('/')}/health", timeout=HEALTH_TIMEOUT_S).close()
    except (urllib.error.URLError, OSError) as error:
        raise InvalidInput(
            f"the tracking server {uri} does not answer ({error}); start it or set MLFLOW_TRACKING_URI to one that does."
        ) from error


@contextmanager
def run(entry_point: str, params: dict[str, object]) -> Iterator[mlflow.ActiveRun]:
    """The MLflow run of an entry point: parameters, environment, system metrics; FAILED with the reason on an error."""
    check_server()
    with mlflow.start_run(run_name=entry_point, log_system_metrics=True) as active:
        # `mlflow run` has logged the parameters that it passed, in its own spelling, which cannot be changed
        known = MlflowClient().get_run(active.info.run_id).data.params
        mlflow.log_params({name: value for name, value in params.items() if name not in known})
        mlflow.log_dict(environment(), "environment.json")
        try:
            yield active
        except BaseException as error:
            mlflow.set_tag(FAILURE_TAG, f"{type(error).__name__}: {error}"[:4000])
            raise


def environment() -> dict:
    """Versions of Python, this machine and every installed package."""
    packages = {d.metadata["Name"]: d.version for d in metadata.distributions()}
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "processors": os.cpu_count(),
        "packages": dict(sorted(packages.items(), key=lambda item: item[0].lower())),
    }


def log_dataset(packed: PackedSet, context: str) -> MetaDataset:
    """Ties the run to the packed set, by its digest."""
    dataset = MetaDataset(
        source=resolve_dataset_source(str(packed.folder.resolve())),
        name=packed.folder.name,
        digest=packed.manifest.digest,
    )
    counts = {f"records.{name}": str(count) for name, count in packed.manifest.counts.items()}
    mlflow.log_input(dataset, context=context, tags=counts)
    return dataset


class StepRecorder:
    """Writes a training step's epochs to MLflow, tied to its models and the packed set.

    Args:
        dataset: what log_dataset returned.
        model_names: the step's models; the first one is what the metrics are about, a second one is D.
        draw: (network) -> picture of the same validation frames each time.
    """

    def __init__(self, dataset: MetaDataset, model_names: tuple[str, ...], draw):
        active = mlflow.active_run().info
        self.run_id = active.run_id
        self.client = MlflowClient()
        self.dataset = dataset
        self.draw = draw
        self.history = []
        self.models = {
            name: mlflow.initialize_logged_model(name=name, source_run_id=self.run_id, model_type="pyfunc")
            for name in model_names
        }

    def epoch(self, epoch: int, metrics: dict[str, float]) -> None:
        self.history.append((epoch, metrics))
        self._log(metrics, epoch)

    def evaluated(self, epoch: int, network: nn.Module, is_best: bool) -> None:
        mlflow.log_image(self.draw(network), key=VAL_FRAMES, step=epoch)

    def finish(self, networks: dict[str, nn.Module], size: int, best: dict[str, float]) -> dict[str, str]:
        """Logs the models, the learning curves and the best epoch's scores; returns each model's URI."""
        mlflow.log_figure(learning_curves(self.history), "learning_curves.png")
        summary = {name.replace("val/", "best/"): value for name, value in best.items() if name.startswith("val/")}
        self._log(summary | {"best/epoch": best["best_epoch"]}, int(best["best_epoch"]))
        uris = {name: log_network(network, name, size, self.models[name].model_id) for name, network in networks.items()}
        mlflow.log_dict(uris, "models.json")
        return uris

    def abandon(self) -> None:
        for model in self.models.values():
            mlflow.finalize_logged_model(model.model_id, LoggedModelStatus.FAILED)

    def _log(self, metrics: dict[str, float], step: int) -> None:
        now = int(time.time() * 1000)
        about_d = ("train/loss_d", "train/d_real_acc", "train/d_fake_acc")
        names = list(self.models)
        entries = [
            Metric(
                key=name,
                value=value,
                timestamp=now,
                step=step,
                model_id=self.models[names[-1] if name in about_d else names[0]].model_id,
                dataset_name=self.dataset.name,
                dataset_digest=self.dataset.digest,
            )
            for name, value in metrics.items()
            if np.isfinite(value)  # a score that nothing could be judged for is left out
        ]
        self.client.log_batch(self.run_id, metrics=entries)


def log_network(network: nn.Module, name: str, size: int, model_id: str) -> str:
    """Logs a network as a pyfunc model from code; returns its URI models:/m-..."""
    with tempfile.TemporaryDirectory() as folder:
        save_network(network, size, Path(folder) / "network")
        logged = mlflow.pyfunc.log_model(
            name=name,
            python_model=str(SERVED_MODEL),
            artifacts={"network": str(Path(folder) / "network")},
            code_paths=[str(ROOT / "hands")],
            pip_requirements=[f"{package}=={metadata.version(package)}" for package in SERVING_REQUIREMENTS],
            model_id=model_id,
        )
    return f"models:/{logged.model_id}"


def fetch_network(uri: str) -> Path:
    """The folder with a model's network.json, fetched from an MLflow URI (models:/..., runs:/...) or a local folder.

    Raises:
        InvalidInput: nothing is there, or it is no model of this project.
    """
    local = Path(uri)
    try:
        folder = local if local.is_dir() else Path(mlflow.artifacts.download_artifacts(artifact_uri=uri))
    except (MlflowException, OSError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise InvalidInput(
            f"the model '{uri}' cannot be had ({reason}); expected an MLflow URI such as models:/m-..., "
            f"models:/hands-g2@champion or runs:/<run id>/g2."
        ) from error
    for candidate in (folder, folder / "artifacts" / "network"):
        if (candidate / NETWORK_FILE).is_file():
            return candidate
    raise InvalidInput(f"'{uri}' holds no {NETWORK_FILE}; expected a model that this project logged.")


def model_id_of(uri: str) -> str | None:
    """The logged model's id behind a URI; None for a local folder."""
    return None if Path(uri).is_dir() else mlflow.models.get_model_info(uri).model_id


def source_digest() -> str:
    """Digest of the code that steps run: a finished step is reused only while it is unchanged."""
    digest = hashlib.sha256()
    for folder in ("entrypoints", "hands"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            digest.update(path.relative_to(ROOT).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    digest.update((ROOT / "conda.yaml").read_bytes())
    return digest.hexdigest()


def step_key(entry_point: str, params: dict[str, str], inputs: dict[str, str]) -> str:
    """Digest of all that a step's result follows from: its parameters, its inputs' digests and the code."""
    content = {"entry_point": entry_point, "params": params, "inputs": inputs, "source": source_digest()}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
