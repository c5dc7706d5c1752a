"""Everything that goes to MLflow, and the names it goes under."""

import base64
import hashlib
import io
import json
import logging
import os
import platform
import re
import tempfile
import time
import warnings
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Callable, Iterator

import mlflow
import numpy as np
import pandas as pd
import psutil
from mlflow import MlflowClient
from mlflow.data.dataset_source_registry import resolve_dataset_source
from mlflow.data.meta_dataset import MetaDataset
from mlflow.entities import LoggedModel, LoggedModelStatus, Metric, Run
from mlflow.exceptions import MlflowException
from mlflow.models.signature import ModelSignature
from mlflow.types.schema import AnyType, ColSpec, DataType, Schema
from PIL import Image

from hands.errors import InvalidInput
from hands.parts import HANDS

if TYPE_CHECKING:  # the pipeline's own process needs neither torch nor what rests on it
    from torch import nn

    from hands.packed import PackedSet

ROOT = Path(__file__).resolve().parent.parent
SERVED_MODEL = ROOT / "hands" / "served.py"
GENERATED_NAME = re.compile(r"[a-z]+-[a-z]+-\d+")  # as MLflow calls runs that are given none: bold-fish-123
PROCESS_TAG, RESUMES_TAG = "hands.process", "hands.resumes"
ENTRY_POINT_TAG = "hands.entry_point"
LOGGED_MODEL_TAG = "hands.logged_model."
STEP_KEY_TAG = "hands.step_key"
FAILURE_TAG = "hands.failure"
OUTPUT_TAG = "hands.output."
MODEL_TAG, DIGEST_TAG, MIOU_TAG = "hands.model", "hands.dataset_digest", "hands.val_miou"
VAL_FRAMES = "val_frames"
METRICS_OF_D = ("train/loss_d", "train/d_real_acc", "train/d_fake_acc")
SIGNATURES = {
    "segmentation": ModelSignature(
        inputs=Schema([ColSpec(AnyType(), "image"), ColSpec(AnyType(), "box", required=False)]),
        outputs=Schema([ColSpec(DataType.string, hand) for hand in HANDS]),
    ),
    "discriminator": ModelSignature(
        inputs=Schema([ColSpec(AnyType(), "labels")]), outputs=Schema([ColSpec(DataType.double, "real")])
    ),
}
SERVING_REQUIREMENTS = (
    "mlflow",
    "torch",
    "torchvision",
    "segmentation-models-pytorch",
    "timm",
    "kornia",
    "lightning",
    "torchmetrics",
    "lmdb",
    "numpy",
    "pandas",
    "pillow",
    "safetensors",
    "tqdm",
)


logging.getLogger("mlflow.system_metrics").setLevel(logging.WARNING)  # it reports every start and stop
logging.getLogger("mlflow.pyfunc").setLevel(logging.WARNING)  # and every look at an input example
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")  # a bar for every two files of a model


def segmentation_request(size: int) -> pd.DataFrame:
    """What may be sent to a served network: a black PNG and the box around all of it."""
    encoded = io.BytesIO()
    Image.new("RGB", (size, size)).save(encoded, "PNG")
    return pd.DataFrame([{"image": base64.b64encode(encoded.getvalue()).decode(), "box": [0, 0, size, size]}])


def discriminator_request(size: int) -> pd.DataFrame:
    """What may be sent to a served discriminator: two empty label maps, of any size from 32 on."""
    return pd.DataFrame([{"labels": np.zeros((len(HANDS), 32, 32), np.uint8).tolist()}])


REQUESTS = {"segmentation": segmentation_request, "discriminator": discriminator_request}


@contextmanager
def run(entry_point: str, params: dict[str, object], resumed: str | None = None) -> Iterator[mlflow.ActiveRun]:
    """The MLflow run of an entry point: parameters, environment, system metrics.

    It ends FAILED with the reason on an error, and KILLED when it was interrupted (Ctrl-C, SIGTERM).

    Args:
        resumed: the run that goes on; the one that `mlflow run` has made for this call then only points to it.
    """
    if resumed:
        _point_to(resumed)
    with mlflow.start_run(run_id=resumed, log_system_metrics=True) as active:
        try:
            mlflow.set_tags({PROCESS_TAG: this_process(), ENTRY_POINT_TAG: entry_point})
            if resumed:
                MlflowClient().set_tag(resumed, FAILURE_TAG, "")
            if GENERATED_NAME.fullmatch(active.info.run_name):  # else the pipeline or the user has named it
                MlflowClient().update_run(active.info.run_id, name=entry_point)
            # `mlflow run` has logged the parameters that it passed, in its own spelling, which cannot be changed
            known = MlflowClient().get_run(active.info.run_id).data.params
            mlflow.log_params({name: value for name, value in params.items() if name not in known})
            mlflow.log_dict(environment(), "environment.json")
            yield active
        except BaseException as error:
            mlflow.set_tag(FAILURE_TAG, f"{type(error).__name__}: {error}"[:4000])
            if isinstance(error, KeyboardInterrupt):
                mlflow.end_run("KILLED")  # MLflow itself would say FAILED
            raise


