"""Pixels labelled IGNORED: losses as if they were not there, no gradient from them, and D sees them alike on both sides."""

import math
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from lightning.fabric import Fabric
from torch import nn

from hands.method import losses, phase1, phase2_paired
from hands.method.losses import (
    ADV_INPUTS,
    SegmentationLoss,
    adversarial_loss,
    cross_entropy_loss,
    dice_loss,
    jaccard_loss,
    one_hot_labels,
    without_ignored,
)
from hands.networks.discriminator import Discriminator
from hands.packed.batches import Batch
from hands.packed.ignored import known_pixels
from hands.packed.packed_set import PackedSet
from hands.parts import IGNORED
from hands.training.learner import Learner
from tests.method.single_steps import SCHEDULE
from tests.small_training import PUBLISHED, first_batch

Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
WEIGHTS = torch.linspace(0.1, 1, 17)
LOSSES = {
    "cross_entropy": lambda logits, labels: cross_entropy_loss(logits, labels, WEIGHTS.to(logits.dtype)),
    "dice": lambda logits, labels: dice_loss(logits, labels, 0.0),
    "self_adjusting_dice": lambda logits, labels: dice_loss(logits, labels, 0.7),
    "jaccard": jaccard_loss,
}
each_loss = pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)


def half_known_case() -> tuple[torch.Tensor, torch.Tensor]:
    """One picture of 1 x 2 pixels. Left hand: the first pixel is part 3 with p = 1/2, the second is ignored. Right hand: both
    pixels background with p = 1/17."""
    logits = torch.zeros(1, 34, 1, 2)
    logits[0, 3, 0, 0] = math.log(16)  # 16 / (16 + 16 others) = 1/2
    labels = torch.zeros(1, 2, 1, 2, dtype=torch.int64)
    labels[0, 0, 0] = torch.tensor([3, IGNORED])
    return logits, labels


