"""Labels that are unknown in places (parts.IGNORED)."""

import torch

from hands.parts import IGNORED


def known_pixels(labels: torch.Tensor) -> torch.Tensor | None:
    """Where labels are not IGNORED, bool of their shape. On a CPU None where all are known, as in most data, so that nothing
    more is spent on it; on a GPU the question alone would wait for all that runs there."""
    if labels.device.type == "cpu" and labels.amax() < IGNORED:
        return None
    return labels != IGNORED