def _point_to(resumed: str) -> None:
    pointer = os.environ.pop("MLFLOW_RUN_ID", resumed)
    if pointer != resumed:
        MlflowClient().set_tag(pointer, RESUMES_TAG, resumed)
        MlflowClient().update_run(pointer, name=f"resumes {resumed[:8]}")


def this_process() -> str:
    """Names this process among all that ever were: host, process id, start time."""
    process = psutil.Process()
    return f"{platform.node()} {process.pid} {process.create_time()}"


def end_dead_runs() -> None:
    """Ends, as KILLED, runs of this machine that still say RUNNING though their process is gone (kill -9, a crash)."""
    for found in mlflow.search_runs(
        search_all_experiments=True,
        filter_string=f"attributes.status = 'RUNNING' and tags.`{PROCESS_TAG}` LIKE '{platform.node()} %'",
        output_format="list",
    ):
        _, pid, created = found.data.tags[PROCESS_TAG].rsplit(" ", 2)
        if not psutil.pid_exists(int(pid)) or str(psutil.Process(int(pid)).create_time()) != created:
            MlflowClient().set_terminated(found.info.run_id, "KILLED")


def environment() -> dict:
    """Versions of Python, this machine and every installed package."""
    packages = {d.metadata["Name"]: d.version for d in metadata.distributions()}
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "processors": os.cpu_count(),
        "packages": dict(sorted(packages.items(), key=lambda item: item[0].lower())),
    }


def log_dataset(packed: "PackedSet", context: str) -> MetaDataset:
    """Ties the run to the packed set, by its digest."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The specified dataset source can be interpreted in multiple ways")
        source = resolve_dataset_source(str(packed.folder.resolve()))
    dataset = MetaDataset(
        source=source,
        name=packed.folder.name,
        digest=packed.manifest.digest,
    )
    counts = {f"records.{name}": str(subset.count) for name, subset in packed.manifest.subsets.items()}
    mlflow.log_input(dataset, context=context, tags=counts)
    return dataset


def log_output(name: str, value: str) -> None:
    """Names what a step made, for the steps after it: a model's URI, say."""
    mlflow.set_tag(OUTPUT_TAG + name, value)


def log_output_folder(name: str, folder: str) -> None:
    log_output(name, str(Path(folder).resolve()))


def log_scores(values: dict[str, float], split: str, dataset: MetaDataset, model_id: str | None) -> None:
    """A split's scores, tied to the model and the dataset."""
    log_metrics({f"{split}/{name}": value for name, value in values.items()}, 0, dataset, lambda name: model_id)


def log_metrics(metrics: dict[str, float], step: int, dataset: MetaDataset, model_id_of_metric: Callable) -> None:
    """One request for many metrics; a score that nothing could be judged for (NaN) is left out."""
    now = int(time.time() * 1000)
    entries = [
        Metric(name, value, now, step, model_id_of_metric(name), dataset.name, dataset.digest)
        for name, value in metrics.items()
        if np.isfinite(value)
    ]
    MlflowClient().log_batch(mlflow.active_run().info.run_id, metrics=entries)


