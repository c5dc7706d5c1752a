"""A training step before there is data: whether a network can learn from such batches at all."""

import torch
from torch import nn

from hands.errors import InvalidInput
from hands.networks.hands_network import HandsNetwork
from hands.parts import NUM_CHANNELS

_ENOUGH = 2  # pictures: batch norm of one value is what fails with fewer


def check_trains(network: HandsNetwork, size: int, batch: int) -> None:
    """Refuses a network that cannot learn from batches of `batch` pictures of side `size`. Nothing of it is changed.

    Forward and back on tensors without content, which takes half a second whatever the network. What fails there is tried on
    random pictures before it is refused, since some networks may need content.

    Raises:
        InvalidInput: why not, in the network's own words.
    """
    try:
        _step(network, size, batch, "meta")
    except Exception:  # networks are others' code
        try:
            _step(network, size, min(batch, _ENOUGH), "cpu")
        except Exception as error:
            name = f"{network.spec.architecture}:{network.spec.encoder}"
            reason = (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")[:200]
            raise InvalidInput(
                f"{name} cannot be trained on batches of {batch} pictures of side {size} ({reason}); choose another network, "
                f"size or batch_size."
            ) from error


def _step(network: nn.Module, size: int, batch: int, device: str) -> None:
    weights = {name: weight.to(device) for name, weight in network.named_parameters()}
    buffers = {name: buffer.to(device, copy=True) for name, buffer in network.named_buffers()}
    mode = network.training
    with torch.random.fork_rng(devices=[]):
        try:
            images = torch.rand(batch, 3, size, size, device=device)
            logits = torch.func.functional_call(network.train(), weights | buffers, (images,))
            if logits.shape != (batch, NUM_CHANNELS, size, size):
                raise ValueError(f"it answers with {tuple(logits.shape)}")
            torch.autograd.grad(logits.mean(), list(weights.values()), allow_unused=True)
        finally:
            network.train(mode)
