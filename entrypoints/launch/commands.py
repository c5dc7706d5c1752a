"""Entry points by name: what MLproject declares of them, and what their command lines make of it."""

import importlib
from functools import cache
from pathlib import Path
from types import SimpleNamespace

import yaml

PROJECT = Path(__file__).resolve().parents[2] / "MLproject"


def declared(entry_point: str) -> dict[str, str | None]:
    """Parameters of an entry point and their defaults (None: required), as MLproject states them."""
    parameters = _project()["entry_points"][entry_point]["parameters"]
    return {name: str(p["default"]) if "default" in p else None for name, p in parameters.items()}


@cache
def _project() -> dict:
    return yaml.safe_load(PROJECT.read_text())


def parsed(entry_point: str, given: dict[str, object]) -> SimpleNamespace:
    """What an entry point's command line would give it: MLproject's defaults, and in their place what is given of its own."""
    command = importlib.import_module(f"entrypoints.{entry_point}").main
    values = {name: given.get(name, default) for name, default in declared(entry_point).items()}
    return SimpleNamespace(**command.make_context(entry_point, [f"--{name}={value}" for name, value in values.items()]).params)