class StepRecorder:
    """Writes a training step's epochs to MLflow, tied to its models and the packed set.

    Args:
        dataset: what log_dataset returned.
        model_names: the step's models; the first one is what the metrics are about, a second one is D.
        draw: (network) -> picture of the same validation frames each time.
    """

    def __init__(self, dataset: MetaDataset, model_names: tuple[str, ...], draw: Callable):
        self.dataset = dataset
        self.draw = draw
        self.history = []
        active = MlflowClient().get_run(mlflow.active_run().info.run_id)
        self.models = {name: _logged_model(active, name) for name in model_names}
        epochs = MlflowClient().get_metric_history(active.info.run_id, "train/loss_total")
        self.logged_epoch = max((metric.step for metric in epochs), default=0)  # above 0 where a run goes on

    def restore(self, history: list[tuple[int, dict[str, float]]]) -> None:
        """The epochs before those that a resumed run reports."""
        self.history = list(history)

    def epoch(self, epoch: int, metrics: dict[str, float]) -> None:
        """Every epoch is logged once, also one that is trained again because the checkpoint is from before it."""
        self.history.append((epoch, metrics))
        if epoch > self.logged_epoch:
            self._log(metrics, epoch)

    def evaluated(self, epoch: int, network: "nn.Module", is_best: bool) -> None:
        if epoch > self.logged_epoch:
            mlflow.log_image(self.draw(network), key=VAL_FRAMES, step=epoch)

    def finish(self, networks: dict[str, "nn.Module"], size: int, best: dict[str, float]) -> dict[str, str]:
        """Logs the models, the learning curves and the best epoch's scores; returns each model's URI."""
        from hands.pictures import learning_curves

        mlflow.log_figure(learning_curves(self.history), "learning_curves.png")
        if "best/epoch" not in MlflowClient().get_run(mlflow.active_run().info.run_id).data.metrics:
            self._log({"best/miou": best["val/miou"], "best/epoch": best["best_epoch"]}, int(best["best_epoch"]))
        uris = {name: log_network(network, name, size, self.models[name].model_id) for name, network in networks.items()}
        for name, uri in uris.items():
            log_output(f"{name}_model", uri)
        log_output("val_miou", str(best["val/miou"]))
        return uris

    def abandon(self) -> None:
        for model in self.models.values():
            mlflow.finalize_logged_model(model.model_id, LoggedModelStatus.FAILED)

    def _log(self, metrics: dict[str, float], step: int) -> None:
        log_metrics(metrics, step, self.dataset, self._model_id_of)

    def _model_id_of(self, metric: str) -> str:
        names = list(self.models)
        return self.models[names[-1] if metric in METRICS_OF_D else names[0]].model_id


def _logged_model(active: Run, name: str) -> LoggedModel:
    """The run's model of this name: the one that a run which goes on has begun, or a new one."""
    known = active.data.tags.get(LOGGED_MODEL_TAG + name)
    if known is not None:
        return mlflow.get_logged_model(known)
    model = mlflow.initialize_logged_model(name=name, source_run_id=active.info.run_id, model_type="pyfunc")
    mlflow.set_tag(LOGGED_MODEL_TAG + name, model.model_id)
    return model


def log_network(network: "nn.Module", name: str, size: int, model_id: str) -> str:
    """Logs a network as a pyfunc model from code; returns its URI models:/m-..."""
    from hands.checkpoint import save_network

    kind = "discriminator" if name == "discriminator" else "segmentation"
    with tempfile.TemporaryDirectory() as folder:
        save_network(network, size, Path(folder) / "network")
        logged = mlflow.pyfunc.log_model(
            name=name,
            python_model=str(SERVED_MODEL),
            artifacts={"network": str(Path(folder) / "network")},
            code_paths=[str(ROOT / "hands")],
            pip_requirements=[f"{package}=={metadata.version(package)}" for package in SERVING_REQUIREMENTS],
            signature=SIGNATURES[kind],
            input_example=REQUESTS[kind](size),
            model_id=model_id,
        )
    return f"models:/{logged.model_id}"


def fetch_network(uri: str) -> Path:
    """The folder with a model's network.json, fetched from an MLflow URI (models:/..., runs:/...) or a local folder.

    Raises:
        InvalidInput: nothing is there, or it is no model of this project.
    """
    from hands.checkpoint import NETWORK_FILE

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


def step_key(entry_point: str, params: dict[str, str], data: str) -> str:
    """Digest of all that a step's result follows from: its parameters (earlier steps' outputs among them), the state of
    the dataset it reads, and the code."""
    content = {"entry_point": entry_point, "params": params, "data": data, "source": source_digest()}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def register(model_uri: str, name: str, dataset_digest: str, miou: float) -> tuple[int, bool]:
    """Registers a model, once; its version becomes `champion` when it is the best so far on the same dataset.

    Scores on different datasets cannot be compared: the first version on another dataset becomes `champion` too.

    Returns:
        the version and whether it is the champion.
    """
    client = MlflowClient()
    versions = client.search_model_versions(f"name='{name}'")
    known = next((version for version in versions if version.tags.get(MODEL_TAG) == model_uri), None)
    if known is not None:
        return int(known.version), "champion" in client.get_model_version(name, known.version).aliases
    rivals = [
        float(version.tags[MIOU_TAG])
        for version in versions
        if version.tags.get(DIGEST_TAG) == dataset_digest and MIOU_TAG in version.tags
    ]
    tags = {MODEL_TAG: model_uri, DIGEST_TAG: dataset_digest, MIOU_TAG: f"{miou:.6f}"}
    version = mlflow.register_model(model_uri, name, tags=tags)
    best = all(float(tags[MIOU_TAG]) > rival for rival in rivals)
    if best:
        client.set_registered_model_alias(name, "champion", version.version)
    return int(version.version), best


