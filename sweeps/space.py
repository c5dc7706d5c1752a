"""What a search space is, and how one is found by name."""

import importlib
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
    distribution_to_json,
)

from hands.errors import InvalidInput

SPACES = Path(__file__).parent / "spaces"

Point = dict[str, float | str]
Weights = dict[str, float | str]


@dataclass(frozen=True)
class Space:
    """A search space and what is sought in it.

    Attributes:
        axes: by name, what values an axis takes. Names are free: they are not parameters of the entry points.
        metric: which of an evaluation's scores a trial reports and returns, e.g. "val/miou".
        direction: "maximize" or "minimize".
        seed: of the sampler.
        first_trials: points that are tried before any other and never pruned: main's own weights and the published ones, so
            that the best trial is at least as good as they are.
        weights: (point) -> parameters of phase2_init and phase2_paired; every point of the axes must give usable ones.
    """

    axes: dict[str, BaseDistribution]
    metric: str
    direction: str
    seed: int
    first_trials: tuple[Point, ...]
    weights: Callable[[Point], Weights]

    def moved(self) -> tuple[str, ...]:
        """Names of the parameters that the space sets."""
        return tuple(self.weights(self.first_trials[0]))

    def description(self) -> dict:
        """What must not change while a study goes on, as plain JSON; first_trials stand with the weights they give."""
        return {
            "axes": {name: json.loads(distribution_to_json(axis)) for name, axis in self.axes.items()},
            "metric": self.metric,
            "direction": self.direction,
            "seed": self.seed,
            "first_trials": [self.weights(point) for point in self.first_trials],
        }


def space_names() -> list[str]:
    return sorted(path.stem for path in SPACES.glob("*.py") if path.stem != "__init__")


def load_space(name: str) -> Space:
    """The space that sweeps/spaces/<name>.py defines.

    Raises:
        InvalidInput: there is no such file, or it defines no SPACE.
    """
    if not re.fullmatch(r"[A-Za-z]\w*", name) or name not in space_names():
        raise InvalidInput(
            f"space is '{name}'; expected one of {', '.join(space_names())}, the files in {SPACES}. Add a file for a new one."
        )
    space = getattr(importlib.import_module(f"sweeps.spaces.{name}"), "SPACE", None)
    if not isinstance(space, Space):
        raise InvalidInput(f"{SPACES / name}.py defines no SPACE; expected a sweeps.space.Space of that name.")
    return space


def suggest(trial: optuna.Trial, axes: dict[str, BaseDistribution]) -> Point:
    """The trial's point: what the sampler proposes, or what a queued trial was given.

    Optuna's own study.ask(fixed_distributions=axes) is for trials without heartbeats.
    """
    return {name: _suggest(trial, name, axis) for name, axis in axes.items()}


def _suggest(trial: optuna.Trial, name: str, axis: BaseDistribution) -> float | str:
    match axis:
        case FloatDistribution():
            return trial.suggest_float(name, axis.low, axis.high, step=axis.step, log=axis.log)
        case IntDistribution():
            return trial.suggest_int(name, axis.low, axis.high, step=axis.step, log=axis.log)
        case CategoricalDistribution():
            return trial.suggest_categorical(name, axis.choices)
    raise TypeError(f"axis {name} is a {type(axis).__name__}; expected a Float-, Int- or CategoricalDistribution")
