"""Damaged and hostile bytes as checkpoints: each ends in a value or in InvalidInput, never in anything else."""

import copy
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hands.errors import InvalidInput
from hands.training.learner import Learner
from hands.training.resume import FILE, TrainingCheckpoint
from hands.training.state import TrainingState
from tests.hostile_input import any_value, ends_well, examples, mutated, pickle_of, with_pickle
from tests.small_training import a_learner


def learners() -> dict[str, Learner]:
    torch.manual_seed(0)
    networks = {"g2": torch.nn.Sequential(torch.nn.Conv2d(3, 2, 1), torch.nn.BatchNorm2d(2)), "d": torch.nn.Conv2d(2, 1, 1)}
    return {name: a_learner(network, ema_decay=0.9) for name, network in networks.items()}


def train_a_step(trained: dict[str, Learner]) -> None:
    g2, d = trained.values()
    loss = d.forward(g2.forward(torch.ones(2, 3, 4, 4))).square().mean()
    for learner in trained.values():
        learner.optimizer.zero_grad()
    loss.backward()
    for learner in trained.values():
        learner.optimizer.step()


@pytest.fixture(scope="module")
def state() -> dict:
    """What a checkpoint holds within the second epoch."""
    trained = learners()
    kept = TrainingState(trained, True)
    train_a_step(trained)
    metrics = {"val/miou": 0.5, "train/loss_total": 1.0}
    kept.best.offer(1, metrics)
    kept.finish_epoch(1, metrics)
    kept.step = 3
    kept.averages.add({"loss_total": torch.tensor(2.0)})
    return kept.to_dict(1.5)


def go_on(folder: Path) -> None:
    """What a resumed step does with its checkpoint."""
    saved = TrainingCheckpoint(folder, 1e9, "same").load()
    if saved is None:
        return
    trained = learners()
    resumed = TrainingState(trained, True)
    before = torch.get_rng_state()
    try:
        resumed.restore(saved)
    finally:
        torch.set_rng_state(before)
    train_a_step(trained)
    resumed.averages.means(next(iter(trained.values())).fabric)
    if resumed.best.metrics:
        resumed.best.restore()
    resumed.finish_epoch(resumed.epoch + 1, {})
    saved_again = resumed.to_dict(resumed.seconds)
    assert saved_again["step"] >= saved_again["epoch"] - 1


def checkpoint_bytes(folder: Path, state: dict) -> bytes:
    TrainingCheckpoint(folder, 1e9, "same").save(state)
    return (folder / FILE).read_bytes()


@examples(100)
@given(st.data())
def test_checkpoints(tmp_path: Path, state: dict, data: st.DataObject):
    whole = checkpoint_bytes(tmp_path, state)
    (tmp_path / FILE).write_bytes(data.draw(mutated([whole])))
    ends_well(lambda: go_on(tmp_path))


@examples(200)
@given(st.data())
def test_checkpoints_whose_pickle_is_damaged(tmp_path: Path, state: dict, data: st.DataObject):
    whole = checkpoint_bytes(tmp_path, state)
    damaged = data.draw(mutated([pickle_of(whole)]))
    (tmp_path / FILE).write_bytes(with_pickle(whole, lambda _: damaged))
    ends_well(lambda: go_on(tmp_path))


plain_values = any_value.filter(lambda value: not isinstance(value, np.ndarray | np.generic))
other_values = plain_values | st.sampled_from(
    [torch.zeros(2, 3, 1, 1), torch.zeros(2), torch.zeros(1).long(), torch.full((), math.nan), -1, 1 << 70, math.inf]
)


@examples(300)
@given(st.data())
def test_checkpoints_with_any_value_in_a_field(tmp_path: Path, state: dict, data: st.DataObject):
    changed = copy.deepcopy(state)
    inside = changed
    while True:
        keys = sorted(inside, key=repr) if isinstance(inside, dict) else range(len(inside))
        key = data.draw(st.sampled_from(keys))
        if not isinstance(inside[key], dict | list) or not inside[key] or data.draw(st.booleans()):
            break
        inside = inside[key]
    if isinstance(inside, dict) and data.draw(st.booleans()):
        del inside[key]
    else:
        inside[key] = data.draw(other_values)
    checkpoint_bytes(tmp_path, changed)
    ends_well(lambda: go_on(tmp_path))


@pytest.mark.parametrize("count", [0, -1, 4, 1 << 70])
def test_a_mean_is_of_steps_that_were_trained(tmp_path: Path, state: dict, count: int):
    """Three steps were; a number beyond 64 bits raised OverflowError at the epoch's end."""
    checkpoint_bytes(tmp_path, state | {"counts": {"loss_total": count}})
    with pytest.raises(InvalidInput, match="means of more steps than were trained, or of none"):
        go_on(tmp_path)


@pytest.mark.parametrize("step", [-1, 0, 1 << 70])
def test_steps_that_cannot_be(tmp_path: Path, state: dict, step: int):
    checkpoint_bytes(tmp_path, state | {"step": step})
    with pytest.raises(InvalidInput, match=f"epoch 1, step {step}"):
        go_on(tmp_path)


def test_the_checkpoint_that_is_damaged_here_is_a_good_one(tmp_path: Path, state: dict):
    checkpoint_bytes(tmp_path, state)
    go_on(tmp_path)
