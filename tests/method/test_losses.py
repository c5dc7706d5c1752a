"""Losses against numbers worked out by hand, plain reference formulas, and numerical gradients."""

import doctest
import math

import pytest
import segmentation_models_pytorch as smp
import torch
import torch.nn.functional as F

from hands.errors import InvalidInput
from hands.method import losses
from hands.method.losses import (
    ADV_INPUTS,
    SegmentationLoss,
    adversarial_loss,
    cross_entropy_loss,
    dice_loss,
    discriminator_loss,
    jaccard_loss,
    one_hot_labels,
    softmax_map,
    straight_through_one_hot,
)
from hands.networks.discriminator import Discriminator

ONES = torch.ones(17)


def random_case(n: int = 2, side: int = 4, dtype: torch.dtype = torch.float32) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(n, 34, side, side, generator=generator, dtype=dtype)
    return logits, torch.randint(0, 17, (n, 2, side, side), generator=generator)


def sure_of(labels: torch.Tensor, margin: float) -> torch.Tensor:
    """Logits that say these labels, with `margin` on the right class."""
    return margin * one_hot_labels(labels)


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


@pytest.mark.parametrize("adversarial", [adversarial_loss, lambda x: discriminator_loss(x[:1], x[1:])])
def test_adversarial_gradients_are_the_numerical_ones(adversarial):
    logits = torch.randn(2, 1, 2, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert torch.autograd.gradcheck(adversarial, logits.requires_grad_())


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


# --- maps for the discriminator


def test_one_hot_labels_by_hand():
    labels = torch.tensor([[[[0, 5]], [[16, 0]]]])  # (1, 2, 1, 2)
    expected = torch.zeros(1, 34, 1, 2)
    expected[0, 0, 0, 0] = expected[0, 5, 0, 1] = expected[0, 33, 0, 0] = expected[0, 17, 0, 1] = 1
    assert torch.equal(one_hot_labels(labels), expected)


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_straight_through_is_exactly_the_hard_one_hot(memory_format: torch.memory_format, dtype: torch.dtype):
    """one_hot + p - p in another order leaves 1e-8 behind, by which D would tell real from fake."""
    logits = (3 * random_case(n=4, side=16)[0]).to(dtype, memory_format=memory_format)
    labels = torch.stack([logits[:, :17].argmax(1), logits[:, 17:].argmax(1)], dim=1)
    assert torch.equal(straight_through_one_hot(logits), one_hot_labels(labels))


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_straight_through_has_the_gradient_of_softmax(memory_format: torch.memory_format):
    logits, _ = random_case()
    upstream = torch.randn(2, 34, 4, 4, generator=torch.Generator().manual_seed(2))
    gradients = []
    for d_input in (straight_through_one_hot, softmax_map):
        leaf = logits.clone(memory_format=memory_format).requires_grad_()
        (d_input(leaf) * upstream).sum().backward()
        gradients.append(leaf.grad)
    torch.testing.assert_close(*gradients)
    assert gradients[0].abs().max() > 0


def test_softmax_map_is_a_distribution_for_each_hand():
    logits, _ = random_case()
    probabilities = softmax_map(logits)
    torch.testing.assert_close(probabilities[:, 17:], logits[:, 17:].softmax(1))
    torch.testing.assert_close(probabilities[:, :17].sum(1), torch.ones(2, 4, 4))


def logits_of_a_small_network() -> tuple[torch.nn.Module, torch.Tensor]:
    torch.manual_seed(0)
    network = torch.nn.Conv2d(3, 34, 3, padding=1)
    return network, network(torch.rand(2, 3, 32, 32))


@pytest.mark.parametrize("d_input", ADV_INPUTS.values(), ids=ADV_INPUTS)
def test_the_adversarial_term_alone_teaches_the_network(d_input):
    network, logits = logits_of_a_small_network()
    d = Discriminator().eval().requires_grad_(False)
    adversarial_loss(d(d_input(logits))).backward()
    for parameter in network.parameters():
        assert parameter.grad.isfinite().all() and parameter.grad.abs().sum() > 0
    assert all(parameter.grad is None for parameter in d.parameters())


def test_argmax_labels_would_not_teach():
    """What the term must not be fed with: integers carry no gradient."""
    network, logits = logits_of_a_small_network()
    labels = torch.stack([logits[:, :17].argmax(1), logits[:, 17:].argmax(1)], dim=1)
    loss = adversarial_loss(Discriminator().eval().requires_grad_(False)(one_hot_labels(labels)))
    assert not loss.requires_grad
    assert all(parameter.grad is None for parameter in network.parameters())


def test_adversarial_losses_by_hand():
    fake = torch.tensor([[[[0.0, math.log(3)]]]])  # sigmoid 1/2 and 3/4
    assert adversarial_loss(fake).item() == pytest.approx(-(math.log(1 / 2) + math.log(3 / 4)) / 2, rel=1e-6)
    real = torch.tensor([[[[math.log(4)]]]])  # sigmoid 4/5
    on_real, on_fake = -math.log(4 / 5), -(math.log(1 / 2) + math.log(1 / 4)) / 2
    assert discriminator_loss(real, fake).item() == pytest.approx((on_real + on_fake) / 2, rel=1e-6)


# --- SegmentationLoss


@pytest.mark.parametrize("second", ["dice", "jaccard", "ce"])
def test_segmentation_loss_is_the_weighted_sum(second: str):
    logits, labels = random_case()
    weights = torch.linspace(0.1, 1, 17)
    values = SegmentationLoss(0.35, 0.65, second, 0.0, weights.tolist())(logits, labels)
    ce = cross_entropy_loss(logits, labels, weights)
    term = {"dice": dice_loss(logits, labels, 0.0), "jaccard": jaccard_loss(logits, labels), "ce": ce}[second]
    torch.testing.assert_close(values, {"loss_ce": ce, "loss_dice": term, "loss_total": 0.35 * ce + 0.65 * term})


def test_segmentation_loss_hands_alpha_on():
    logits, labels = random_case()
    values = SegmentationLoss(0.5, 0.5, "dice", 1.5, ONES.tolist())(logits, labels)
    torch.testing.assert_close(values["loss_dice"], dice_loss(logits, labels, 1.5))


@pytest.mark.parametrize(
    "arguments",
    [
        (0.5, 0.5, "focal", 0.0),
        (-0.1, 0.5, "dice", 0.0),
        (0.5, -0.1, "dice", 0.0),
        (0.5, 0.5, "dice", -1.0),
        (0.0, 0.0, "dice", 0.0),
        (math.nan, 0.5, "dice", 0.0),
        (math.inf, 0.5, "dice", 0.0),
    ],
)
def test_segmentation_loss_refuses(arguments: tuple):
    with pytest.raises(InvalidInput):
        SegmentationLoss(*arguments, ONES.tolist())


# --- the fast paths against plain ones


def plain_cross_entropy(logits: torch.Tensor, labels: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    return sum(F.cross_entropy(logits[:, 17 * hand : 17 * hand + 17], labels[:, hand], weight=weights) for hand in range(2))


def plain_straight_through(logits: torch.Tensor) -> torch.Tensor:
    maps = []
    for hand in logits.split(17, dim=1):
        probabilities = hand.softmax(1)
        maps.append(F.one_hot(hand.argmax(1), 17).permute(0, 3, 1, 2) + probabilities - probabilities.detach())
    return torch.cat(maps, dim=1)


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_terms_and_gradients_equal_the_plain_ones(memory_format: torch.memory_format):
    logits, labels = random_case(side=8)
    weights = torch.linspace(0.1, 2, 17)
    gradients = []
    for terms in (
        lambda z: SegmentationLoss(0.35, 0.65, "dice", 0.0, weights.tolist())(z, labels)["loss_total"],
        lambda z: 0.35 * plain_cross_entropy(z, labels, weights) + 0.65 * dice_loss(z, labels, 0.0),
    ):
        z = logits.clone(memory_format=memory_format).requires_grad_()
        loss = terms(z)
        loss.backward()
        gradients.append((loss, z.grad))
    torch.testing.assert_close(gradients[0], gradients[1])


@pytest.mark.parametrize("second", ["dice", "jaccard"])
def test_terms_in_one_softmax_are_the_functions(second: str):
    logits, labels = random_case()
    weights = torch.linspace(0.1, 2, 17)
    terms = SegmentationLoss(0.35, 0.65, second, 0.0, weights.tolist())(logits, labels)
    torch.testing.assert_close(terms["loss_ce"], cross_entropy_loss(logits, labels, weights))
    expected = dice_loss(logits, labels, 0.0) if second == "dice" else jaccard_loss(logits, labels)
    torch.testing.assert_close(terms["loss_dice"], expected)


def test_straight_through_is_the_plain_map_with_its_gradient():
    logits, _ = random_case(side=8)
    upstream = torch.randn(logits.shape, generator=torch.Generator().manual_seed(1))
    results = []
    for function in (straight_through_one_hot, plain_straight_through):
        z = logits.clone().requires_grad_()
        maps = function(z)
        maps.backward(upstream)
        results.append((maps.detach(), z.grad))
    torch.testing.assert_close(results[0], results[1])
    assert torch.equal(straight_through_one_hot(logits), results[0][0].round())  # without a gradient: exactly one-hot


def test_maps_lie_as_d_reads_them_fastest():
    logits, labels = random_case(side=8)
    for maps in (one_hot_labels(labels), straight_through_one_hot(logits), softmax_map(logits)):
        assert maps.is_contiguous(memory_format=torch.channels_last) and maps.shape == logits.shape
