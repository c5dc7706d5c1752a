"""Which run `resume` names, and what becomes of the runs around it."""

import mlflow
import pytest

from hands import tracking
from hands.errors import InvalidInput
from hands.tracking.steps import run_to_resume
from hands.training.resume import TrainingCheckpoint


@pytest.fixture
def broken_off(store, tmp_path):
    """broken_off(entry point): a run that Ctrl-C ended, with a checkpoint in tmp_path; its id."""

    def run(entry_point: str) -> str:
        with pytest.raises(KeyboardInterrupt), tracking.run(entry_point, {}) as active:
            TrainingCheckpoint(tmp_path / active.info.run_id, 1e9, "same").begin()
            raise KeyboardInterrupt
        return active.info.run_id

    return run


def test_latest_is_the_newest_of_the_entry_point_that_is_not_finished(store, tmp_path, broken_off):
    broken_off("phase1")
    second = broken_off("phase1")
    broken_off("phase2_init")
    with tracking.run("phase1", {}) as finished:
        TrainingCheckpoint(tmp_path / finished.info.run_id, 1e9, "same").begin()
    assert run_to_resume("phase1", "latest", str(tmp_path)) == second


def test_there_must_be_a_latest(store, tmp_path):
    with pytest.raises(InvalidInput, match="no unfinished run of phase1 has a checkpoint"):
        run_to_resume("phase1", "latest", str(tmp_path))


def test_a_run_is_named_by_its_id(store, tmp_path, broken_off):
    run_id = broken_off("phase1")
    assert run_to_resume("phase1", run_id, str(tmp_path)) == run_id
    with pytest.raises(InvalidInput, match="no checkpoint in"):
        run_to_resume("phase1", run_id, str(tmp_path / "elsewhere"))
    with pytest.raises(InvalidInput, match="which is no run here"):
        run_to_resume("phase1", "0" * 32, str(tmp_path))


def test_a_finished_run_is_not_trained_again(store, tmp_path):
    with tracking.run("phase1", {}) as active:
        TrainingCheckpoint(tmp_path / active.info.run_id, 1e9, "same").begin()
    with pytest.raises(InvalidInput, match="is finished"):
        run_to_resume("phase1", active.info.run_id, str(tmp_path))


def test_the_run_that_only_points_is_finished_at_once(store, broken_off, monkeypatch):
    run_id = broken_off("phase1")
    with mlflow.start_run() as made_by_mlflow_run:
        pass
    pointer = made_by_mlflow_run.info.run_id
    store.update_run(pointer, status="RUNNING")
    monkeypatch.setenv("MLFLOW_RUN_ID", pointer)
    with tracking.run("phase1", {}, run_id) as active:
        assert active.info.run_id == run_id
        assert store.get_run(pointer).info.status == "FINISHED"
        assert store.get_run(run_id).info.status == "RUNNING"
    assert store.get_run(pointer).data.tags["hands.resumes"] == run_id
    ended = store.get_run(run_id)
    assert (ended.info.status, ended.data.tags["hands.failure"]) == ("FINISHED", "")
