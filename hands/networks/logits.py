"""Logits as they lie in memory: rows of a hand's 17 classes, for losses, pseudo-labels and predicted labels."""

import torch

from hands.parts import HANDS, NUM_CLASSES


def at_least_float32(values: torch.Tensor) -> torch.Tensor:
    """The same in float32 where it comes in half precision."""
    return values.to(torch.promote_types(values.dtype, torch.float32))


def hand_rows(logits: torch.Tensor) -> torch.Tensor:
    """Logits (N, 34, S, S) as (N, S, S, 2, 17) in the same memory."""
    return logits.permute(0, 2, 3, 1).unflatten(3, (len(HANDS), NUM_CLASSES))


def labels_of(logits: torch.Tensor) -> torch.Tensor:
    """The most probable part of each pixel and hand: logits (N, 34, S, S) to labels (N, 2, S, S) uint8."""
    return hand_rows(logits).max(dim=4).indices.to(torch.uint8).permute(0, 3, 1, 2)  # argmax takes twice as long on a CPU


def probabilities_of(logits: torch.Tensor) -> torch.Tensor:
    """Of each hand and class: logits (N, 34, S, S) to (N, 2, 17, S, S) float32."""
    return hand_rows(at_least_float32(logits)).softmax(dim=4).permute(0, 3, 4, 1, 2)
