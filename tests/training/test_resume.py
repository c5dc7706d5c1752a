"""Checkpoints: a step that is broken off anywhere goes on to bit-identical weights, and reports every epoch once."""

import math
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from hands.errors import InvalidInput
from hands.packed.packed_set import PackedSet
from hands.processes.signals import STOP_SIGNALS
from hands.training.learner import Learner
from hands.training.resume import FILE, Stopped, TrainingCheckpoint
from tests.full_disk import files_up_to
from tests.hostile_input import Attack
from tests.project import handlers_kept
from tests.small_training import Notebook, is_unchanged
from tests.training_steps import AUGMENTED, PHASE2_INIT, STEPS, TrainingStep, small_start

GIVEN = {
    "seed": 3, "epochs": 3, "batch_size": 4, "lr": 5e-3, "lr_schedule": "cosine", "ema_decay": 0.9, "eval_every": 2,
    "d_lr": 1e-3, "class_weights": "none", "memory_format": "contiguous",
}  # fmt: skip
ALWAYS, NEVER = 0.0, 1e9  # minutes between checkpoints


class Killed(BaseException):
    """Stands for kill -9: nothing in the code may catch it and tidy up."""


def run(step: TrainingStep, packed: PackedSet, recorder: Notebook, checkpoint: TrainingCheckpoint | None) -> list[nn.Module]:
    """What the step has trained."""
    start = small_start()
    step.train(packed, start, recorder, checkpoint, **GIVEN)
    return list(step.trained(start).values())


@contextmanager
def counted(last: float = math.inf) -> Iterator[list[None]]:
    """The optimizer steps that are made within, as a list that grows; the `last` one ends the process."""
    made, update = [], Learner.update

    def update_and_count(self, loss):
        update(self, loss)
        made.append(None)
        if len(made) == last:
            raise Killed

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Learner, "update", update_and_count)
        yield made


@pytest.fixture(scope="module", params=(*STEPS, AUGMENTED), ids=lambda step: step.name)
def whole(request: pytest.FixtureRequest, tiny_packed: PackedSet) -> SimpleNamespace:
    """A step that nobody breaks off."""
    notes = Notebook()
    with counted() as made:
        networks = run(request.param, tiny_packed, notes, None)
    return SimpleNamespace(step=request.param, networks=networks, notes=notes, updates=len(made))


@pytest.mark.parametrize("minutes", [ALWAYS, NEVER], ids=["within epochs", "at epochs' ends"])
def test_killed_and_resumed_gives_the_same_bits(whole, minutes, tiny_packed, tmp_path):
    """Killed after the first checkpoint, at once, and after the second one."""
    apart = len(whole.networks) if minutes == ALWAYS else whole.updates // GIVEN["epochs"]  # optimizer steps
    notes = Notebook()
    for last in (apart + 1, 1, apart + 1):
        with counted(last), pytest.raises(Killed):
            run(whole.step, tiny_packed, notes, TrainingCheckpoint(tmp_path / "run", minutes, "same"))
    with counted() as made:
        parts = run(whole.step, tiny_packed, notes, TrainingCheckpoint(tmp_path / "run", minutes, "same"))
    assert len(made) == whole.updates - 2 * apart
    assert minutes == ALWAYS or notes.restored == [1, 2]
    for one, other in zip(whole.networks, parts, strict=True):
        assert is_unchanged(one, other.state_dict())
    reported = dict(notes.epochs)  # an epoch that was trained again reports the same
    assert repr(list(reported.items())) == repr(whole.notes.epochs)  # and NaN where NaN was
    assert [epoch for epoch, _ in notes.evaluations].count(0) == 1  # the start is shown with the first step alone


def test_a_finished_fit_goes_straight_to_its_end(tiny_packed, tmp_path):
    folder = tmp_path / "run"
    first = run(PHASE2_INIT, tiny_packed, Notebook(), TrainingCheckpoint(folder, NEVER, "same"))
    with counted() as made:
        again = run(PHASE2_INIT, tiny_packed, Notebook(), TrainingCheckpoint(folder, NEVER, "same"))
    assert not made and is_unchanged(first[0], again[0].state_dict())


