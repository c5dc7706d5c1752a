"""A run that another process trains is left as it is by whoever wants to go on with it."""

from pathlib import Path

import pytest
from mlflow import MlflowClient

from hands import tracking
from hands.tracking import FAILURE_TAG, PROCESS_TAG
from hands.tracking.steps import STEP_KEY_TAG, find_unfinished
from hands.training import claim as claiming
from hands.training.resume import TrainingCheckpoint
from tests.project import EXPERIMENT, invoke

LIVING = "a process elsewhere"


@pytest.fixture
def living(store: MlflowClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The id of a run of phase1 that a process trains."""
    monkeypatch.setattr(claiming, "CLAIM_S", 0)
    experiment = store.get_experiment_by_name(EXPERIMENT).experiment_id
    tags = {PROCESS_TAG: LIVING, tracking.ENTRY_POINT_TAG: "phase1", STEP_KEY_TAG: "a key"}
    run_id = store.create_run(experiment, tags=tags).info.run_id
    checkpoint = TrainingCheckpoint(tmp_path / run_id, 1e9, "same")
    checkpoint.claim()
    checkpoint.begin()
    yield run_id
    checkpoint.release()
    store.set_terminated(run_id, "KILLED")


@pytest.mark.parametrize("by_name", [True, False], ids=["latest", "its id"])
@pytest.mark.filterwarnings("ignore:the run of .* is left alone")
def test_it_is_refused_untouched(store, living, tiny_packed, tmp_path, by_name):
    given = {"packed_dir": tiny_packed.folder, "g1": "light", "encoder_weights": "none", "checkpoint_dir": tmp_path}
    result = invoke("phase1", resume="latest" if by_name else living, **given)
    said = "waits to go on" if by_name else "another process is training the run"
    assert result.exit_code == 1 and said in result.output
    run = store.get_run(living)
    assert run.info.status == "RUNNING"
    assert run.data.tags[PROCESS_TAG] == LIVING and FAILURE_TAG not in run.data.tags


@pytest.mark.filterwarnings("ignore:the run of .* is left alone")
def test_a_pipeline_does_not_go_on_with_it(store, living, tmp_path):
    assert find_unfinished("a key", str(tmp_path)) is None
    broken_off = store.create_run(store.get_run(living).info.experiment_id, tags={STEP_KEY_TAG: "a key"}).info.run_id
    TrainingCheckpoint(tmp_path / broken_off, 1e9, "same").begin()
    assert find_unfinished("a key", str(tmp_path)) == broken_off
    store.set_terminated(broken_off, "KILLED")

