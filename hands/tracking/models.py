"""Logged models: networks to MLflow and back."""

import base64
import hashlib
import io
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import mlflow
import numpy as np
import pandas as pd
from mlflow import MlflowClient
from mlflow.entities import LoggedModel, LoggedModelInput, LoggedModelOutput, LoggedModelStatus
from mlflow.exceptions import MlflowException
from mlflow.models import Model
from mlflow.models.model import MLMODEL_FILE_NAME
from mlflow.models.signature import ModelSignature
from mlflow.types.schema import AnyType, Array, ColSpec, DataType, Schema
from mlflow.utils.file_utils import local_file_uri_to_path
from PIL import Image

from hands.errors import InvalidInput
from hands.files.cache import cache_folder
from hands.parts import HANDS
from hands.raw.provenance import Sources
from hands.tracking import ROOT
from hands.tracking.provenance import only_source_tags, tagged_sources

if TYPE_CHECKING:  # the pipeline's own process needs neither torch nor what rests on it
    from torch import nn

SERVED_MODEL = ROOT / "hands" / "prediction" / "served.py"
NETWORK_FOLDER = "artifacts/network"
DOWNLOADS, MOST = "models", 8  # in the cache
LOGGED_MODEL = re.compile(r"models:/(m-[0-9a-f]{32})")
REGISTERED_MODEL = re.compile(r"models:/(?P<name>[^/@]+)(?:@(?P<alias>.+)|/(?P<version>\d+))")
SIGNATURES = {
    "segmentation": ModelSignature(
        inputs=Schema([ColSpec(AnyType(), "image"), ColSpec(AnyType(), "box", required=False)]),
        outputs=Schema(
            [
                *(ColSpec(DataType.string, hand) for hand in HANDS),
                *(ColSpec(DataType.double, f"confidence_{hand}") for hand in HANDS),
                ColSpec(Array(DataType.double), "box"),
                ColSpec(DataType.long, "passes"),
                ColSpec(Array(DataType.string), "parts"),
            ]
        ),
    ),
    "discriminator": ModelSignature(
        inputs=Schema([ColSpec(AnyType(), "labels")]), outputs=Schema([ColSpec(DataType.double, "real")])
    ),
}
# What hands/prediction/served.py and all that it imports import, and torchvision, which timm imports and which must fit torch.
SERVING_REQUIREMENTS = (
    "mlflow",
    "torch",
    "torchvision",
    "segmentation-models-pytorch",
    "timm",
    "numpy",
    "scipy",
    "pandas",
    "pillow",
    "safetensors",
)


def segmentation_request(size: int) -> pd.DataFrame:
    """What may be sent to a served network: a black PNG and the box around all of it."""
    encoded = io.BytesIO()
    Image.new("RGB", (size, size)).save(encoded, "PNG")
    return pd.DataFrame([{"image": base64.b64encode(encoded.getvalue()).decode(), "box": [0, 0, size, size]}])


def discriminator_request(size: int) -> pd.DataFrame:
    """What may be sent to a served discriminator: two empty label maps, of any size from 32 on."""
    return pd.DataFrame([{"labels": np.zeros((len(HANDS), 32, 32), np.uint8).tolist()}])


REQUESTS = {"segmentation": segmentation_request, "discriminator": discriminator_request}


def log_network(network: "nn.Module", name: str, size: int, model_id: str) -> str:
    """Logs a network as a pyfunc model from code, once; returns its URI models:/m-...

    mlflow.pyfunc.log_model cannot be repeated for a model that a killed process had begun to log: it would tie the model to
    its run a second time, which the store refuses.

    Args:
        model_id: a model that was initialized, and perhaps logged before, in part or whole.
    """
    client = MlflowClient()
    model = client.get_logged_model(model_id)
    if model.status != LoggedModelStatus.READY:
        with tempfile.TemporaryDirectory() as folder:
            _save_pyfunc(network, name, size, model, Path(folder))
            client.log_model_artifacts(model_id, str(Path(folder) / "model"))
        outputs = client.get_run(model.source_run_id).outputs.model_outputs
        if model_id not in [output.model_id for output in outputs]:
            client.log_outputs(model.source_run_id, [LoggedModelOutput(model_id, step=0)])
        client.finalize_logged_model(model_id, LoggedModelStatus.READY)
    return f"models:/{model_id}"


def _save_pyfunc(network: "nn.Module", name: str, size: int, model: LoggedModel, folder: Path) -> None:
    from hands.networks.checkpoint import save_network

    kind = "discriminator" if name == "discriminator" else "segmentation"
    save_network(network, size, folder / "network")
    mlflow.pyfunc.save_model(
        path=str(folder / "model"),
        python_model=str(SERVED_MODEL),
        artifacts={"network": str(folder / "network")},
        code_paths=[str(ROOT / "hands")],
        pip_requirements=[f"{package}=={metadata.version(package)}" for package in SERVING_REQUIREMENTS],
        signature=SIGNATURES[kind],
        input_example=REQUESTS[kind](size),
        mlflow_model=Model(
            artifact_path=model.artifact_location,
            model_uuid=model.model_id,
            model_id=model.model_id,
            run_id=model.source_run_id,
            metadata=only_source_tags(model.tags),
        ),
    )