@pytest.mark.parametrize("number", STOP_SIGNALS, ids=lambda number: number.name)
def test_a_signal_ends_the_step_in_hand_with_a_checkpoint(number, tiny_packed, tmp_path, monkeypatch):
    update = Learner.update

    def update_and_signal(self, loss):
        update(self, loss)
        os.kill(os.getpid(), number)

    monkeypatch.setattr(Learner, "update", update_and_signal)
    checkpoint = TrainingCheckpoint(tmp_path / "run", NEVER, "same")
    with handlers_kept():
        with pytest.raises(Stopped, match=number.name):
            run(PHASE2_INIT, tiny_packed, Notebook(), checkpoint)
        os.kill(os.getpid(), number)  # changes nothing: the process is ending
    assert checkpoint.load()["step"] == 1


def test_signals_do_what_they_did_after_a_fit_without_any(tiny_packed, tmp_path):
    before = [signal.getsignal(number) for number in STOP_SIGNALS]
    run(PHASE2_INIT, tiny_packed, Notebook(), TrainingCheckpoint(tmp_path / "run", NEVER, "same"))
    assert [signal.getsignal(number) for number in STOP_SIGNALS] == before


def test_a_checkpoint_that_cannot_be_flushed_keeps_the_previous_one(tmp_path, monkeypatch):
    checkpoint = TrainingCheckpoint(tmp_path / "run", NEVER, "same")
    checkpoint.save({"step": 1})

    def full(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.warns(UserWarning, match="No space left.*the previous one stays"):
        checkpoint.save({"step": 2})
    assert checkpoint.load()["step"] == 1
    assert [path.name for path in (tmp_path / "run").iterdir()] == [FILE]


def test_a_checkpoint_that_does_not_fit_keeps_the_previous_one(tmp_path):
    checkpoint = TrainingCheckpoint(tmp_path / "run", 1e9, "same")
    checkpoint.save({"step": 1, "weights": torch.zeros(10)})
    for limit in (0, 100, 5_000, 50_000):
        with files_up_to(limit), pytest.warns(UserWarning, match="cannot be written.*previous one stays"):
            checkpoint.save({"step": 2, "weights": torch.zeros(100_000)})
        assert checkpoint.load()["step"] == 1
        assert [path.name for path in (tmp_path / "run").iterdir()] == [FILE]
    checkpoint.save({"step": 3, "weights": torch.zeros(100_000)})
    assert checkpoint.load()["step"] == 3


def test_other_parameters_are_refused(tmp_path):
    TrainingCheckpoint(tmp_path / "run", NEVER, "lr=1").save({"step": 1})
    with pytest.raises(InvalidInput, match="other parameters"):
        TrainingCheckpoint(tmp_path / "run", NEVER, "lr=2").load()


def test_a_run_can_be_resumed_before_it_has_trained_anything(tmp_path):
    TrainingCheckpoint(tmp_path / "run", NEVER, "lr=1").begin()
    assert TrainingCheckpoint(tmp_path / "run", NEVER, "lr=1").load() is None
    with pytest.raises(InvalidInput, match="other parameters"):
        TrainingCheckpoint(tmp_path / "run", NEVER, "lr=2").load()


def test_only_a_checkpoint_of_nothing_goes_with_a_failed_run(tmp_path):
    failed = TrainingCheckpoint(tmp_path / "failed", NEVER, "same")
    failed.begin()
    failed.remove_if_untrained()
    assert not (tmp_path / "failed").exists()
    trained = TrainingCheckpoint(tmp_path / "trained", NEVER, "same")
    trained.begin()
    trained.save({"step": 1})
    trained.remove_if_untrained()
    resumed = TrainingCheckpoint(tmp_path / "trained", NEVER, "same")
    resumed.remove_if_untrained()
    assert resumed.load()["step"] == 1


def test_a_checkpoint_that_would_run_something_is_refused_and_runs_nothing(tmp_path):
    checkpoint = TrainingCheckpoint(tmp_path / "run", NEVER, "same")
    checkpoint.save({"step": 1})
    torch.save(Attack(tmp_path / "flag"), tmp_path / "run" / FILE)
    with pytest.raises(InvalidInput, match="cannot be read"):
        checkpoint.load()
    assert not (tmp_path / "flag").exists()