def random_case(dtype: torch.dtype = torch.float32, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Two pictures of 3 x 3 pixels; about a third of each hand's labels is ignored, elsewhere for the other hand."""
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(2, 34, 3, 3, generator=generator, dtype=dtype)
    labels = torch.randint(0, 17, (2, 2, 3, 3), generator=generator)
    labels[torch.rand(labels.shape, generator=generator) < 0.35] = IGNORED
    assert all(0 < (labels[:, hand] == IGNORED).sum() < 18 for hand in range(2))
    return logits, labels


def known_maps(logits: torch.Tensor, labels: torch.Tensor, hand: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Probabilities and one-hot truth (17, K) of the K pixels of a hand that are known, picked one by one."""
    probabilities, truth = [], []
    for n, row, column in (labels[:, hand] != IGNORED).nonzero().tolist():
        probabilities.append(logits[n, 17 * hand : 17 * hand + 17, row, column].softmax(0))
        truth.append(F.one_hot(labels[n, hand, row, column], 17))
    return torch.stack(probabilities, 1), torch.stack(truth, 1).to(logits.dtype)


def test_cross_entropy_by_hand():
    # left: log 2, of the one pixel that is known; right: log 17
    assert cross_entropy_loss(*half_known_case(), torch.ones(17)).item() == pytest.approx(math.log(2) + math.log(17), rel=1e-6)


def test_dice_by_hand():
    # left, of the first pixel alone: part 3 with p = 1/2, 16 classes without a pixel and p = 1/32
    left = ((1 - (2 * 0.5 + 1) / (0.5 + 1 + 1)) + 16 * (1 - 1 / (1 / 32 + 1))) / 17
    right = ((1 - (4 / 17 + 1) / (2 / 17 + 3)) + 16 * (1 - 1 / (2 / 17 + 1))) / 17
    assert dice_loss(*half_known_case(), alpha=0.0).item() == pytest.approx(left + right, rel=1e-6)


def test_self_adjusting_dice_by_hand():
    def q(p):
        return (1 - p) ** 2 * p

    left = ((1 - (2 * q(0.5) + 1) / (q(0.5) + 1 + 1)) + 16 * (1 - 1 / (q(1 / 32) + 1))) / 17
    right = ((1 - (4 * q(1 / 17) + 1) / (2 * q(1 / 17) + 3)) + 16 * (1 - 1 / (2 * q(1 / 17) + 1))) / 17
    assert dice_loss(*half_known_case(), alpha=2.0).item() == pytest.approx(left + right, rel=1e-6)


def test_jaccard_by_hand():
    left = ((1 - (0.5 + 1) / (0.5 + 1 - 0.5 + 1)) + 16 * (1 - 1 / (1 / 32 + 1))) / 17
    right = ((1 - (2 / 17 + 1) / 3) + 16 * (1 - 1 / (2 / 17 + 1))) / 17
    assert jaccard_loss(*half_known_case()).item() == pytest.approx(left + right, rel=1e-6)


@pytest.mark.parametrize("alpha", [0.0, 0.7])
def test_dice_and_jaccard_are_the_formulas_over_known_pixels(alpha: float):
    logits, labels = random_case()
    dice = jaccard = torch.zeros(())
    for hand in range(2):
        p, y = known_maps(logits, labels, hand)
        q = (1 - p) ** alpha * p
        dice = dice + (1 - (2 * (q * y).sum(1) + 1) / (q.sum(1) + y.sum(1) + 1)).mean()
        jaccard = jaccard + (1 - ((p * y).sum(1) + 1) / ((p + y - p * y).sum(1) + 1)).mean()
    torch.testing.assert_close(dice_loss(logits, labels, alpha), dice)
    torch.testing.assert_close(jaccard_loss(logits, labels), jaccard)


def test_cross_entropy_equals_torch_with_its_ignore_index():
    logits, labels = random_case()
    expected = sum(
        F.cross_entropy(logits[:, 17 * h : 17 * h + 17], labels[:, h], weight=WEIGHTS, ignore_index=IGNORED) for h in range(2)
    )
    torch.testing.assert_close(cross_entropy_loss(logits, labels, WEIGHTS), expected)


@each_loss
def test_a_loss_is_that_of_the_picture_without_the_ignored_columns(loss: Loss):
    generator = torch.Generator().manual_seed(0)
    logits, labels = torch.randn(2, 34, 4, 6, generator=generator), torch.randint(0, 17, (2, 2, 4, 6), generator=generator)
    cut = loss(logits[..., 2:].contiguous(), labels[..., 2:].contiguous())
    labels[..., :2] = IGNORED
    torch.testing.assert_close(loss(logits, labels), cut)


@each_loss
def test_ignored_pixels_get_no_gradient_and_the_others_their_own(loss: Loss):
    logits, labels = random_case(torch.float64)
    logits.requires_grad_()
    assert torch.autograd.gradcheck(lambda x: loss(x, labels), logits)
    (gradient,) = torch.autograd.grad(loss(logits, labels), logits)
    for hand in range(2):
        ignored = (labels[:, hand] == IGNORED).unsqueeze(1).expand(-1, 17, -1, -1)
        of_hand = gradient[:, 17 * hand : 17 * hand + 17]
        assert (of_hand[ignored] == 0).all()
        assert (of_hand[~ignored] != 0).all()


@each_loss
def test_what_a_network_says_of_ignored_pixels_does_not_matter(loss: Loss):
    logits, labels = random_case()
    ignored = (labels == IGNORED).repeat_interleave(17, 1)
    torch.testing.assert_close(loss(torch.where(ignored, 50 * logits, logits), labels), loss(logits, labels))


@each_loss
def test_nothing_is_learned_where_all_is_ignored(loss: Loss):
    logits = torch.randn(1, 34, 2, 2, generator=torch.Generator().manual_seed(0)).requires_grad_()
    value = loss(logits, torch.full((1, 2, 2, 2), IGNORED))
    value.backward()
    assert value == 0 and (logits.grad == 0).all()


@pytest.mark.parametrize("second", ["dice", "jaccard", "ce"])
def test_both_terms_of_the_segmentation_loss_leave_them_out(second: str):
    logits, labels = random_case()
    terms = SegmentationLoss(0.35, 0.65, second, 0.0, WEIGHTS.tolist())(logits, labels)
    ce = cross_entropy_loss(logits, labels, WEIGHTS)
    expected = {"dice": dice_loss(logits, labels, 0.0), "jaccard": jaccard_loss(logits, labels), "ce": ce}[second]
    torch.testing.assert_close(terms["loss_ce"], ce)
    torch.testing.assert_close(terms["loss_dice"], expected)


@each_loss
def test_where_all_is_known_nothing_changes_not_even_a_rounding(loss: Loss, monkeypatch: pytest.MonkeyPatch):
    """A GPU does not ask whether all is known; it goes the longer way."""
    generator = torch.Generator().manual_seed(0)
    logits, labels = torch.randn(2, 34, 8, 8, generator=generator), torch.randint(0, 17, (2, 2, 8, 8), generator=generator)
    logits.requires_grad_()
    short = loss(logits, labels)
    monkeypatch.setattr(losses, "known_pixels", lambda labels: labels != IGNORED)
    long = loss(logits, labels)
    assert torch.equal(short, long)
    assert torch.equal(*(torch.autograd.grad(value, logits)[0] for value in (short, long)))


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int64])
def test_known_pixels(dtype: torch.dtype):
    labels = torch.tensor([[0, 16], [IGNORED, 3]], dtype=dtype)
    assert known_pixels(labels).tolist() == [[True, True], [False, True]]
    assert known_pixels(labels[:1]) is None


# --- what D sees


def test_an_ignored_pixel_is_of_no_class():
    maps = one_hot_labels(half_known_case()[1])
    assert maps.shape == (1, 34, 1, 2) and maps.is_contiguous(memory_format=torch.channels_last)
    assert maps[0, :, 0, 0].nonzero().flatten().tolist() == [3, 17]
    assert maps[0, :, 0, 1].nonzero().flatten().tolist() == [17]


@pytest.mark.parametrize("adv_input", ADV_INPUTS)
def test_a_networks_map_is_empty_where_its_picture_is_ignored(adv_input: str):
    logits, labels = random_case()
    logits.requires_grad_()
    fake = without_ignored(ADV_INPUTS[adv_input](logits), labels)
    ignored = (labels == IGNORED).repeat_interleave(17, 1)
    assert (fake[ignored] == 0).all()
    assert torch.equal(fake[~ignored], ADV_INPUTS[adv_input](logits)[~ignored])
    (gradient,) = torch.autograd.grad((fake * torch.randn(fake.shape)).sum(), logits)
    assert (gradient[ignored] == 0).all() and (gradient[~ignored] != 0).all()


def test_a_map_without_ignored_pixels_is_itself():
    maps = torch.rand(1, 34, 2, 2)
    assert without_ignored(maps, torch.zeros(1, 2, 2, 2, dtype=torch.int64)) is maps


def learner(network: nn.Module) -> Learner:
    return Learner(Fabric(accelerator="cpu", devices=1, precision="32-true"), network, 1e-3, 0.0, "contiguous")


@pytest.fixture
def half_ignored(tiny_packed: PackedSet) -> Batch:
    """Four paired records whose left half nobody knows."""
    batch = first_batch(tiny_packed, "train", 4)
    batch.records[:, 3:, :, :20] = IGNORED
    return batch


def new_networks() -> tuple[nn.Module, Discriminator]:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 34, 3, padding=1)), Discriminator()


def check_both_sides(real: torch.Tensor, fake: torch.Tensor) -> None:
    """Both have the same holes, in the pictures' left half or, flipped, in their right one, and one class a hand elsewhere."""
    holes = [maps.view(4, 2, 17, 32, 32).sum(2) == 0 for maps in (real, fake)]
    assert torch.equal(*holes)
    assert 0.4 < holes[0].double().mean() < 0.6


def test_phase1_shows_d_the_same_holes_on_both_sides(half_ignored: Batch, monkeypatch: pytest.MonkeyPatch):
    shown = []
    monkeypatch.setattr(phase1, "update_discriminator", lambda d, real, fake: shown.append((real, fake)) or {})
    g1, d = new_networks()
    config = phase1.Phase1Config(SCHEDULE, PUBLISHED, "one_hot", 1e-3, "contiguous")
    step = phase1.Phase1Step(learner(g1), learner(d), torch.ones(17), config, 32)
    loss = step(0, (half_ignored,))["loss_ce"]
    assert 0 < loss < 20
    check_both_sides(*shown[0])


def test_phase2_shows_d_the_same_holes_on_both_sides(half_ignored: Batch, monkeypatch: pytest.MonkeyPatch):
    shown, judged = [], []
    monkeypatch.setattr(phase2_paired, "update_discriminator", lambda d, real, fake: shown.append((real, fake.detach())) or {})
    g2, d = new_networks()
    monkeypatch.setattr(phase2_paired, "adversarial_loss", lambda logits: judged.append(logits) or adversarial_loss(logits))
    config = phase2_paired.Phase2PairedConfig(SCHEDULE, PUBLISHED, 0.1, "one_hot", True, 1e-3, "contiguous")
    loss = SegmentationLoss(0.35, 0.65, "dice", 0.0, 17 * [1.0])
    step = phase2_paired.Phase2PairedStep(learner(g2), d, learner(d), loss, config, 32)
    assert math.isfinite(step(0, (half_ignored,))["loss_total"].item())
    real, fake = shown[0]
    check_both_sides(real, fake)
    with torch.no_grad():
        torch.testing.assert_close(d.eval()(fake), judged[0])
