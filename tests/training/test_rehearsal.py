"""A network that cannot learn from such batches is found before there is data, and left as it was."""

import re

import pytest
import torch
from torch import nn

from hands.errors import InvalidInput
from hands.networks.hands_network import HandsNetwork, network_spec
from hands.training import rehearsal
from hands.training.rehearsal import check_trains


def network(name: str) -> HandsNetwork:
    torch.manual_seed(0)
    return HandsNetwork(network_spec(name), None)


@pytest.mark.parametrize(
    ("name", "size", "batch", "said"),
    [
        ("deeplabv3plus:resnet18", 64, 1, "Expected more than 1 value per channel"),
        ("pan:resnet18", 64, 4, "output size"),
        ("dpt:tu-vit_tiny_patch16_224", 64, 2, "Input height (64) doesn't match model (224)"),
        ("unet:tu-swin_tiny_patch4_window7_224", 64, 2, "Input height (64) doesn't match model (224)"),
        ("unet:resnet18", 32, 1, "Expected more than 1 value per channel"),
    ],
)
def test_networks_that_cannot_be_trained(name: str, size: int, batch: int, said: str):
    expected = f"{name} cannot be trained on batches of {batch} pictures of side {size}"
    with pytest.raises(InvalidInput, match=expected) as refusal:
        check_trains(network(name), size, batch)
    assert re.search(re.escape(said), str(refusal.value), re.IGNORECASE)


@pytest.mark.parametrize(
    ("name", "size", "batch"),
    [("light", 32, 2), ("deeplabv3plus:resnet18", 64, 2), ("unet:mit_b0", 64, 1), ("uplusregnet", 128, 16)],
)
def test_networks_that_can_cost_no_arithmetic(name: str, size: int, batch: int, monkeypatch: pytest.MonkeyPatch):
    built = network(name)
    monkeypatch.setattr(rehearsal, "_ENOUGH", None)  # a step on random pictures would fail
    check_trains(built, size, batch)


def test_it_leaves_the_network_and_the_random_numbers_alone():
    built = network("deeplabv3plus:resnet18").eval()
    before = {name: value.clone() for name, value in built.state_dict().items()}
    torch.manual_seed(5)
    with pytest.raises(InvalidInput):
        check_trains(built, 64, 1)
    check_trains(built, 64, 2)
    assert torch.equal(torch.rand(3), torch.rand(3, generator=torch.Generator().manual_seed(5)))
    assert not built.training and all(parameter.grad is None for parameter in built.parameters())
    assert all(torch.equal(value, before[name]) for name, value in built.state_dict().items())


class NeedsContent(nn.Module):
    """A network that looks at its pictures' values, which tensors without content have not."""

    spec = network_spec("light")

    def __init__(self, channels: int):
        super().__init__()
        self.convolution = nn.Conv2d(3, channels, 1)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.convolution(images / images.max().item())


def test_what_needs_content_is_tried_with_content():
    check_trains(NeedsContent(34), 32, 4)


def test_an_answer_of_another_shape_is_refused():
    with pytest.raises(InvalidInput, match=r"it answers with \(2, 33, 32, 32\)"):
        check_trains(NeedsContent(33), 32, 4)
