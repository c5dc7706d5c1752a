"""params_from: a pipeline trains as the best trial of a sweep did."""

from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

import click
import mlflow

from entrypoints.launch.commands import declared
from entrypoints.launch.parameters import TYPES
from hands.errors import InvalidInput
from hands.packed.manifest import read_manifest

if TYPE_CHECKING:
    from sweeps.winner import Winner


def with_winner(params: SimpleNamespace) -> "tuple[SimpleNamespace, Winner | None]":
    """A pipeline's parameters, the winner's in the place of the recipe's defaults; and the winner, None where none is named.

    Raises:
        InvalidInput: no winner can be read, it is another network's, or the user has set something that it sets otherwise.
    """
    if not params.params_from:
        return params, None
    from sweeps.winner import NETWORK, TAKEN, read_winner

    winner = read_winner(params.params_from)
    own = vars(params)
    if params.packed_dir:
        own = own | {"size": read_manifest(Path(params.packed_dir)).size}  # what is trained on says its size itself
    for name, found in ((NETWORK, winner.params[NETWORK]), ("size", winner.size)):
        if found != own[name]:
            raise InvalidInput(
                f"params_from: the sweep's best trial trained with {name}={found}, and {params.recipe} is asked for {name}="
                f"{own[name]}. What is best for one is not for another: pass {name}={found}, or sweep with {name}={own[name]}."
            )
    taken = {name: _as_given(name, winner.params[name], params.params_from) for name in TAKEN}
    defaults = declared(params.recipe)
    clashes = [
        f"{name}={own[name]} (the winner has {value})"
        for name, value in taken.items()
        if own[name] not in (value, _as_given(name, defaults[name], "MLproject"))
    ]
    if clashes:
        raise InvalidInput(
            f"params_from sets all that the sweep's best trial trained by, but other values are passed: {', '.join(clashes)}. "
            f"Leave them out, or leave out params_from and pass everything."
        )
    return SimpleNamespace(**(own | taken)), winner


def log_winner(params: SimpleNamespace, winner: "Winner") -> None:
    """What was taken, as parameters winner.*, and the whole file with score, trial and digests, to the active run.

    `mlflow run` has logged the parameters of that name as they were passed, and they cannot be changed.
    """
    from sweeps.winner import BEST_PARAMS, TAKEN

    mlflow.log_params({f"winner.{name}": getattr(params, name) for name in TAKEN})
    mlflow.log_dict(winner.content, BEST_PARAMS)


def _as_given(name: str, value: object, source: str) -> object:
    """A value as the command line makes it of its text."""
    try:
        return TYPES[name][0].convert(str(value), None, None)
    except click.BadParameter as error:
        raise InvalidInput(f"params_from: {source} sets {name} to {value!r}: {error.message}") from error
