"""Whole sweeps, as `mlflow run . -e sweep` starts them: SQLite, two workers; ended early, and gone on with."""

import os
import signal
import subprocess

import optuna
import pytest
from optuna.trial import TrialState

from tests.project import ROOT, command, environment
from tests.sweeps.sweeping import begun_trial, children, sweep_arguments


def sweeps(store, study: str) -> list:
    """Runs of the sweeps with this study, the oldest first."""
    experiment = store.get_experiment_by_name("tests").experiment_id
    query = f"tags.`hands.study` = '{study}' and attributes.run_name = 'sweep {study}'"
    return store.search_runs([experiment], query, order_by=["attributes.start_time ASC"])


@pytest.mark.slow
@pytest.mark.parametrize(
    "send, signal_number",
    [(os.kill, signal.SIGTERM), (os.killpg, signal.SIGINT), (os.killpg, signal.SIGUSR1)],
    ids=["kill", "terminal", "cluster"],
)
def test_sweep_that_is_ended_goes_on(tiny_packed, logged, store, session_store, tmp_path, send, signal_number):
    """By a signal to the sweep alone, or to it, its fork server and its workers at once."""
    storage, study = f"sqlite:///{tmp_path}/optuna.db", f"ended-{signal_number}"
    words = command("sweep", *sweep_arguments(tiny_packed, logged, storage, n_trials=3, study_name=study))
    log_file = tmp_path / "log"

    def start() -> subprocess.Popen:
        with log_file.open("a") as log:
            return subprocess.Popen(
                words, env=environment(session_store), stdout=log, stderr=log, cwd=ROOT, start_new_session=True
            )

    first = start()
    begun_trial(first, log_file, 600)
    send(first.pid, signal_number)
    assert first.wait(300) == 130, log_file.read_text()[-3000:]
    trials = optuna.load_study(study_name=study, storage=storage).trials
    assert not [trial for trial in trials if trial.state == TrialState.RUNNING]
    interrupted = [trial for trial in trials if trial.user_attrs.get("fate") == "interrupted"]
    assert interrupted
    run = sweeps(store, study)[0]
    assert run.info.status == "KILLED"
    assert {child.info.status for child in children(store, run.info.run_id).values()} <= {"KILLED", "FINISHED"}

    second = start()
    assert second.wait(900) == 0, log_file.read_text()[-3000:]
    trials = optuna.load_study(study_name=study, storage=storage).trials
    ended = [trial for trial in trials if trial.state in (TrialState.COMPLETE, TrialState.PRUNED)]
    assert len(ended) == 3 and {trial.state for trial in trials} <= {TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL}
    repeated = {trial.user_attrs.get("repeats") for trial in trials} - {None}
    assert repeated == {trial.number for trial in interrupted}
    run = sweeps(store, study)[1]
    assert run.info.status == "FINISHED"
    assert "RUNNING" not in {child.info.status for child in children(store, run.info.run_id).values()}


@pytest.mark.slow
def test_sweep_that_is_killed_goes_on_and_no_run_stays_running(tiny_packed, logged, store, session_store, tmp_path):
    """kill -9 of the sweep, its fork server and its workers at once."""
    storage, study = f"sqlite:///{tmp_path}/optuna.db", "killed-whole"
    given = {"n_trials": 3, "study_name": study, "pruner": "none", "paired_epochs": 40}
    words = command("sweep", *sweep_arguments(tiny_packed, logged, storage, **given))
    log_file = tmp_path / "log"

    def start() -> subprocess.Popen:
        with log_file.open("w") as log:
            return subprocess.Popen(
                words, env=environment(session_store), stdout=log, stderr=log, cwd=ROOT, start_new_session=True
            )

    first = start()
    begun_trial(first, log_file, 600)
    os.killpg(first.pid, signal.SIGKILL)
    first.wait()
    before = sweeps(store, study)[0]
    left = children(store, before.info.run_id)
    assert before.info.status == "RUNNING" and "RUNNING" in {child.info.status for child in left.values()}

    assert start().wait(900) == 0, log_file.read_text()[-3000:]
    assert [run.info.status for run in sweeps(store, study)] == ["KILLED", "FINISHED"]
    assert {child.info.status for child in children(store, before.info.run_id).values()} == {"KILLED"}
    trials = optuna.load_study(study_name=study, storage=storage).trials
    killed = [trial for trial in trials if trial.state == TrialState.FAIL]
    assert [trial.state for trial in trials].count(TrialState.COMPLETE) == 3 and len(killed) >= len(left)
    repeated = {number for trial in trials for number in trial.system_attrs.get("retry_history", [])}
    assert repeated == {trial.number for trial in killed}


@pytest.mark.slow
def test_refusals_come_at_the_start_as_one_sentence(tiny_packed, logged, session_store, tmp_path):
    for overrides, said in (
        ({"storage": "postgresql://hands@127.0.0.1:1/none"}, "the storage postgresql://hands@127.0.0.1:1/none cannot be used"),
        ({"space": "nowhere"}, "space is 'nowhere'; expected one of"),
        ({"g1_model": "models:/m-0000"}, "the model 'models:/m-0000' cannot be had"),
        ({"lr": -1}, "lr is -1.0; expected"),
        ({"unpaired": "masks"}, "init_epochs is 1 and unpaired is masks"),
    ):
        given = {"storage": f"sqlite:///{tmp_path}/optuna.db"} | overrides
        words = command("sweep", *sweep_arguments(tiny_packed, logged, **given))
        ended = subprocess.run(words, env=environment(session_store), cwd=ROOT, capture_output=True, text=True, timeout=300)
        assert ended.returncode == 1
        assert said in ended.stderr and "Traceback" not in ended.stderr
