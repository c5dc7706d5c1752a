"""Confident labels of unpaired pictures (phase 2, weights initialization)."""

import math

import torch

from hands.networks.logits import hand_rows


def pseudo_labels(logits: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Labels pictures with what a network is most sure of, and says how sure it is.

    Confidence of an image: the mean over both hands of the mean largest softmax probability. So that the many easy
    background pixels do not drown the hand, pixels labelled as parts count half and pixels labelled background the
    other half: confidence = (mean over parts + mean over background) / 2 for a hand of which both are there, and the
    plain mean where the network sees only one of them.

    Args:
        logits: (N, 34, S, S).

    Returns:
        labels (N, 2, S, S) int64 and confidence (N,) float32 in (1/17, 1].
    """
    height, width = logits.shape[2:]
    rows = hand_rows(logits.to(torch.float32, copy=True))  # a copy, changed in place below
    top, labels = rows.max(dim=4)
    largest = 1 / rows.sub_(top.unsqueeze(4)).exp_().sum(dim=4)  # the largest of the softmax
    largest, labels = largest.permute(0, 3, 1, 2), labels.permute(0, 3, 1, 2)
    on_part = labels > 0
    part_pixels = on_part.sum(dim=(2, 3))
    background_pixels = height * width - part_pixels
    part_mean = (largest * on_part).sum(dim=(2, 3)) / part_pixels.clamp(min=1)
    background_mean = (largest * ~on_part).sum(dim=(2, 3)) / background_pixels.clamp(min=1)
    groups = (part_pixels > 0).float() + (background_pixels > 0).float()
    return labels, ((part_mean + background_mean) / groups).mean(dim=1)


def most_confident(confidence: torch.Tensor, drop_fraction: float) -> torch.Tensor:
    """Indices (K,) of the images kept when the least confident drop_fraction of a batch is dropped, K >= 1, ascending."""
    return confidence.topk(kept(confidence.shape[0], drop_fraction)).indices.sort().values


def kept(n: int, drop_fraction: float) -> int:
    """How many pictures of a batch of n are learned from, at least 1."""
    return max(1, n - math.floor(n * drop_fraction + 1e-6))  # 100 * 0.29 is 28.999...
