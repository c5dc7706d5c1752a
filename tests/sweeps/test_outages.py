"""What breaks off trials by no fault of their weights: servers, disks, memory, signals. Nothing is lost or counted by it."""

import errno
import itertools
import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import mlflow
import optuna
import pytest
import torch
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from optuna.exceptions import StorageInternalError
from optuna.trial import TrialState
from safetensors import SafetensorError

from hands.networks.checkpoint import save_network
from hands.tracking import FAILURE_TAG, ROOT
from sweeps import worker
from sweeps.errors import GivenUp
from sweeps.reconciliation import end_left_runs
from sweeps.study import RUN_ID
from sweeps.trial import Objective
from tests.packed.blobs import SIZE
from tests.project import EXPERIMENT, command, environment, track_to, wait_until
from tests.servers import TrackingServer as Server
from tests.sweeps.sweeping import children, prepare, sweep_arguments, sweep_params, take

COMPLETE, FAIL, RUNNING, WAITING = TrialState.COMPLETE, TrialState.FAIL, TrialState.RUNNING, TrialState.WAITING
SHORT = {"n_trials": 3, "pruner": "none", "init_epochs": 1, "paired_epochs": 1}


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(worker, "PAUSES_S", (0, 0))


@pytest.fixture
def server(tmp_path: Path, store_template: Path):
    (tmp_path / "server").mkdir()
    server = Server(tmp_path / "server", store_template)
    server.start()
    yield server
    server.stop()


@pytest.fixture
def networks(logged, tmp_path) -> dict[str, Path]:
    """G1 and D in folders, which no server is needed for."""
    folders = {"g1_model": tmp_path / "g1", "d_model": tmp_path / "d"}
    save_network(logged.g2, SIZE, folders["g1_model"])
    save_network(logged.d, SIZE, folders["d_model"])
    return folders


@pytest.fixture
def training(monkeypatch) -> Callable[[Callable[[int], None]], None]:
    """Takes what happens in the middle of a trial's training, by how many were begun before; training is one report."""

    def replace_by(event: Callable[[int], None]) -> None:
        begun = itertools.count()

        def train(self, trial, params):
            event(next(begun))
            mlflow.log_metric("val/miou", 0.5, step=1)
            trial.report(0.5, 1)
            return 0.5

        monkeypatch.setattr(Objective, "train", train)

    return replace_by


def raising(error: BaseException, *trials: int) -> Callable[[int], None]:
    """What happens in these trials: the error."""

    def event(number: int) -> None:
        if number in trials:
            raise error

    return event


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory"),
        MlflowException("API request failed: Connection refused"),
        *(
            pytest.param(error, marks=pytest.mark.slow)
            for error in (
                MemoryError("no more"),
                OSError(errno.ENOSPC, "No space left on device"),
                SafetensorError("I/O error: No space left on device"),
                StorageInternalError("hidden"),
                RuntimeError("CUDA error: unspecified launch failure"),
            )
        ),
    ],
    ids=lambda error: type(error).__name__,
)
def test_trial_that_the_world_breaks_off_is_repeated_and_does_not_count(params, sweep_run, store, training, error):
    training(raising(error, 1))
    study, objective = prepare(params(**SHORT))
    take(study, objective)
    assert [trial.state for trial in study.trials] == [COMPLETE, FAIL, COMPLETE, COMPLETE]
    broken_off, repeated = study.trials[1], study.trials[2]
    assert repeated.params == broken_off.params and repeated.user_attrs["repeats"] == 1 and repeated.user_attrs["first"]
    reason = f"{type(error).__name__}: {error}"
    assert (broken_off.user_attrs["fate"], broken_off.user_attrs["reason"]) == ("returned", reason)
    failed = children(store, sweep_run.info.run_id)["trial 1"]
    assert failed.info.status == "FAILED"
    assert failed.data.tags[FAILURE_TAG] == f"{reason}; the trial is in the queue again"


