"""A sweep small enough for tests: one or two steps an epoch, on the tiny packed set."""

import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import mlflow
import optuna
from mlflow.tracking.fluent import _active_run_stack

from entrypoints.sweep import main
from hands.packed.packed_set import PackedSet
from sweeps.interruption import Interruption
from sweeps.job import SweepRun
from sweeps.setting import find_setting
from sweeps.space import Space, load_space
from sweeps.storage import open_storage
from sweeps.study import StudyConfig, create_study
from sweeps.trial import Objective
from sweeps.worker import take_trials
from tests.project import arguments, wait_until

SMALL = {
    "n_workers": 2, "n_trials": 4, "heartbeat_interval": 1, "init_epochs": 1, "paired_epochs": 3, "batch_size": 6,
    "encoder_weights": "none", "accelerator": "cpu", "precision": "32-true",
}  # fmt: skip


def sweep_arguments(packed: PackedSet, logged: SimpleNamespace, storage: str, **overrides: object) -> list[str]:
    given = {"packed_dir": packed.folder, "g1_model": logged.g2_uri, "d_model": logged.d_uri, "storage": storage}
    return arguments("sweep", **(given | SMALL | overrides))


def sweep_params(packed: PackedSet, logged: SimpleNamespace, storage: str, **overrides: object) -> SimpleNamespace:
    """The parameters as the entry point gets them."""
    with main.make_context("sweep", sweep_arguments(packed, logged, storage, **overrides)) as context:
        return SimpleNamespace(**context.params)


def prepare(params: SimpleNamespace, change: Callable[[Space], Space] = lambda space: space) -> tuple[optuna.Study, Objective]:
    """The study and what its trials run, for a worker in this process; nested in the active run."""
    space = change(load_space(params.space))
    config = StudyConfig(
        params.study_name or params.space, params.storage, params.n_trials, params.sampler, params.pruner,
        params.init_epochs, params.init_epochs + params.paired_epochs, params.heartbeat_interval,
    )  # fmt: skip
    setting = find_setting(params)
    study = create_study(open_storage(params.storage, params.heartbeat_interval), config, space, setting.common)
    info = mlflow.active_run().info
    objective = Objective(
        params, setting.models, space, params.n_trials, SweepRun(info.run_id, info.experiment_id), Interruption()
    )
    return study, objective


def outside_of_run(function: Callable[..., None], *arguments: object) -> None:
    """Calls as a worker does: without an active run of its own, and leaving none."""
    active = mlflow.active_run()
    stack = _active_run_stack.get()
    _active_run_stack.set([])
    try:
        function(*arguments)
    finally:
        assert mlflow.active_run() is None
        _active_run_stack.set(stack)
    assert mlflow.active_run().info.run_id == active.info.run_id


def take(study: optuna.Study, objective: Objective) -> None:
    """A worker's loop, in this process."""
    outside_of_run(take_trials, study, objective, objective.n_trials, objective.interruption)


def children(client: mlflow.MlflowClient, run_id: str) -> dict[str, mlflow.entities.Run]:
    """Trials' runs below a sweep's run, by name."""
    experiment = client.get_run(run_id).info.experiment_id
    found = client.search_runs([experiment], f"tags.`mlflow.parentRunId` = '{run_id}'")
    return {run.info.run_name: run for run in found}


def begun_trial(sweep: subprocess.Popen, log: Path, timeout_s: float) -> tuple[int, str, int]:
    """The first trial that a sweep's log says has begun: number, run, process. (Asking the storage would slow it down.)"""

    def begun() -> re.Match | None:
        return re.search(r"== trial (\d+): run (\w+), process (\d+)", log.read_text())

    wait_until(lambda: begun() is not None, sweep, lambda: log.read_text()[-3000:], timeout_s)
    number, run_id, process = begun().groups()
    return int(number), run_id, int(process)
