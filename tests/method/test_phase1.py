"""Phase 1: G1 learns from labels, D learns from both and teaches nobody."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from hands.errors import InvalidInput
from hands.method.losses import cross_entropy_loss, straight_through_one_hot
from hands.method.phase1 import (
    AUGMENT_STREAM,
    Phase1Config,
    Phase1Data,
    Phase1Step,
    fit_phase1,
    masks_stream,
    update_discriminator,
)
from hands.packed.augment import augment
from hands.packed.batches import Batch, Shard, seeded_generator
from hands.packed.packed_set import PackedSet
from tests.method.single_steps import SCHEDULE
from tests.small_training import (
    PUBLISHED,
    Notebook,
    a_learner,
    first_batch,
    frozen_copy,
    is_unchanged,
    new_discriminator,
    one_process,
    reader,
    small_network,
)

PHASE1 = Phase1Config(SCHEDULE, PUBLISHED, "one_hot", 1e-3, "contiguous")


def phase1_step(g1: nn.Module, d: nn.Module, size: int) -> Phase1Step:
    return Phase1Step(a_learner(g1), a_learner(d), torch.ones(17), PHASE1, size)


def test_phase1_changes_both_networks(tiny_packed: PackedSet, paired_batch: Batch):
    g1, d = small_network(0), new_discriminator()
    before = frozen_copy(g1), frozen_copy(d)
    values = phase1_step(g1, d, 32)(0, (paired_batch,))
    assert not is_unchanged(g1, before[0]) and not is_unchanged(d, before[1])
    assert set(values) == {"loss_ce", "loss_total", "loss_d", "d_real_acc", "d_fake_acc"}
    assert values["loss_total"] == values["loss_ce"]


def test_phase1_learns_from_cross_entropy_alone(paired_batch: Batch):
    """Whatever D says, G1 takes the same step: D is taught on detached label maps."""
    with_d, with_other_d = small_network(0), small_network(0)
    phase1_step(with_d, new_discriminator(), 32)(0, (paired_batch,))
    other = new_discriminator()
    nn.init.normal_(other.layers[0].weight)
    phase1_step(with_other_d, other, 32)(0, (paired_batch,))
    assert is_unchanged(with_d, with_other_d.state_dict())


def test_d_learns_from_fakes_without_a_gradient_to_their_network(paired_batch: Batch):
    g1, d = small_network(0), new_discriminator()
    fake = straight_through_one_hot(g1(paired_batch.records[:, :3, 4:36, 4:36] / 255))
    assert fake.requires_grad
    update_discriminator(a_learner(d), fake.detach().flip(0), fake)
    assert all(parameter.grad is None for parameter in g1.parameters())
    assert all(parameter.grad.abs().sum() > 0 for parameter in d.parameters())


def test_phase1_shows_d_the_unpaired_masks_too(tiny_packed: PackedSet, paired_batch: Batch, monkeypatch):
    shown = []

    def watched(d, real, fake):
        shown.append((real, fake))
        return {}

    monkeypatch.setattr("hands.method.phase1.update_discriminator", watched)
    masks = first_batch(tiny_packed, "unpaired_masks", 1)
    step = phase1_step(small_network(0), new_discriminator(), 32)
    step(0, (paired_batch,))
    step(0, (paired_batch, masks))
    (paired_alone, _), (real, fake) = shown
    assert real.shape == fake.shape == (4, 34, 32, 32)
    assert torch.equal(real[:3], paired_alone[1:]) and not torch.equal(real[3], paired_alone[0])
    for maps in (real, fake):
        assert set(maps.unique().tolist()) == {0.0, 1.0}
        assert torch.equal(maps.view(len(maps), 2, 17, 32, 32).sum(2), torch.ones(len(maps), 2, 32, 32))


@pytest.mark.parametrize(
    ("batch_size", "processes", "masks"), [(16, 1, 8), (5, 1, 2), (1, 1, 1), (16, 2, 8), (6, 2, 2), (2, 2, 2)]
)
def test_half_a_batch_of_masks(tiny_packed: PackedSet, batch_size: int, processes: int, masks: int):
    stream = masks_stream(reader(tiny_packed, "unpaired_masks"), batch_size, 0, 1, Shard(0, processes))
    assert stream.batch_size == masks and len(stream.indices(0)) == masks // processes


def test_a_step_depends_on_its_number_and_the_seed(paired_batch: Batch):
    def loss(seed: int, number: int) -> float:
        config = replace(PHASE1, schedule=replace(SCHEDULE, seed=seed))
        step = Phase1Step(a_learner(small_network(0)), a_learner(new_discriminator()), torch.ones(17), config, 32)
        return step(number, (paired_batch,))["loss_ce"].item()

    assert loss(0, 0) == loss(0, 0)
    assert len({loss(0, 0), loss(0, 1), loss(1, 0)}) == 3


def test_cross_entropy_uses_the_class_weights(paired_batch: Batch):
    weights = torch.linspace(0.1, 2, 17)
    g1 = small_network(0)
    step = Phase1Step(a_learner(g1), a_learner(new_discriminator()), weights, PHASE1, 32)
    seen = {}
    forward = step.g1.forward
    step.g1.forward = lambda images: seen.setdefault("logits", forward(images))
    loss = step(0, (paired_batch,))["loss_ce"]
    labels = augment(paired_batch, 32, PUBLISHED, seeded_generator(0, AUGMENT_STREAM, 0), step.shard).labels
    torch.testing.assert_close(loss, cross_entropy_loss(seen["logits"], labels, weights))


def test_phase1_refuses_a_rate():
    with pytest.raises(InvalidInput, match="d_lr"):
        replace(PHASE1, d_lr=float("nan"))


def test_blobs_are_learned(tiny_packed: PackedSet):
    """A sanity check in seconds; test_overfitting.py is the real one."""
    g1, notebook = small_network(0), Notebook()
    data = Phase1Data(reader(tiny_packed, "train"), None, reader(tiny_packed, "val"))
    schedule = replace(SCHEDULE, epochs=12, lr=2e-2, ema_decay=0.0, eval_every=12)
    config = replace(PHASE1, schedule=schedule)
    fit_phase1(one_process(), config, data, g1, new_discriminator(), torch.ones(17), notebook)
    assert notebook.epochs[-1][1]["train/loss_ce"] < 0.4 * notebook.epochs[0][1]["train/loss_ce"]
