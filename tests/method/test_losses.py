"""Losses against numbers worked out by hand, plain reference formulas, and numerical gradients."""

import doctest
import math

import pytest
import segmentation_models_pytorch as smp
import torch
import torch.nn.functional as F

from hands.method import losses
from hands.method.losses import cross_entropy_loss, dice_loss, jaccard_loss
from tests.method.made_logits import ONES, random_case, sure_of


def reference_maps(logits: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Probabilities and one-hot truth of one hand after another, (2, 17, pixels of the batch), without any trick."""
    probabilities, truth = [], []
    for hand in range(2):
        probabilities.append(logits[:, 17 * hand : 17 * hand + 17].softmax(1).transpose(0, 1).flatten(1))
        truth.append(F.one_hot(labels[:, hand], 17).permute(3, 0, 1, 2).flatten(1))
    return torch.stack(probabilities), torch.stack(truth).to(logits.dtype)


def two_pixel_case() -> tuple[torch.Tensor, torch.Tensor]:
    """One picture of 1 x 2 pixels. Left hand: the first pixel is part 3 with p = 1/2, the second background with
    p = 1/17. Right hand: all background with p = 1/17."""
    logits = torch.zeros(1, 34, 1, 2)
    logits[0, 3, 0, 0] = math.log(16)  # 16 / (16 + 16 others) = 1/2
    labels = torch.zeros(1, 2, 1, 2, dtype=torch.int64)
    labels[0, 0, 0, 0] = 3
    return logits, labels


def test_cross_entropy_by_hand():
    weights = ONES.clone()
    weights[3] = 4.0
    # left: (4 log 2 + 1 log 17) / (4 + 1); right: log 17
    expected = (4 * math.log(2) + math.log(17)) / 5 + math.log(17)
    assert cross_entropy_loss(*two_pixel_case(), weights).item() == pytest.approx(expected, rel=1e-6)


def test_dice_by_hand():
    # left, sums over both pixels. Part 3: 2 * 1/2 + 1 over (1/2 + 1/17) + 1 + 1; background: its p are 1/32 and 1/17,
    # of which the second is on target; 15 other classes have no pixel: 1 over (1/32 + 1/17) + 1.
    part = 1 - 2 / (0.5 + 1 / 17 + 2)
    background = 1 - (2 / 17 + 1) / (1 / 32 + 1 / 17 + 2)
    others = 15 * (1 - 1 / (1 / 32 + 1 / 17 + 1))
    left = (part + background + others) / 17
    # right: background 2 * 2/17 + 1 over 2/17 + 2 + 1; 16 classes 1 over 2/17 + 1
    right = ((1 - (4 / 17 + 1) / (2 / 17 + 3)) + 16 * (1 - 1 / (2 / 17 + 1))) / 17
    assert dice_loss(*two_pixel_case(), alpha=0.0).item() == pytest.approx(left + right, rel=1e-6)


def test_self_adjusting_dice_by_hand():
    def q(p):
        return (1 - p) ** 2 * p

    part = 1 - (2 * q(0.5) + 1) / (q(0.5) + q(1 / 17) + 2)
    background = 1 - (2 * q(1 / 17) + 1) / (q(1 / 32) + q(1 / 17) + 2)
    others = 15 * (1 - 1 / (q(1 / 32) + q(1 / 17) + 1))
    right = (1 - (4 * q(1 / 17) + 1) / (2 * q(1 / 17) + 3)) + 16 * (1 - 1 / (2 * q(1 / 17) + 1))
    expected = (part + background + others) / 17 + right / 17
    assert dice_loss(*two_pixel_case(), alpha=2.0).item() == pytest.approx(expected, rel=1e-6)


def test_jaccard_by_hand():
    part = 1 - 1.5 / (0.5 + 1 / 17 + 1 - 0.5 + 1)
    background = 1 - (1 / 17 + 1) / (1 / 32 + 1 / 17 + 1 - 1 / 17 + 1)
    others = 15 * (1 - 1 / (1 / 32 + 1 / 17 + 1))
    right = (1 - (2 / 17 + 1) / 3) + 16 * (1 - 1 / (2 / 17 + 1))
    expected = (part + background + others) / 17 + right / 17
    assert jaccard_loss(*two_pixel_case()).item() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("alpha", [0.0, 0.5, 1.0])
def test_dice_equals_the_one_hot_formula(alpha: float):
    logits, labels = random_case()
    p, y = reference_maps(logits, labels)
    q = (1 - p) ** alpha * p
    dice = (2 * (q * y).sum(2) + 1) / (q.sum(2) + y.sum(2) + 1)
    torch.testing.assert_close(dice_loss(logits, labels, alpha), (1 - dice).mean(1).sum())


def test_jaccard_equals_the_one_hot_formula():
    logits, labels = random_case()
    p, y = reference_maps(logits, labels)
    jaccard = ((p * y).sum(2) + 1) / ((p + y - p * y).sum(2) + 1)
    torch.testing.assert_close(jaccard_loss(logits, labels), (1 - jaccard).mean(1).sum())


@pytest.mark.parametrize(
    ("ours", "theirs", "smooth"),
    [
        (lambda logits, labels: dice_loss(logits, labels, 0.0), smp.losses.DiceLoss, 0.5),  # theirs counts it twice
        (jaccard_loss, smp.losses.JaccardLoss, 1.0),
    ],
)
def test_equals_segmentation_models_pytorch(ours, theirs, smooth: float):
    logits, labels = random_case(side=8)
    # theirs leaves classes without a pixel out; here each of the 17 has some
    assert all(len(labels[:, hand].unique()) == 17 for hand in range(2))
    options = {"mode": "multiclass", "smooth": smooth, "eps": 0.0}
    expected = sum(theirs(**options)(logits[:, 17 * h : 17 * h + 17], labels[:, h]) for h in range(2))
    torch.testing.assert_close(ours(logits, labels), expected)


def test_cross_entropy_equals_torch_on_each_hand():
    logits, labels = random_case()
    weights = torch.rand(17, generator=torch.Generator().manual_seed(1)) + 0.1
    expected = sum(F.cross_entropy(logits[:, 17 * h : 17 * h + 17], labels[:, h], weight=weights) for h in range(2))
    torch.testing.assert_close(cross_entropy_loss(logits, labels, weights), expected)


LOSSES = {
    "cross_entropy": lambda logits, labels: cross_entropy_loss(logits, labels, torch.linspace(0.1, 1, 17)),
    "dice": lambda logits, labels: dice_loss(logits, labels, 0.0),
    "self_adjusting_dice": lambda logits, labels: dice_loss(logits, labels, 0.7),
    "jaccard": jaccard_loss,
}
each_loss = pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)


@each_loss
def test_gradient_is_the_numerical_one(loss):
    logits, labels = random_case(n=1, side=2, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda x: loss(x, labels), logits.requires_grad_())


@pytest.mark.parametrize(
    ("loss", "margin"),
    # the self-adjusting variant does not ask for certainty: (1 - p)^0.7 p is largest at p = 1 / 1.7, logit margin 3.1
    [(LOSSES["cross_entropy"], 10.0), (LOSSES["dice"], 10.0), (LOSSES["jaccard"], 10.0), (LOSSES["self_adjusting_dice"], 3.1)],
    ids=["cross_entropy", "dice", "jaccard", "self_adjusting_dice"],
)
def test_better_labels_cost_less(loss, margin: float):
    _, labels = random_case(side=8)
    other = (labels + 1) % 17
    right, unsure, wrong = sure_of(labels, margin), torch.zeros(2, 34, 8, 8), sure_of(other, margin)
    half = torch.where(torch.arange(8) < 4, right, wrong)
    assert loss(right, labels) < loss(half, labels) < loss(wrong, labels)
    assert loss(right, labels) < loss(unsure, labels) < loss(wrong, labels)


@each_loss
def test_the_hands_do_not_mix(loss):
    _, labels = random_case(side=8)
    logits = sure_of(labels, 3.0)
    assert loss(logits, labels) < loss(logits, labels.flip(1))


@each_loss
def test_memory_format_changes_neither_value_nor_gradient(loss):
    logits, labels = random_case()
    results = []
    for memory_format in (torch.contiguous_format, torch.channels_last):
        leaf = logits.clone(memory_format=memory_format).requires_grad_()
        value = loss(leaf, labels)
        value.backward()
        results.append((value.detach(), leaf.grad))
    torch.testing.assert_close(results[0], results[1])


@each_loss
def test_half_precision_is_summed_in_float32(loss):
    logits, labels = random_case()
    value = loss(logits.bfloat16(), labels)
    assert value.dtype == torch.float32
    torch.testing.assert_close(value, loss(logits.bfloat16().float(), labels))


@each_loss
def test_absent_hand_is_finite_with_a_gradient(loss):
    logits = random_case()[0].requires_grad_()
    value = loss(logits, torch.zeros(2, 2, 4, 4, dtype=torch.int64))
    value.backward()
    assert value.isfinite()
    assert logits.grad.isfinite().all() and logits.grad.abs().sum() > 0


@each_loss
def test_very_sure_logits_stay_finite(loss):
    _, labels = random_case()
    for labels_said in (labels, (labels + 1) % 17):
        logits = sure_of(labels_said, 1e4).requires_grad_()
        value = loss(logits, labels)
        value.backward()
        assert value.isfinite() and logits.grad.isfinite().all()


def test_only_classes_of_weight_zero_cost_nothing():
    weights = ONES.clone()
    weights[0] = 0
    value = cross_entropy_loss(random_case()[0], torch.zeros(2, 2, 4, 4, dtype=torch.int64), weights)
    assert value == 0


@each_loss
@pytest.mark.parametrize(
    ("logits_shape", "labels_shape"),
    [
        ((1, 33, 4, 4), (1, 2, 4, 4)),
        ((1, 34, 4, 4), (1, 1, 4, 4)),
        ((1, 34, 4, 4), (2, 2, 4, 4)),
        ((1, 34, 4, 4), (1, 2, 4, 8)),
        ((34, 4, 4), (2, 4, 4)),
    ],
)
def test_refuses_other_shapes(loss, logits_shape: tuple, labels_shape: tuple):
    with pytest.raises(ValueError, match="expected"):
        loss(torch.zeros(logits_shape), torch.zeros(labels_shape, dtype=torch.int64))


def test_docstring_examples_run():
    outcome = doctest.testmod(losses)
    assert outcome.attempted >= 4 and outcome.failed == 0
