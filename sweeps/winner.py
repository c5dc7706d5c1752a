"""best_params.json, what a sweep leaves for training: reading it."""

import json
import math
import re
import tempfile
from dataclasses import dataclass
from pathlib import Path

import mlflow
from mlflow.exceptions import MlflowException

from hands.errors import InvalidInput
from hands.steps.parameters import AUGMENTATION, LOSS

BEST_PARAMS = "best_params.json"
FORMAT = 2
# Of the parameters that a trial trains by: what training with the winner takes over, the network that must be the same
# there, as the size of the pictures must, and what it has its own of.
TAKEN = (
    "unpaired", "encoder_weights", "batch_size", "lr", "paired_lr", "lr_schedule", "ema_decay", *AUGMENTATION,
    "adv_weight", "adv_input", "update_discriminator", "d_lr", "drop_fraction", *LOSS,
)  # fmt: skip
NETWORK = "g2"
LEFT = ("train_split", "val_split", "unpaired_split", "seed", "init_epochs", "paired_epochs", "eval_every")
MAX_BYTES = 1 << 20


@dataclass(frozen=True)
class Winner:
    """What a sweep found best.

    Attributes:
        params: what its best trial trained by, TAKEN, NETWORK and LEFT: plain numbers, words, true or false.
        size: side of the pictures, in pixels.
        content: all of the file.
    """

    params: dict[str, float | str]
    size: int
    content: dict


def read_winner(source: str) -> Winner:
    """The winner of a sweep.

    Args:
        source: id of a sweep's run, or path of a best_params.json.

    Raises:
        InvalidInput: there is no such run or file, or it does not hold all that a trial trained by.
    """
    content = _read(Path(source)) if Path(source).is_file() else _fetch(source)
    found = content.get("format") if isinstance(content, dict) else None
    if found != FORMAT:
        raise InvalidInput(
            f"params_from: {source} has format {found!r}; expected a {BEST_PARAMS} of format {FORMAT}, which holds all that "
            f"gave the score. Earlier sweeps wrote the searched weights alone: run the sweep again."
        )
    params, size = content.get("params"), content.get("size")
    names = (*TAKEN, NETWORK, *LEFT)
    if not isinstance(params, dict) or type(size) is not int:
        raise InvalidInput(f"params_from: {source} lacks params or size; expected a {BEST_PARAMS} as a sweep writes it.")
    wrong = sorted(name for name in {*params, *names} if name not in names or not _is_plain(params.get(name)))
    if wrong:
        raise InvalidInput(
            f"params_from: {source} has no usable value, or should have none, for {', '.join(wrong)}; expected a number, a "
            f"word, true or false for each of {', '.join(names)}. Run the sweep again."
        )
    return Winner(params, size, content)


def _read(path: Path) -> object:
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ValueError(f"it is larger than {MAX_BYTES} bytes")
        return json.loads(path.read_text())
    except (OSError, ValueError, RecursionError) as error:
        raise InvalidInput(f"params_from: {path} cannot be read ({error}); expected a {BEST_PARAMS} of a sweep.") from error


def _is_plain(value: object) -> bool:
    return isinstance(value, str | bool | int) or (isinstance(value, float) and math.isfinite(value))


def _fetch(run_id: str) -> object:
    if not re.fullmatch(r"[0-9a-f]{32}", run_id):
        raise InvalidInput(
            f"params_from is '{run_id}': neither a file nor a run's id (32 hexadecimal digits); name a sweep's run or its "
            f"{BEST_PARAMS}."
        )
    with tempfile.TemporaryDirectory() as folder:
        try:
            path = mlflow.artifacts.download_artifacts(run_id=run_id, artifact_path=BEST_PARAMS, dst_path=folder)
        except (MlflowException, OSError) as error:
            reason = str(error).splitlines()[0]
            raise InvalidInput(
                f"params_from: the run {run_id} has no {BEST_PARAMS} ({reason}); expected a run of the entry point sweep in "
                f"which a trial was completed. Check MLFLOW_TRACKING_URI, too."
            ) from error
        return _read(Path(path))
