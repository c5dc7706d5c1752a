"""Two workers on a real PostgreSQL, one of them killed in the middle of a trial; and a PostgreSQL that goes away."""

import os
import shutil
import signal
import subprocess
import time

import mlflow
import optuna
import pytest
from optuna.trial import TrialState

from hands.tracking import ROOT
from sweeps import worker
from sweeps.trial import Objective
from sweeps.winner import read_winner
from tests.project import command, environment
from tests.sweeps.postgres import Postgres
from tests.sweeps.sweeping import begun_trial, children, prepare, sweep_arguments, take

COMPLETE, FAIL = TrialState.COMPLETE, TrialState.FAIL
SHORT = {"n_trials": 3, "pruner": "none"}


@pytest.fixture(scope="module")
def postgres():
    server = Postgres()
    server.start()
    yield server
    server.stop()
    shutil.rmtree(server.folder, ignore_errors=True)


@pytest.mark.slow
def test_killed_workers_trial_is_retried_once_by_another(postgres, tiny_packed, logged, store, session_store, tmp_path):
    words = command("sweep", *sweep_arguments(tiny_packed, logged, postgres.url, study_name="killed", **SHORT))
    log_file = tmp_path / "log"
    with log_file.open("w") as log:
        sweep = subprocess.Popen(words, env=environment(session_store), stdout=log, stderr=log, cwd=ROOT)
    number, run_id, process = begun_trial(sweep, log_file, 600)
    os.kill(process, signal.SIGKILL)
    assert sweep.wait(600) == 0, log_file.read_text()[-3000:]

    trials = optuna.load_study(study_name="killed", storage=postgres.url.replace("postgresql:", "postgresql+psycopg2:")).trials
    victim = trials[number]
    assert victim.state == TrialState.FAIL
    retries = [trial for trial in trials if trial.system_attrs.get("retry_history") == [victim.number]]
    assert len(retries) == 1 and retries[0].state == TrialState.COMPLETE
    assert retries[0].params == (victim.params or retries[0].params)
    assert retries[0].user_attrs["worker"] != victim.user_attrs["worker"]
    assert [trial.state for trial in trials].count(TrialState.COMPLETE) == 3

    experiment = store.get_experiment_by_name("tests").experiment_id
    run = store.search_runs([experiment], "tags.`hands.study` = 'killed' and attributes.run_name = 'sweep killed'")[0]
    assert run.info.status == "FINISHED"
    runs = children(store, run.info.run_id)
    assert sorted(child.info.status for child in runs.values()) == ["FINISHED", "FINISHED", "FINISHED", "KILLED"]
    dead = store.get_run(run_id)
    assert dead.info.status == "KILLED"
    assert read_winner(run.info.run_id).content["searched"] == ["ce_weight", "dice_weight", "adv_weight"]
    assert "repeats" in mlflow.artifacts.load_text(f"runs:/{run.info.run_id}/trials.csv")


def trained_with(monkeypatch, event) -> None:
    """In place of training: what happens in the middle of a trial, by its number, and one report."""

    def train(self, trial, params):
        event(trial.number)
        trial.report(0.5, 1)
        return 0.5

    monkeypatch.setattr(Objective, "train", train)


def test_storage_that_goes_away_and_comes_back_loses_no_trial(postgres, params, sweep_run, monkeypatch):
    """It is away from the middle of the second trial until after the worker's first look for another one."""
    paused = []

    def pause(seconds, interruption):
        paused.append(seconds)
        if len(paused) == 2:
            postgres.start()

    monkeypatch.setattr(worker, "pause", pause)
    trained_with(monkeypatch, lambda number: postgres.stop() if number == 1 else None)
    study, objective = prepare(params(storage=postgres.url, study_name="away", **SHORT))
    take(study, objective)
    assert paused == list(worker.PAUSES_S)
    trials = study.trials
    assert sorted(trial.state.name for trial in trials) == ["COMPLETE", "COMPLETE", "COMPLETE", "FAIL"]
    (repeated,) = [trial for trial in trials if trial.system_attrs.get("retry_history") == [1]]
    assert trials[1].state == FAIL and repeated.state == COMPLETE and repeated.params == trials[1].params


@pytest.mark.slow
def test_storage_that_restarts_between_two_reports_is_not_noticed(postgres, params, sweep_run, monkeypatch):
    def event(number: int) -> None:
        if number == 1:
            postgres.stop()
            time.sleep(1.5)  # a heartbeat is missed
            postgres.start()
            time.sleep(4.5)  # more than the grace time
            optuna.storages.fail_stale_trials(study)  # as another worker does

    trained_with(monkeypatch, event)
    study, objective = prepare(params(storage=postgres.url, study_name="restarted", **SHORT))
    take(study, objective)
    assert [trial.state for trial in study.trials] == [COMPLETE] * 3
