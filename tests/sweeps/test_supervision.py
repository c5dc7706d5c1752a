"""What a sweep does when its workers end, however they do, and whose runs it ends."""

import multiprocessing
import os
import signal

import optuna
import pytest
from mlflow.exceptions import MlflowException
from optuna.trial import TrialState, create_trial

from hands import tracking
from hands.errors import InvalidInput
from hands.tracking import FAILURE_TAG, PROCESS_TAG
from sweeps import supervision, worker, workers
from sweeps.errors import GivenUp
from sweeps.job import Job, Models, SweepRun
from sweeps.reconciliation import end_left_runs
from sweeps.space import load_space
from sweeps.study import FATE, REASON, RUN_ID, STUDY_TAG, TRIAL_TAG, StudyConfig
from sweeps.supervision import supervise

CONFIG = StudyConfig("s", "sqlite:///nowhere.db", 2, "tpe", "none", 1, 2, 1)
JOB = Job({}, Models("g1", "d"), CONFIG, SweepRun("0" * 32, "0"), "", 1, None)
GIVEN_UP = "3 failures in a row, the last one MlflowException: Connection refused"


def study_of(*trials: optuna.trial.FrozenTrial) -> optuna.Study:
    study = optuna.create_study(direction="maximize")
    for trial in trials:
        study.add_trial(trial)
    return study


def complete(**attrs: object) -> optuna.trial.FrozenTrial:
    return create_trial(value=0.5, user_attrs=attrs)


def failed(**attrs: object) -> optuna.trial.FrozenTrial:
    return create_trial(state=TrialState.FAIL, user_attrs=attrs)


def supervised(study: optuna.Study, monkeypatch, ends: list[str], report=lambda study, space: None) -> None:
    monkeypatch.setattr(supervision, "run_workers", lambda *arguments: ends)
    monkeypatch.setattr(supervision, "end_left_runs", lambda study: None)
    monkeypatch.setattr(supervision, "report", report)
    supervise(study, load_space("loss_weights"), JOB, 1, 0)


def refused(*arguments: object) -> None:
    raise MlflowException("the report's own trouble")


def test_cause_of_the_end_is_told_and_not_the_reports_error(monkeypatch, capsys):
    study = study_of(complete(), failed(**{FATE: "returned"}))
    said = f"^the workers have ended, after 1 of 2 trials: {GIVEN_UP}. The same command goes on from there.$"
    with pytest.raises(InvalidInput, match=said):
        supervised(study, monkeypatch, [GIVEN_UP, GIVEN_UP], refused)
    assert "the report cannot be refreshed now: MlflowException: the report's own trouble" in capsys.readouterr().out


def test_study_that_is_done_without_a_report_is_no_success(monkeypatch):
    with pytest.raises(InvalidInput, match="all 2 trials are done, but .*: MlflowException: the report's own trouble"):
        supervised(study_of(complete(), complete()), monkeypatch, ["exit code 0"], refused)


def test_worker_that_gave_up_is_no_matter_where_another_finished(monkeypatch, capsys):
    supervised(study_of(complete(), complete(), failed(**{FATE: "returned"})), monkeypatch, [GIVEN_UP, "exit code 0"])
    assert "== best of 2 trials: 0 with val/miou 0.5000" in capsys.readouterr().out


def test_report_that_failed_is_tried_again_though_no_trial_has_ended_since(monkeypatch):
    tried = []

    def report(study, space):
        tried.append(None)
        if len(tried) == 1:
            refused()

    monkeypatch.setattr(supervision, "end_left_runs", lambda study: None)
    monkeypatch.setattr(supervision, "report", report)
    reporter = supervision.Reporter(study_of(complete()), load_space("loss_weights"))
    for _ in range(3):
        reporter.try_to_refresh()
    assert len(tried) == 2


STORAGE = "postgresql://ann:s3cret@host/db"


