"""Logged models: networks to MLflow and back, and the registry."""

import base64
import io
import tempfile
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

import mlflow
import numpy as np
import pandas as pd
from mlflow import MlflowClient
from mlflow.entities import LoggedModel, LoggedModelOutput, LoggedModelStatus
from mlflow.exceptions import MlflowException
from mlflow.models import Model
from mlflow.models.signature import ModelSignature
from mlflow.types.schema import AnyType, ColSpec, DataType, Schema
from PIL import Image

from hands.errors import InvalidInput
from hands.parts import HANDS
from hands.tracking import ROOT

if TYPE_CHECKING:  # the pipeline's own process needs neither torch nor what rests on it
    from torch import nn

SERVED_MODEL = ROOT / "hands" / "prediction" / "served.py"
MODEL_TAG, DIGEST_TAG, MIOU_TAG = "hands.model", "hands.dataset_digest", "hands.val_miou"
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
    "lightning",
    "torchmetrics",
    "lmdb",
    "numpy",
    "pandas",
    "pillow",
    "safetensors",
    "tqdm",
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
        ),
    )


def fetch_network(uri: str) -> Path:
    """The folder with a model's network.json, fetched from an MLflow URI (models:/..., runs:/...) or a local folder.

    Raises:
        InvalidInput: nothing is there, or it is no model of this project.
    """
    from hands.networks.checkpoint import NETWORK_FILE

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
