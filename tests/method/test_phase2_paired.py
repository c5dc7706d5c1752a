"""Phase 2, paired training: what teaches G2, and when D learns."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from hands.errors import InvalidInput
from hands.method import phase2_paired
from hands.method.losses import adversarial_loss, straight_through_one_hot
from hands.method.phase2_paired import (
    AUGMENT_STREAM,
    Phase2PairedConfig,
    Phase2PairedData,
    Phase2PairedStep,
    fit_phase2_paired,
)
from hands.packed.augment import augment
from hands.packed.batches import Batch, Shard, seeded_generator
from hands.packed.packed_set import PackedSet
from hands.training.learner import Learner
from tests.method.single_steps import SCHEDULE, dice_and_ce
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

PAIRED = Phase2PairedConfig(
    SCHEDULE, PUBLISHED, 0.1, "one_hot", update_discriminator=True, d_lr=1e-3, memory_format="contiguous"
)


def paired_step(g2: nn.Module, d: nn.Module | None, d_learner: Learner | None, **changes) -> Phase2PairedStep:
    return Phase2PairedStep(a_learner(g2), d, d_learner, dice_and_ce(), replace(PAIRED, **changes), 32)


@pytest.mark.parametrize("adv_input", ["one_hot", "softmax"])
def test_g2_learns_from_the_adversarial_term_alone(paired_batch: Batch, adv_input: str):
    g2, d = small_network(0), new_discriminator()
    seen = {}
    step = paired_step(g2, d, None, adv_weight=1.0, adv_input=adv_input)
    update = step.g2.update

    def watched(loss):
        update(loss)
        seen.update({name: parameter.grad.abs().sum().item() for name, parameter in g2.named_parameters()})

    step.g2.update = watched
    values = step(0, (paired_batch,))
    assert values["loss_total"].item() == pytest.approx(values["loss_adv"].item())
    # a bias in front of batch norm moves nothing
    assert all(total > 0 for name, total in seen.items() if name != "0.bias")


def test_the_terms_are_weighted(paired_batch: Batch):
    values = paired_step(small_network(0), new_discriminator(), None, adv_weight=0.25)(0, (paired_batch,))
    segmentation = 0.35 * values["loss_ce"] + 0.65 * values["loss_dice"]
    torch.testing.assert_close(values["loss_total"], 0.75 * segmentation + 0.25 * values["loss_adv"])


def test_d_rests_where_it_may_not_learn(paired_batch: Batch):
    g2, d = small_network(0), new_discriminator()
    before, started = frozen_copy(d), frozen_copy(g2)
    values = paired_step(g2, d, None)(0, (paired_batch,))
    assert is_unchanged(d, before)  # running statistics as well
    assert all(parameter.grad is None for parameter in d.parameters())
    assert not is_unchanged(g2, started)
    assert set(values) == {"loss_ce", "loss_dice", "loss_adv", "loss_total", "adv_grad_ratio", "d_real_acc", "d_fake_acc"}


@pytest.mark.parametrize(("n", "shown"), [(4, 1), (2, 1), (1, 1)])
def test_a_resting_d_is_shown_a_quarter_of_the_real_labels(paired_batch: Batch, n: int, shown: int):
    d = new_discriminator()
    seen = []
    d.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0].detach()))
    values = paired_step(small_network(0), d, None)(0, (Batch(*(part[:n] for part in paired_batch)),))
    fake, real = seen
    assert len(fake) == n and len(real) == shown
    assert set(real.unique().tolist()) == {0.0, 1.0}
    assert 0 <= values["d_real_acc"] <= 1


def test_a_d_that_learns_sees_each_real_label_once(tiny_packed: PackedSet, paired_batch: Batch):
    d = new_discriminator()
    seen = []
    d.register_forward_pre_hook(lambda module, inputs: seen.append(len(inputs[0])))
    masks = first_batch(tiny_packed, "unpaired_masks", 2)
    paired_step(small_network(0), d, a_learner(d))(0, (paired_batch, masks))
    assert seen == [4, 8]  # to teach G2; then to learn, from as many real as fake maps


def test_d_learns_where_it_may(paired_batch: Batch):
    g2, d = small_network(0), new_discriminator()
    before = frozen_copy(d)
    values = paired_step(g2, d, a_learner(d))(0, (paired_batch,))
    changed = [name for name, parameter in d.named_parameters() if not torch.equal(parameter, before[name])]
    assert changed == [name for name, _ in d.named_parameters()]
    assert "loss_d" in values and d.training


def test_d_that_learns_does_not_change_g2s_step(paired_batch: Batch):
    """D is updated after G2, and its gradients come from its own loss."""
    alone, beside = small_network(0), small_network(0)
    paired_step(alone, new_discriminator(), None)(0, (paired_batch,))
    d = new_discriminator()
    paired_step(beside, d, a_learner(d))(0, (paired_batch,))
    assert is_unchanged(alone, beside.state_dict())


def test_the_terms_gradients_are_compared(paired_batch: Batch):
    g2, d, config = small_network(0), new_discriminator(), replace(PAIRED, adv_weight=0.25)
    images, labels, _ = augment(paired_batch, 32, PUBLISHED, seeded_generator(SCHEDULE.seed, AUGMENT_STREAM, 0), Shard(0, 1))
    logits = g2(images)
    segmentation = dice_and_ce()(logits, labels)["loss_total"]
    adversarial = adversarial_loss(d.eval()(straight_through_one_hot(logits)))
    norms = [torch.autograd.grad(loss, logits, retain_graph=True)[0].norm() for loss in (adversarial, segmentation)]
    values = Phase2PairedStep(a_learner(small_network(0)), d, None, dice_and_ce(), config, 32)(0, (paired_batch,))
    torch.testing.assert_close(values["adv_grad_ratio"], 0.25 * norms[0] / (0.75 * norms[1]))
    assert values["adv_grad_ratio"] > 0


@pytest.mark.parametrize("adv_input", ["one_hot", "softmax"])
def test_comparing_gradients_changes_no_weight(paired_batch: Batch, monkeypatch: pytest.MonkeyPatch, adv_input: str):
    networks = [small_network(0), small_network(0)]
    steps = [paired_step(g2, new_discriminator(), None, adv_input=adv_input) for g2 in networks]
    for number in range(2):
        steps[0](number, (paired_batch,))
    monkeypatch.setattr(phase2_paired, "watched", lambda values, norms: norms.append(torch.ones(())) or values)
    for number in range(2):
        steps[1](number, (paired_batch,))
    assert is_unchanged(networks[0], networks[1].state_dict())


def test_without_labels_nothing_is_compared(paired_batch: Batch):
    """adv_weight=1: a ratio to nothing would end the training as diverged."""
    values = paired_step(small_network(0), new_discriminator(), None, adv_weight=1.0)(0, (paired_batch,))
    assert "adv_grad_ratio" not in values


def test_without_the_adversarial_term_there_is_no_d(paired_batch: Batch):
    """The weights are those that a D of no weight leaves."""
    alone, beside = small_network(0), small_network(0)
    for number in range(2):
        values = paired_step(alone, None, None, adv_weight=0.0)(number, (paired_batch,))
        paired_step(beside, new_discriminator(), None, adv_weight=0.0)(number, (paired_batch,))
    assert is_unchanged(alone, beside.state_dict())
    assert set(values) == {"loss_ce", "loss_dice", "loss_total"}


def test_without_the_adversarial_term_d_is_not_run(tiny_packed: PackedSet):
    """Not even where it is there and may learn."""
    d = new_discriminator()
    d.register_forward_pre_hook(lambda module, inputs: pytest.fail("D is run"))
    before = frozen_copy(d)
    data = Phase2PairedData(reader(tiny_packed, "train"), reader(tiny_packed, "unpaired_masks"), reader(tiny_packed, "val"))
    config = replace(PAIRED, adv_weight=0.0)
    assert not config.trains_discriminator
    fit_phase2_paired(one_process(), config, data, small_network(0), d, dice_and_ce(), Notebook())
    assert is_unchanged(d, before)


@pytest.mark.parametrize("change", [{"adv_weight": -0.1}, {"adv_weight": 1.1}, {"d_lr": 0.0}, {"d_lr": -1.0}])
def test_paired_refuses(change: dict):
    with pytest.raises(InvalidInput, match=next(iter(change))):
        replace(PAIRED, **change)
