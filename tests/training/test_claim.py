"""A run is trained by the process that holds its lock, and others take it for one that is taken."""

import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from hands.errors import InvalidInput
from hands.training import claim as claiming
from hands.training.claim import claim, first_free, has_checkpoint
from hands.training.resume import TrainingCheckpoint


@pytest.fixture
def run(tmp_path: Path) -> Callable[[str], TrainingCheckpoint]:
    """run(name): the checkpoint of a run that has begun."""

    def begun(name: str) -> TrainingCheckpoint:
        checkpoint = TrainingCheckpoint(tmp_path / name, 1e9, "same")
        checkpoint.begin()
        return checkpoint

    return begun


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claiming, "CLAIM_S", 0)


def test_two_processes_cannot_train_one_run(run, impatient):
    holder = run("a")
    holder.claim()
    with pytest.raises(InvalidInput, match="another process is training the run of .*/a"):
        claim(holder.folder)
    holder.release()
    claim(holder.folder).close()


def test_a_run_that_is_being_trained_is_no_candidate(run, impatient):
    newest, older = run("newest"), run("older")
    newest.claim()
    with pytest.warns(UserWarning, match="newest is left alone: another process is training it"):
        assert first_free([newest.folder, older.folder]) == older.folder
    older.claim()
    with pytest.warns(UserWarning, match="left alone"):
        assert first_free([newest.folder, older.folder]) is None


def test_looking_for_a_run_claims_none(run):
    folder = run("a").folder
    assert first_free([folder]) == first_free([folder]) == folder


def test_without_a_checkpoint_there_is_nothing_to_go_on_with(tmp_path: Path, run):
    assert first_free([tmp_path / "nothing", run("a").folder]) == tmp_path / "a"
    assert not (tmp_path / "nothing").exists()


def test_a_process_that_is_about_to_end_is_waited_for(run):
    newest, older = run("newest"), run("older")
    newest.claim()
    threading.Timer(0.5, newest.release).start()
    assert first_free([newest.folder, older.folder]) == newest.folder


def test_a_run_that_was_finished_meanwhile_is_no_candidate(run):
    newest, older = run("newest"), run("older")
    newest.claim()

    def finish() -> None:
        newest.remove()
        newest.release()

    threading.Timer(0.5, finish).start()
    assert first_free([newest.folder, older.folder]) == older.folder
    assert not has_checkpoint(newest.folder)


def test_a_folder_that_cannot_be_written_is_refused_before_training(tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InvalidInput, match="file cannot be written .*; give a folder that can be"):
        TrainingCheckpoint(tmp_path / "file" / "run", 1e9, "same").claim()
    with pytest.raises(InvalidInput, match="file takes no checkpoint"):
        TrainingCheckpoint(tmp_path / "file" / "run", 1e9, "same").begin()