def find_finished(key: str) -> Run | None:
    """The newest finished run of a step with this key, whose outputs are still there."""
    found = mlflow.search_runs(
        search_all_experiments=True,
        filter_string=f"attributes.status = 'FINISHED' and tags.`{STEP_KEY_TAG}` = '{key}'",
        output_format="list",
    )
    return next((run for run in found if all(map(_still_there, outputs(run.info.run_id).values()))), None)


def find_unfinished(key: str, checkpoint_dir: str) -> str | None:
    """The newest run of a step with this key that was broken off and left a checkpoint; its id."""
    found = mlflow.search_runs(
        search_all_experiments=True,
        filter_string=f"attributes.status != 'FINISHED' and tags.`{STEP_KEY_TAG}` = '{key}'",
        output_format="list",
    )
    return next((run.info.run_id for run in found if _has_checkpoint(run.info.run_id, checkpoint_dir)), None)


def run_to_resume(entry_point: str, resume: str, checkpoint_dir: str) -> str:
    """The id of the run that `resume` names: a run id, or "latest" for the newest of this entry point with a checkpoint.

    Raises:
        InvalidInput: there is no such run, or it has no checkpoint.
    """
    if resume == "latest":
        runs = mlflow.search_runs(
            search_all_experiments=True,
            filter_string=f"attributes.status != 'FINISHED' and tags.`{ENTRY_POINT_TAG}` = '{entry_point}'",
            output_format="list",
        )
        found = next((run.info.run_id for run in runs if _has_checkpoint(run.info.run_id, checkpoint_dir)), None)
        if found is None:
            raise InvalidInput(f"no unfinished run of {entry_point} has a checkpoint in {checkpoint_dir}; start one without resume.")
        return found
    try:
        MlflowClient().get_run(resume)
    except MlflowException as error:
        raise InvalidInput(f"resume is '{resume}', which is no run here; expected a run id, or latest.") from error
    if not _has_checkpoint(resume, checkpoint_dir):
        raise InvalidInput(f"run {resume} has no checkpoint in {checkpoint_dir}; give its checkpoint_dir, or start anew.")
    return resume


def _has_checkpoint(run_id: str, checkpoint_dir: str) -> bool:
    return (Path(checkpoint_dir) / run_id / "last.pt").exists()


def outputs(run_id: str) -> dict[str, str]:
    """What a step's log_output named."""
    tags = MlflowClient().get_run(run_id).data.tags
    return {name.removeprefix(OUTPUT_TAG): value for name, value in tags.items() if name.startswith(OUTPUT_TAG)}


def _still_there(output: str) -> bool:
    if output.startswith("/"):
        return Path(output).exists()
    if not output.startswith("models:/"):
        return True
    try:
        mlflow.models.get_model_info(output)
    except (MlflowException, OSError):
        return False
    return True


def create_step_run(entry_point: str, run_name: str, key: str) -> str:
    """A run below the active one, for a process that is started with its id; returns the id."""
    parent = mlflow.active_run().info
    tags = {
        "mlflow.parentRunId": parent.run_id,
        "mlflow.project.entryPoint": entry_point,
        "mlflow.source.type": "PROJECT",
        "mlflow.source.name": str(ROOT),
        STEP_KEY_TAG: key,
    }
    of_parent = MlflowClient().get_run(parent.run_id).data.tags
    tags |= {name: of_parent[name] for name in ("mlflow.source.git.commit", "mlflow.user") if name in of_parent}
    return MlflowClient().create_run(parent.experiment_id, run_name=run_name, tags=tags).info.run_id


def adopt_step_run(run_id: str) -> None:
    """Moves a run that goes on below the active one."""
    MlflowClient().set_tag(run_id, "mlflow.parentRunId", mlflow.active_run().info.run_id)


def end_step_run(run_id: str, status: str) -> None:
    """Ends a step's run whose process died without doing so."""
    if MlflowClient().get_run(run_id).info.status == "RUNNING":
        MlflowClient().set_terminated(run_id, status)
