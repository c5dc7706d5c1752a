"""Logits and labels to try losses on."""

import torch

from hands.method.losses import one_hot_labels

ONES = torch.ones(17)


def random_case(n: int = 2, side: int = 4, dtype: torch.dtype = torch.float32) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(n, 34, side, side, generator=generator, dtype=dtype)
    return logits, torch.randint(0, 17, (n, 2, side, side), generator=generator)


def sure_of(labels: torch.Tensor, margin: float) -> torch.Tensor:
    """Logits that say these labels, with `margin` on the right class."""
    return margin * one_hot_labels(labels)
