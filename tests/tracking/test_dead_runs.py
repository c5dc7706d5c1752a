"""Runs that say RUNNING though nothing runs them: which are ended, and that nothing fails for it."""

import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from hands import tracking
from hands.processes.identity import this_place, this_process
from hands.tracking import PROCESS_TAG
from hands.tracking.steps import end_step_run
from tests.project import EXPERIMENT

DEAD = f"{this_place()} 999999999 1"


@pytest.fixture
def run_of(store: MlflowClient):
    """run_of(process): a run that says RUNNING; its id."""
    made = []

    def run(process: str) -> str:
        experiment = store.get_experiment_by_name(EXPERIMENT).experiment_id
        made.append(store.create_run(experiment, tags={PROCESS_TAG: process}).info.run_id)
        return made[-1]

    yield run
    for run_id in made:  # other tests share the store
        store.set_terminated(run_id, "KILLED")


def status(store: MlflowClient, run_id: str) -> str:
    return store.get_run(run_id).info.status


def test_the_next_run_ends_dead_ones_and_no_others(store, run_of):
    boot, namespace, user = this_place().split()
    dead, living = run_of(DEAD), run_of(this_process())
    elsewhere = [
        run_of(f"{place} 999999999 1")
        for place in (f"another-{boot} {namespace} {user}", f"{boot} 1{namespace} {user}", f"{boot} {namespace} 1{user}")
    ]
    with tracking.run("phase1", {}):
        assert status(store, dead) == "KILLED"
        assert [status(store, run_id) for run_id in (living, *elsewhere)] == ["RUNNING"] * 4


@pytest.mark.parametrize("denied", ["search_runs", "set_terminated"])
def test_a_server_that_denies_it_changes_nothing(store, run_of, monkeypatch, denied):
    def deny(*given, **named):
        raise MlflowException("API request failed with error code 403 != 200. Response body: 'Permission denied'")

    dead = run_of(DEAD)
    with monkeypatch.context() as patch:
        patch.setattr(MlflowClient, denied, deny)
        tracking.end_dead_runs()
    assert status(store, dead) == "RUNNING"


@pytest.mark.parametrize(
    ("process", "left"),
    [(DEAD, "FAILED"), (this_process(), "FAILED"), ("a process elsewhere", "RUNNING")],
    ids=["its process died", "its process never began", "another one goes on with it"],
)
def test_a_failed_step_ends_the_run_that_was_its_own(store, run_of, process, left):
    run_id = run_of(process)
    end_step_run(run_id, "FAILED")
    assert status(store, run_id) == left
