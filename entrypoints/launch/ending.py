"""How an entry point ends: an early failure gets its name, and what there is to look at its address. Imports nothing slow."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

import click

from entrypoints.launch import places
from entrypoints.launch.stopping import forget_pointers
from hands.errors import masked

LOCAL_UI = "http://127.0.0.1:5000"


@contextmanager
def ended(entry_point: str, values: dict[str, object]) -> Iterator[None]:
    """What an entry point does stands in the body."""
    try:
        yield
    except Exception as error:
        failed_early(entry_point, values, error)
        raise
    _say_where()
    _leave()


def failed_early(entry_point: str, values: dict[str, object], error: Exception) -> None:
    """Gives the run that `mlflow run` has made a name and the reason, where the entry point has not got to that."""
    if "MLFLOW_RUN_ID" in os.environ:
        from hands import tracking

        tracking.fail_early(entry_point, values, error)
    _leave()


def _tracking() -> ModuleType | None:
    """hands.tracking, where the entry point has imported it; without it no run has begun."""
    return sys.modules.get("hands.tracking")


def _leave() -> None:
    tracking = _tracking()
    if tracking:
        forget_pointers(tracking.pointers())


def _say_where() -> None:
    """The address of the experiment in MLflow's UI, of an entry point that was called by itself."""
    tracking = _tracking()
    run = tracking.begun() if tracking else None
    if run is not None and "mlflow.parentRunId" not in run.data.tags:
        from hands.tracking.experiments import runs_page

        click.echo(f"== in MLflow: {ui()}/{runs_page(run.info.experiment_id)}")


def ui() -> str:
    """Where the tracking server shows itself, or MLflow's UI once it has been started; for a local store that is said once."""
    import mlflow

    uri = mlflow.get_tracking_uri()
    if uri.startswith(("http://", "https://")):
        return masked(uri).rstrip("/")
    own = places.absolute_store("sqlite:///mlflow.db")
    store = "" if uri in (own, "sqlite:///mlflow.db") else f" --backend-store-uri {masked(uri)}"
    click.echo(f"== to look at it: uvx mlflow@{mlflow.__version__} ui{store}")
    return LOCAL_UI