def test_third_failure_in_a_row_stops_the_worker_with_its_cause(params, sweep_run, training, capsys):
    training(raising(torch.OutOfMemoryError("CUDA out of memory"), 0, 1, 3, 4, 5))
    study, objective = prepare(params(**SHORT))
    with pytest.raises(GivenUp, match="^3 failures in a row, the last one OutOfMemoryError: CUDA out of memory$"):
        take(study, objective)
    states = [trial.state for trial in study.trials]
    assert states.count(COMPLETE) == 1 and states.count(FAIL) == 5 and states.count(WAITING) == 1
    assert "Traceback" not in capsys.readouterr().err

    study, objective = prepare(params(**SHORT))
    take(study, objective)
    complete = [trial for trial in study.trials if trial.state == COMPLETE]
    assert len(complete) == 3 and len({str(trial.params) for trial in complete}) == 3
    assert not [trial for trial in study.trials if trial.state in (RUNNING, WAITING)]


def test_error_of_the_program_is_told_with_its_place(params, sweep_run, training, capsys):
    training(raising(KeyError("no such thing"), 0, 1, 2))
    study, objective = prepare(params(**SHORT))
    with pytest.raises(GivenUp, match="KeyError: 'no such thing'"):
        take(study, objective)
    assert "in event" in capsys.readouterr().err


@pytest.mark.slow
def test_server_that_is_killed_burns_no_trial(server, logged, networks, tiny_packed, tmp_path, training, monkeypatch):
    """In the second of three trials: the worker gives up with the server's absence as the cause, and leaves the run; the next
    one goes on when the server is back, and ends what was left."""
    track_to(server.uri, monkeypatch)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    params = sweep_params(tiny_packed, logged, f"sqlite:///{tmp_path}/optuna.db", **SHORT, **networks)
    training(lambda number: server.stop() if number == 1 else None)
    sweep = mlflow.start_run(run_name="sweep").info.run_id
    study, objective = prepare(params)
    with pytest.raises(GivenUp, match="^3 failures in a row, the last one MlflowException: API request.* Connection refused"):
        take(study, objective)
    assert [trial.state for trial in study.trials] == [COMPLETE, FAIL, FAIL, FAIL, WAITING]
    assert study.trials[4].system_attrs["fixed_params"] == study.trials[1].params

    server.start()
    client = MlflowClient(server.uri)
    assert children(client, sweep)["trial 1"].info.status == "RUNNING"
    study, objective = prepare(params)
    take(study, objective)
    assert [trial.state for trial in study.trials] == [COMPLETE, FAIL, FAIL, FAIL, COMPLETE, COMPLETE]
    assert study.trials[4].params == study.trials[1].params
    end_left_runs(study)
    runs = children(client, sweep)
    assert {name: run.info.status for name, run in runs.items()} == {
        "trial 0": "FINISHED", "trial 1": "FAILED", "trial 4": "FINISHED", "trial 5": "FINISHED",
    }  # fmt: skip
    assert runs["trial 1"].data.tags[FAILURE_TAG].startswith("MlflowException: API request to")
    mlflow.end_run()


def away(*arguments, **named):
    raise MlflowException("API request failed: Connection refused")


def test_interruption_while_the_server_is_away_is_one(params, sweep_run, store, training, monkeypatch):
    """What MLflow raises at the run's end does not take the signal's place, and the run is off MLflow's stack."""

    def event(number: int) -> None:
        for name in ("log_batch", "set_terminated"):
            outage.setattr(MlflowClient, name, away)
        os.kill(os.getpid(), signal.SIGTERM)
        objective.interruption.check()

    training(event)
    study, objective = prepare(params(**SHORT))
    objective.interruption.install()
    with monkeypatch.context() as outage:
        take(study, objective)
    assert [trial.state for trial in study.trials] == [FAIL, WAITING, WAITING]
    assert study.trials[0].user_attrs["fate"] == "interrupted"
    run_id = study.trials[0].user_attrs[RUN_ID]
    assert store.get_run(run_id).info.status == "RUNNING"
    end_left_runs(study)
    ended = store.get_run(run_id)
    assert ended.info.status == "KILLED" and ended.data.tags[FAILURE_TAG] == "interrupted"


