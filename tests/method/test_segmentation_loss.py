"""The weighted sum of cross-entropy and a second term, from one softmax."""

import math

import pytest
import torch
import torch.nn.functional as F

from hands.errors import InvalidInput
from hands.method.losses import SegmentationLoss, cross_entropy_loss, dice_loss, jaccard_loss
from tests.method.made_logits import ONES, random_case


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


def plain_cross_entropy(logits: torch.Tensor, labels: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    return sum(F.cross_entropy(logits[:, 17 * hand : 17 * hand + 17], labels[:, hand], weight=weights) for hand in range(2))


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
