"""Logits as they lie in memory: rows of a hand's 17 classes, for losses, pseudo-labels and predicted labels."""

import torch

from hands.parts import HANDS, NUM_CLASSES


def at_least_float32(values: torch.Tensor) -> torch.Tensor:
    """The same in float32 where it comes in half precision."""
    return values.to(torch.promote_types(values.dtype, torch.float32))


def hand_rows(logits: torch.Tensor) -> torch.Tensor:
    """Logits (N, 34, S, S) as (N, S, S, 2, 17) in the same memory."""
    return logits.permute(0, 2, 3, 1).unflatten(3, (len(HANDS), NUM_CLASSES))
