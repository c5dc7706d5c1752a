"""Flip averaging: what a network sees in a picture and in its mirror image."""

import torch
from torch import nn

from hands.networks.logits import at_least_float32, hand_rows


class FlipAveraged(nn.Module):
    """A segmentation network that looks twice, at the picture and at its mirror image, in which left hands are right hands.

    Its logits (N, 34, S, S) are logarithms of the mean of both probabilities, and its time is twice the network's.
    """

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = network

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        seen, mirrored = (_probabilities(self.network(pictures)) for pictures in (images, images.flip(3)))
        mean = (seen + mirrored.flip(2, 3)) / 2  # columns and hands
        return mean.clamp_(min=torch.finfo(mean.dtype).tiny).log_().flatten(3).permute(0, 3, 1, 2)


def _probabilities(logits: torch.Tensor) -> torch.Tensor:
    """(N, S, S, 2, 17)."""
    return hand_rows(at_least_float32(logits)).softmax(dim=4)