def fetch_network(uri: str) -> Path:
    """The folder with a model's network.json: that of a local folder or artifact store, else a download that is kept for
    the next time.

    Args:
        uri: an MLflow URI (models:/..., runs:/...) or a local folder.

    Raises:
        InvalidInput: nothing is there, or it is no model of this project.
    """
    from hands.networks.checkpoint import NETWORK_FILE

    with refusing(uri):
        folder = Path(uri) if Path(uri).is_dir() else _artifacts_of(uri)
    for candidate in (folder, folder / NETWORK_FOLDER):
        if (candidate / NETWORK_FILE).is_file():
            return candidate
    raise InvalidInput(f"'{uri}' holds no {NETWORK_FILE}; expected a model that this project logged.")


@contextmanager
def refusing(uri: str) -> Iterator[None]:
    """What MLflow raises of a model that is not there becomes InvalidInput."""
    try:
        yield
    except (MlflowException, OSError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise InvalidInput(
            f"the model '{uri}' cannot be had ({reason}); expected an MLflow URI such as models:/m-..., "
            f"runs:/<run id>/g2, or models:/hands-g2@champion, which main makes."
        ) from error


def model_sources(uri: str) -> Sources:
    """What a model was trained on, as it says itself; unknown where it says nothing, as a folder of network.json alone.

    Raises:
        InvalidInput: there is no such model.
    """
    return tagged_sources(model_source_tags(uri))


def model_source_tags(uri: str) -> dict[str, str]:
    """The same as tags."""
    local = Path(uri)
    if local.is_dir() and not (local / MLMODEL_FILE_NAME).is_file():
        return {}
    with refusing(uri):
        return only_source_tags(mlflow.models.get_model_info(uri).metadata or {})


def _artifacts_of(uri: str) -> Path:
    model_id = logged_model_id(uri)
    location = MlflowClient().get_logged_model(model_id).artifact_location
    if urlsplit(location).scheme in ("", "file"):
        return Path(local_file_uri_to_path(location))
    return _downloaded(model_id, location)


def _downloaded(model_id: str, location: str) -> Path:
    """A model's network, from the cache of downloads, which holds the MOST used last: a logged model never changes."""
    kept = cache_folder(DOWNLOADS) / model_id
    if kept.is_dir():
        os.utime(kept)
        return kept
    kept.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".", dir=kept.parent) as partial:
        network = mlflow.artifacts.download_artifacts(artifact_uri=f"{location}/{NETWORK_FOLDER}", dst_path=partial)
        try:
            os.rename(network, kept)
        except OSError:
            if not kept.is_dir():  # another process was faster
                raise
    os.utime(kept)
    by_age = sorted(kept.parent.glob("m-*"), key=lambda folder: folder.stat().st_mtime, reverse=True)
    for old in by_age[MOST:]:
        shutil.rmtree(old, ignore_errors=True)
    return kept


def logged_model_id(uri: str) -> str:
    """The id of the logged model behind an MLflow URI; raises MlflowException where there is none."""
    named = LOGGED_MODEL.fullmatch(uri)
    if named:
        return named[1]
    with tempfile.TemporaryDirectory() as folder:
        return Model.load(mlflow.artifacts.download_artifacts(artifact_uri=f"{uri}/MLmodel", dst_path=folder)).model_id


def model_id_of(uri: str) -> str | None:
    """The logged model's id behind a URI; None for a local folder."""
    return None if Path(uri).is_dir() else logged_model_id(uri)


def model_param(uri: str, name: str) -> str | None:
    """A parameter that a model was logged with; None where it has none, as a local folder."""
    with refusing(uri):
        model_id = model_id_of(uri)
        return None if model_id is None else (mlflow.get_logged_model(model_id).params or {}).get(name)


def use_model(uri: str) -> None:
    """Names a model as what the active run works with; a local folder is none of MLflow's."""
    with refusing(uri):
        model_id = model_id_of(uri)
    if model_id is not None:
        MlflowClient().log_inputs(mlflow.active_run().info.run_id, models=[LoggedModelInput(model_id)])


def short_name(uri: str) -> str:
    """A model as the names of runs say it: hands-g2 v3, g2-round1-init 1a2b3c, or the last word of a folder."""
    if Path(uri).is_dir():
        return Path(uri).name
    client, registered = MlflowClient(), REGISTERED_MODEL.fullmatch(uri)
    with refusing(uri):
        if registered:
            name, alias, version = registered["name"], registered["alias"], registered["version"]
            return f"{name} v{version or client.get_model_version_by_alias(name, alias).version}"
        model = client.get_logged_model(logged_model_id(uri))
        return f"{model.name} {model.model_id[2:8]}"


def model_identity(uri: str) -> str:
    """What a result that follows from a model follows from: the logged model, by its id, or the two files in a local folder,
    by their digest."""
    from hands.networks.checkpoint import NETWORK_FILE, WEIGHTS_FILE

    if not Path(uri).is_dir():
        return f"models:/{logged_model_id(uri)}"
    folder = fetch_network(uri)
    return hashlib.sha256(b"".join((folder / name).read_bytes() for name in (NETWORK_FILE, WEIGHTS_FILE))).hexdigest()