@pytest.mark.parametrize("score", ["complete", "pruned"])
def test_score_counts_though_the_server_misses_the_runs_end(params, sweep_run, store, training, monkeypatch, score):
    training(raising(optuna.TrialPruned("after epoch 1"), *[1] if score == "pruned" else []))
    study, objective = prepare(params(**SHORT | {"n_trials": 2}))
    with monkeypatch.context() as outage:
        outage.setattr(MlflowClient, "set_terminated", away)
        take(study, objective)
    assert [trial.state for trial in study.trials] == [COMPLETE, COMPLETE if score == "complete" else TrialState.PRUNED]
    end_left_runs(study)
    ended = store.get_run(study.trials[1].user_attrs[RUN_ID])
    assert ended.info.status == ("FINISHED" if score == "complete" else "KILLED")
    assert FAILURE_TAG not in ended.data.tags


def test_trial_whose_end_the_storage_does_not_take_is_repeated(params, sweep_run, store, training, monkeypatch):
    """The storage is away from the second trial's report on until the worker has given up."""

    def event(number: int) -> None:
        if number == 1:
            outage.setattr(study._storage._backend, "scoped_session", refused)

    def refused():
        raise StorageInternalError("hidden") from ConnectionError("could not connect")

    training(event)
    study, objective = prepare(params(**SHORT))
    with monkeypatch.context() as outage, pytest.raises(GivenUp, match="the last one ConnectionError: could not connect"):
        take(study, objective)
    assert [trial.state for trial in study.trials] == [COMPLETE, RUNNING]

    take(study, objective)  # once the heartbeats are missed
    assert [trial.state for trial in study.trials] == [COMPLETE, FAIL, COMPLETE, COMPLETE]
    (repeated,) = [trial for trial in study.trials if trial.system_attrs.get("retry_history") == [1]]
    assert repeated.params == study.trials[1].params and repeated.user_attrs["first"]
    runs = children(store, sweep_run.info.run_id)
    assert sorted(run.info.status for run in runs.values()) == ["FAILED", "FINISHED", "FINISHED", "FINISHED"]
    reason = "ConnectionError: could not connect; the trial is in the queue again"
    assert runs["trial 1"].data.tags[FAILURE_TAG] == reason


@pytest.mark.slow
def test_command_goes_on_where_the_server_left_it(server, logged, networks, tiny_packed, tmp_path):
    """The whole command, its worker in a process of its own: exit code 1 and the cause, then 0 and all trials."""
    storage, log_file = f"sqlite:///{tmp_path}/optuna.db", tmp_path / "log"
    given = SHORT | networks | {"n_workers": 1, "study_name": "outage"}
    words = command("sweep", *sweep_arguments(tiny_packed, logged, storage, **given))

    def start() -> subprocess.Popen:
        with log_file.open("w") as log:
            retries = environment(server.uri, MLFLOW_HTTP_REQUEST_MAX_RETRIES="0")
            return subprocess.Popen(words, env=retries, stdout=log, stderr=log, cwd=ROOT)

    first = start()
    wait_until(lambda: "== trial 0: complete" in log_file.read_text(), first, log_file.read_text)
    server.stop()
    assert first.wait(300) == 1, log_file.read_text()
    *_, told = log_file.read_text().strip().splitlines()
    assert told.startswith("Error: the workers have ended, after ")
    assert " of 3 trials: 3 failures in a row, the last one" in told
    assert "Connection refused" in told and told.endswith("The same command goes on from there.")
    assert "Traceback" not in log_file.read_text()

    server.start()
    assert start().wait(300) == 0, log_file.read_text()
    trials = optuna.load_study(study_name="outage", storage=storage).trials
    assert [trial.state for trial in trials].count(COMPLETE) == 3 and not any(trial.state == RUNNING for trial in trials)
    client = MlflowClient(server.uri)
    runs = client.search_runs([client.get_experiment_by_name(EXPERIMENT).experiment_id])
    statuses = sorted(run.info.status for run in runs if run.info.run_name.startswith("sweep"))
    assert statuses == ["FINISHED", "KILLED"] and not [run for run in runs if run.info.status == "RUNNING"]
