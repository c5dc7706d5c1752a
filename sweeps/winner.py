"""best_params.json: what a sweep leaves for training, and how training takes it."""

import json
import re
from pathlib import Path

import mlflow
from mlflow.exceptions import MlflowException

from hands.errors import InvalidInput
from hands.method.class_weights import SCHEMES

BEST_PARAMS = "best_params.json"
FORMAT = 1
NUMBERS = (
    "ce_weight",
    "dice_weight",
    "adv_weight",
    "class_weight_exponent",
    "background_factor",
    "palm_factor",
    "fingertips_factor",
    "fingers_factor",
)
MAX_BYTES = 1 << 20


def winner_content(study: str, trial: int, run_id: str, metric: str, value: float, seed: int, weights: dict) -> dict:
    """What best_params.json holds; `params` are parameters of phase2_init and phase2_paired, and of main."""
    return {
        "format": FORMAT,
        "study": study,
        "trial": trial,
        "run_id": run_id,
        "metric": metric,
        "value": value,
        "seed": seed,
        "params": weights,
    }


def read_winner(source: str) -> dict[str, float | str]:
    """The winner's weights, by parameter.

    Args:
        source: id of a sweep's run, or path of a best_params.json.

    Raises:
        InvalidInput: there is no such run or file, or it does not hold a sweep's weights.
    """
    path = Path(source)
    if not path.is_file():
        path = _fetch(source)
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ValueError(f"it is larger than {MAX_BYTES} bytes")
        content = json.loads(path.read_text())
    except (OSError, ValueError, RecursionError) as error:
        raise InvalidInput(f"params_from: {path} cannot be read ({error}); expected a {BEST_PARAMS} of a sweep.") from error
    if not isinstance(content, dict) or content.get("format") != FORMAT or not isinstance(content.get("params"), dict):
        raise InvalidInput(f"params_from: {path} is no {BEST_PARAMS} of format {FORMAT}; name a sweep's run or its file.")
    params = content["params"]
    wrong = [f"{name}={value!r}" for name, value in params.items() if not _usable(name, value)]
    if wrong or not params:
        raise InvalidInput(
            f"params_from: {path} sets {', '.join(wrong) or 'nothing'}; expected finite numbers >= 0 for some of "
            f"{', '.join(NUMBERS)}, and class_weights as one of {', '.join(SCHEMES)}."
        )
    return params


def _usable(name: str, value: object) -> bool:
    if name == "class_weights":
        return value in SCHEMES
    return name in NUMBERS and type(value) in (int, float) and 0 <= value < float("inf")


def _fetch(run_id: str) -> Path:
    if not re.fullmatch(r"[0-9a-f]{32}", run_id):
        raise InvalidInput(
            f"params_from is '{run_id}': neither a file nor a run's id (32 hexadecimal digits); name a sweep's run or its "
            f"{BEST_PARAMS}."
        )
    try:
        return Path(mlflow.artifacts.download_artifacts(run_id=run_id, artifact_path=BEST_PARAMS))
    except (MlflowException, OSError) as error:
        reason = str(error).splitlines()[0]
        raise InvalidInput(
            f"params_from: the run {run_id} has no {BEST_PARAMS} ({reason}); expected a run of the entry point sweep in "
            f"which a trial was completed. Check MLFLOW_TRACKING_URI, too."
        ) from error
