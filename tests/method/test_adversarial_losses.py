"""What D is shown and what it teaches: maps, their gradients, both adversarial losses."""

import math

import pytest
import torch
import torch.nn.functional as F

from hands.method.losses import (
    ADV_INPUTS,
    adversarial_loss,
    discriminator_loss,
    one_hot_labels,
    softmax_map,
    straight_through_one_hot,
)
from hands.networks.discriminator import Discriminator
from tests.method.made_logits import random_case


@pytest.mark.parametrize("adversarial", [adversarial_loss, lambda x: discriminator_loss(x[:1], x[1:])])
def test_adversarial_gradients_are_the_numerical_ones(adversarial):
    logits = torch.randn(2, 1, 2, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert torch.autograd.gradcheck(adversarial, logits.requires_grad_())


def test_adversarial_losses_by_hand():
    fake = torch.tensor([[[[0.0, math.log(3)]]]])  # sigmoid 1/2 and 3/4
    assert adversarial_loss(fake).item() == pytest.approx(-(math.log(1 / 2) + math.log(3 / 4)) / 2, rel=1e-6)
    real = torch.tensor([[[[math.log(4)]]]])  # sigmoid 4/5
    on_real, on_fake = -math.log(4 / 5), -(math.log(1 / 2) + math.log(1 / 4)) / 2
    assert discriminator_loss(real, fake).item() == pytest.approx((on_real + on_fake) / 2, rel=1e-6)


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


def plain_straight_through(logits: torch.Tensor) -> torch.Tensor:
    maps = []
    for hand in logits.split(17, dim=1):
        probabilities = hand.softmax(1)
        maps.append(F.one_hot(hand.argmax(1), 17).permute(0, 3, 1, 2) + probabilities - probabilities.detach())
    return torch.cat(maps, dim=1)


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


def test_softmax_map_is_a_distribution_for_each_hand():
    logits, _ = random_case()
    probabilities = softmax_map(logits)
    torch.testing.assert_close(probabilities[:, 17:], logits[:, 17:].softmax(1))
    torch.testing.assert_close(probabilities[:, :17].sum(1), torch.ones(2, 4, 4))


def test_maps_lie_as_d_reads_them_fastest():
    logits, labels = random_case(side=8)
    for maps in (one_hot_labels(labels), straight_through_one_hot(logits), softmax_map(logits)):
        assert maps.is_contiguous(memory_format=torch.channels_last) and maps.shape == logits.shape


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
