"""The discriminator's layers, and that it learns."""

import pytest
import torch
from lightning.fabric import Fabric
from torch import nn

from hands.method.losses import one_hot_labels
from hands.method.phase1 import discriminator_accuracy, update_discriminator
from hands.networks.discriminator import Discriminator
from hands.training.learner import Learner


def test_layers_are_as_published():
    layers = list(Discriminator().layers)
    convolutions = [layer for layer in layers if isinstance(layer, nn.Conv2d)]
    assert [(c.in_channels, c.out_channels) for c in convolutions] == [
        (34, 64),
        (64, 128),
        (128, 256),
        (256, 512),
        (512, 1),
    ]
    for convolution in convolutions:
        assert (convolution.kernel_size, convolution.stride, convolution.padding) == ((4, 4), (2, 2), (1, 1))
    kinds = [type(layer) for layer in layers]
    assert kinds == 4 * [nn.Conv2d, nn.BatchNorm2d, nn.LeakyReLU] + [nn.Conv2d]
    assert all(layer.negative_slope == 0.2 for layer in layers if isinstance(layer, nn.LeakyReLU))


@pytest.mark.parametrize(("side", "patches"), [(32, 1), (64, 2), (128, 4)])
def test_a_map_of_logits_a_thirty_second_of_the_side(side: int, patches: int):
    assert Discriminator()(torch.zeros(2, 34, side, side)).shape == (2, 1, patches, patches)


def test_number_of_parameters():
    # no bias before batch norm, which has two numbers a channel; the last convolution has a bias
    convolutions = 16 * (34 * 64 + 64 * 128 + 128 * 256 + 256 * 512 + 512 * 1) + 1
    batch_norms = 2 * (64 + 128 + 256 + 512)
    assert sum(p.numel() for p in Discriminator().parameters()) == convolutions + batch_norms == 2_797_441


def test_logits_are_not_squashed():
    torch.manual_seed(0)
    d = Discriminator().eval()
    assert d(1000 * torch.randn(4, 34, 32, 32)).abs().max() > 1  # neither sigmoid nor tanh at the end


def blobs_and_noise(generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """One-hot maps: rectangles of one part, and a part drawn for each pixel anew."""
    blobs = torch.zeros(8, 2, 32, 32, dtype=torch.int64)
    for labels in blobs.flatten(0, 1):
        top, left, part = torch.randint(0, 16, (3,), generator=generator).tolist()
        labels[top : top + 14, left : left + 14] = 1 + part
    noise = torch.randint(0, 17, (8, 2, 32, 32), generator=generator)
    return one_hot_labels(blobs), one_hot_labels(noise)


def test_learns_to_tell_blobs_from_noise():
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(0)
    fabric = Fabric(accelerator="cpu", devices=1)
    learner = Learner(fabric, Discriminator(), lr=2.5e-4, ema_decay=0.0, memory_format="contiguous")
    first = update_discriminator(learner, *blobs_and_noise(generator))
    for _ in range(15):
        last = update_discriminator(learner, *blobs_and_noise(generator))
    assert last["loss_d"] < 0.5 * first["loss_d"]
    assert last["d_real_acc"] == 1 and last["d_fake_acc"] == 1


def test_accuracy_by_hand():
    real = torch.tensor([[[[1.0, -1.0]]], [[[2.0, 0.5]]]])  # three of four patches called real
    fake = torch.tensor([[[[1.0, -1.0]]]])  # one of two called fake
    accuracy = discriminator_accuracy(real, fake)
    assert accuracy["d_real_acc"].item() == 0.75
    assert accuracy["d_fake_acc"].item() == 0.5