def ends_of_workers(monkeypatch, work) -> list[str]:
    """Of one worker that does this; forked, since it is in no module."""
    monkeypatch.setattr(workers, "_server", multiprocessing.get_context("fork"))
    monkeypatch.setattr(worker, "work", work)
    return workers.run_workers(JOB, 1, 0, lambda: None, 0.1)


def raising(error: BaseException):
    def work(job):
        raise error

    return work


@pytest.mark.parametrize(
    "error, end",
    [
        (GivenUp(GIVEN_UP), GIVEN_UP),
        (InvalidInput("the storage cannot be used"), "the storage cannot be used"),
        (KeyError("x"), "KeyError: 'x'"),
        (SystemExit(130), "exit code 130"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_workers_say_why_they_end(monkeypatch, error, end):
    assert ends_of_workers(monkeypatch, raising(error)) == [end]


def test_a_workers_traceback_shows_no_password(monkeypatch, capfd):
    assert ends_of_workers(monkeypatch, raising(KeyError(f"at {STORAGE}"))) == ["KeyError: 'at postgresql://***@host/db'"]
    said = capfd.readouterr().err
    assert "Traceback" in said and "at postgresql://***@host/db" in said and "s3cret" not in said


def test_killed_workers_are_replaced_as_often_as_there_are_trials(monkeypatch):
    ends = ends_of_workers(monkeypatch, lambda job: os.kill(os.getpid(), signal.SIGKILL))
    assert ends == ["killed by signal 9"] * 3


def run_of(store, trial: int, process: str) -> str:
    """A trial's run that says RUNNING; its id."""
    experiment = store.get_experiment_by_name("tests").experiment_id
    tags = {TRIAL_TAG: str(trial), STUDY_TAG: "s", PROCESS_TAG: process}
    return store.create_run(experiment, run_name=f"trial {trial}", tags=tags).info.run_id


def status_and_reason(store, run_id: str) -> tuple[str, str | None]:
    run = store.get_run(run_id)
    return run.info.status, run.data.tags.get(FAILURE_TAG)


def test_runs_that_were_left_end_as_the_study_says(store):
    """Those of another machine, too, and no others."""
    runs = [run_of(store, trial, "elsewhere 1 2") for trial in range(7)]
    study = study_of(
        complete(**{RUN_ID: runs[0]}),
        create_trial(state=TrialState.PRUNED, value=0.1, user_attrs={RUN_ID: runs[1]}),
        failed(**{RUN_ID: runs[2], FATE: "failed", REASON: "Diverged: NaN"}),
        failed(**{RUN_ID: runs[3], FATE: "returned", REASON: "OSError: full"}),
        failed(**{RUN_ID: runs[4]}),
        create_trial(state=TrialState.RUNNING, user_attrs={RUN_ID: runs[5]}),
    )
    end_left_runs(study)
    assert [status_and_reason(store, run_id) for run_id in runs] == [
        ("FINISHED", None), ("KILLED", None), ("FAILED", "Diverged: NaN"), ("FAILED", "OSError: full"),
        ("KILLED", "the worker was killed in the middle of the trial"), ("RUNNING", None), ("RUNNING", None),
    ]  # fmt: skip
    for run_id in runs[5:]:
        store.set_terminated(run_id, "KILLED")


def test_runs_of_a_killed_sweeps_trials_are_ended_by_any_next_run_here(store):
    """Also where no sweep of that study ever runs again."""
    named, name = multiprocessing.Pipe(duplex=False)
    killed = multiprocessing.get_context("fork").Process(target=lambda: name.send(tracking.this_process()) or signal.pause())
    killed.start()
    run_id = run_of(store, 0, named.recv())
    with tracking.run("prepare", {}):
        assert status_and_reason(store, run_id)[0] == "RUNNING"
    killed.kill()
    killed.join()
    with tracking.run("prepare", {}):
        assert status_and_reason(store, run_id)[0] == "KILLED"
