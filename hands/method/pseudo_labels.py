"""Confident labels of unpaired pictures (phase 2, weights initialization)."""

import math

import torch

from hands.networks.logits import hand_rows
from hands.parts import BACKGROUND, HAND_TYPES


def pseudo_labels(logits: torch.Tensor, present: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Labels pictures with what a network is most sure of, and says how sure it is.

    Confidence of an image: the mean over the hands that are there of the mean largest softmax probability over the pixels
    that are labelled as parts of the hand; 0 for a hand that is there and labelled nowhere, which has been overlooked. The
    many easy background pixels do not count. A hand that is not there is background, whatever the network says.

    Args:
        logits: (N, 34, S, S).
        present: (N, 2) bool, whether the left and the right hand are there; at least one of them is.

    Returns:
        labels (N, 2, S, S) int64 and confidence (N,) float32 in [0, 1].
    """
    rows = hand_rows(logits.to(torch.float32, copy=True))  # a copy, changed in place below
    top, labels = rows.max(dim=4)
    largest = 1 / rows.sub_(top.unsqueeze(4)).exp_().sum(dim=4)  # the largest of the softmax
    labels = labels * present[:, None, None, :]
    on_part = labels != BACKGROUND
    certainty = (largest * on_part).sum(dim=(1, 2)) / on_part.sum(dim=(1, 2)).clamp(min=1)  # (N, 2)
    return labels.permute(0, 3, 1, 2), certainty.sum(dim=1) / present.sum(dim=1)


def hands_present(hand_types: torch.Tensor) -> torch.Tensor:
    """Whether the left and the right hand are there (N, 2), bool, of positions (N,) in parts.HAND_TYPES."""
    lacking = hand_types.new_tensor([HAND_TYPES.index("right"), HAND_TYPES.index("left")])
    return hand_types.unsqueeze(1) != lacking


def most_confident(confidence: torch.Tensor, drop_fraction: float) -> torch.Tensor:
    """Indices (K,) of the images kept when the least confident drop_fraction of a batch is dropped, K >= 1, ascending."""
    return confidence.topk(kept(confidence.shape[0], drop_fraction)).indices.sort().values


def kept(n: int, drop_fraction: float) -> int:
    """How many pictures of a batch of n are learned from, at least 1."""
    return max(1, n - math.floor(n * drop_fraction + 1e-6))  # 100 * 0.29 is 28.999...


def kept_shares(kept: torch.Tensor, hand_types: torch.Tensor) -> dict[str, torch.Tensor]:
    """Share of the pictures of each hand type that are kept, as `kept_left` and so on.

    Args:
        kept: (K,) indices of the pictures that are kept.
        hand_types: (N,) positions in parts.HAND_TYPES. The share of a type that none of them has is that of all pictures.
    """
    of_type = hand_types.unsqueeze(1) == torch.arange(len(HAND_TYPES), device=hand_types.device)  # (N, 3)
    n = of_type.sum(dim=0)
    shares = torch.where(n > 0, of_type[kept].sum(dim=0) / n, len(kept) / len(hand_types))
    return {f"kept_{name}": share for name, share in zip(HAND_TYPES, shares, strict=True)}
