"""Steps of a pipeline, each in a process of its own.

`mlflow.projects.run` would start a Python for every step; importing torch, mlflow and the rest takes longer than many a
short step's work (docs/performance.md, Start). Here a fork server imports them once and every step is forked from it, runs
`python -m entrypoints.<name>` in its own run, and ends like any process.
"""

import multiprocessing
import os
import runpy
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from typing import TypeVar

import mlflow

from hands.errors import InvalidInput
from hands.processes.parents import end_with_parent
from hands.processes.progress import STEP
from hands.processes.signals import stop_signals_held
from hands.tracking.steps import (
    adopt_step_run,
    create_step_run,
    end_step_run,
    find_finished,
    find_unfinished,
)

Result = TypeVar("Result")

GRACE_S = 60  # for a step to end its run once it was told to stop

_server = multiprocessing.get_context("forkserver")


def start_server() -> None:
    """Begins importing what steps need, while the caller goes on."""
    database = "mlflow.store.tracking.sqlalchemy_store"  # MLflow imports it with the first request to one
    _server.set_forkserver_preload(["hands.steps.session", "hands.synthetic.dataset", database])
    multiprocessing.forkserver.ensure_running()


def call(function: Callable[..., Result], *arguments: object) -> Result:
    """Calls a function where everything is imported already; returns what it returns, raises what it raises.

    A caller that is told to stop ends the call with it.
    """
    with ProcessPoolExecutor(1, mp_context=_server, initializer=end_with_parent, initargs=(0,)) as pool:
        try:
            with stop_signals_held():
                called = pool.submit(function, *arguments)
            return called.result()
        except BaseException:
            for process in multiprocessing.active_children():
                process.terminate()
            raise


def run_step(entry_point: str, run_name: str, place: str, params: dict[str, str], key: str) -> tuple[str, bool]:
    """Runs a step as a child run of the active one; returns the run's id, and whether it is an earlier one.

    A finished run with the same key is reused; one that was broken off goes on from its checkpoint.

    Args:
        place: the step as people see it in the terminal.

    Raises:
        InvalidInput: the step failed; its own message stands above, and in its run.
    """
    finished = find_finished(key)
    if finished is not None:
        mlflow.set_tag(f"hands.reused.{run_name}", finished.info.run_id)
        return finished.info.run_id, True
    broken_off = find_unfinished(key, params["checkpoint_dir"]) if "checkpoint_dir" in params else None
    if broken_off is not None:
        run_id = broken_off
        adopt_step_run(run_id)
        params = params | {"resume": run_id}
        print(f"== {place}: run {run_id} goes on", flush=True)
    else:
        run_id = create_step_run(entry_point, run_name, key)
    arguments = [f"--{name}={value}" for name, value in params.items()]
    environment = {
        "MLFLOW_RUN_ID": run_id,
        "MLFLOW_EXPERIMENT_ID": mlflow.active_run().info.experiment_id,
        "MLFLOW_TRACKING_URI": mlflow.get_tracking_uri(),
        STEP: place,
    }
    process = _server.Process(target=_run, args=(entry_point, arguments, environment))
    try:
        with stop_signals_held():
            process.start()
        process.join()
    except BaseException:
        _stop(process)
        end_step_run(run_id, "KILLED")
        raise
    if process.exitcode != 0:
        end_step_run(run_id, "FAILED")
        raise InvalidInput(f"{run_name} failed (exit code {process.exitcode}); what it said stands above, and in run {run_id}.")
    return run_id, False


def _stop(process: multiprocessing.Process) -> None:
    """Lets a step end its run, for a while."""
    if process.pid is None:
        return
    process.terminate()
    process.join(GRACE_S)
    process.kill()
    process.join()


def _run(entry_point: str, arguments: list[str], environment: dict[str, str]) -> None:
    end_with_parent(GRACE_S)
    os.environ.update(environment)
    sys.argv = [entry_point, *arguments]
    runpy.run_module(f"entrypoints.{entry_point}", run_name="__main__", alter_sys=True)
