"""The model registry: versions with their scores, and which of them is the champion."""

import math
from dataclasses import dataclass

import mlflow
from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import RESOURCE_DOES_NOT_EXIST, ErrorCode
from mlflow.utils.logging_utils import disable_logging, enable_logging

from hands.errors import InvalidInput
from hands.tracking.models import model_source_tags

MODEL_TAG, MIOU_TAG = "hands.model", "hands.val_miou"
DIGEST_TAG, TRAIN_TAG, VAL_TAG = "hands.dataset_digest", "hands.train_split", "hands.val_split"
CHAMPION = "champion"
WHOLE = ("train", "val")  # the splits of the plain alias
MAX_NAME = 256  # characters, in MLflow's table; SQLite alone does not mind


@dataclass(frozen=True)
class Score:
    """A model's val/miou (NaN where nothing could be judged), and what it was trained and scored on. Scores on other pictures,
    and of models that were trained on others, cannot be compared."""

    miou: float
    dataset_digest: str
    train_split: str
    val_split: str

    @property
    def alias(self) -> str:
        """champion, or champion-<train split>-<val split> for splits that are not whole."""
        splits = (self.train_split, self.val_split)
        return CHAMPION if splits == WHOLE else "-".join((CHAMPION, *splits))

    @property
    def ranks(self) -> bool:
        """Whether it says anything of other pictures."""
        return math.isfinite(self.miou) and self.train_split != "trainval"


@dataclass(frozen=True)
class Standing:
    """What became of a model in the registry: its version, and the champion and the second best among those that it can be
    compared with (None where it cannot be compared, or none can)."""

    version: int
    alias: str
    champion: int | None
    champion_miou: float
    runner_up: int | None
    runner_up_miou: float

    @property
    def is_champion(self) -> bool:
        return self.version == self.champion


def check_name(name: str) -> None:
    """Raises InvalidInput for a name that the registry would refuse once there is a model to register."""
    try:
        if len(name) > MAX_NAME:
            raise MlflowException(f"it has {len(name)} characters, and at most {MAX_NAME} are kept")
        MlflowClient().get_registered_model(name)
    except MlflowException as error:
        if error.error_code != ErrorCode.Name(RESOURCE_DOES_NOT_EXIST):
            raise InvalidInput(
                f"registered_model is '{name}', which the registry does not take ({str(error).splitlines()[0]}); "
                f"expected a name such as hands-g2."
            ) from error
    _versions(name)


def register(model_uri: str, name: str, score: Score) -> Standing:
    """Registers a model, once, and gives the champion's alias to the best version on the same dataset and splits.

    Which one that is follows from all versions' tags alone: a version that was made by a run that was killed before it gave
    the alias is found as well. One alias serves all datasets: it is the champion's on the dataset of the last call. A
    version's tags also say what the model's data is made of, under which licence.
    """
    client = MlflowClient()
    versions = _versions(name)
    version = next((version for version in versions if version.tags.get(MODEL_TAG) == model_uri), None)
    if version is None:
        tags = {
            MODEL_TAG: model_uri,
            MIOU_TAG: str(score.miou),
            DIGEST_TAG: score.dataset_digest,
            TRAIN_TAG: score.train_split,
            VAL_TAG: score.val_split,
        } | model_source_tags(model_uri)
        disable_logging()  # who registers it tells what came of it
        try:
            version = mlflow.register_model(model_uri, name, tags=tags)
        finally:
            enable_logging()
        versions = _versions(name)
    rivals = {int(rival.version): float(rival.tags[MIOU_TAG]) for rival in versions if _comparable(rival, score)}
    if not score.ranks or not rivals:
        return Standing(int(version.version), score.alias, None, math.nan, None, math.nan)
    champion, *others = sorted(sorted(rivals), key=rivals.__getitem__, reverse=True)  # of equals the first comes first
    client.set_registered_model_alias(name, score.alias, str(champion))
    second = others[0] if others else None
    return Standing(int(version.version), score.alias, champion, rivals[champion], second, rivals.get(second, math.nan))


def champions() -> list[ModelVersion]:
    """The versions of all registered models that have a champion's alias."""
    client = MlflowClient()
    named = [
        (model.name, alias) for model in _registered() for alias in model.aliases if alias.split("-")[0] == CHAMPION
    ]
    return [client.get_model_version_by_alias(name, alias) for name, alias in named]


def _comparable(version: ModelVersion, score: Score) -> bool:
    tags = version.tags
    if (tags.get(DIGEST_TAG), tags.get(TRAIN_TAG), tags.get(VAL_TAG)) != (
        score.dataset_digest,
        score.train_split,
        score.val_split,
    ):
        return False
    try:
        return math.isfinite(float(tags.get(MIOU_TAG, "nan")))
    except ValueError:
        return False


def _versions(name: str) -> list[ModelVersion]:
    quote = '"' if "'" in name else "'"
    try:
        return list(MlflowClient().search_model_versions(f"name={quote}{name}{quote}"))
    except MlflowException as error:
        raise InvalidInput(
            f"versions of registered_model '{name}' cannot be looked up ({str(error).splitlines()[0]}); "
            f"expected a name without quotation marks, such as hands-g2."
        ) from error


def _registered() -> list:
    client, found, token = MlflowClient(), [], None
    while True:
        page = client.search_registered_models(page_token=token)
        found += page
        token = page.token
        if not token:
            return found
