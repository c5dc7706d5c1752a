"""augmentation=published: movements and colours so slight that no crop leaves its record, as the recipe of 2021 has them."""

from collections.abc import Callable

import torch

from hands.packed.crop_maps import crop_maps

SCALE_STEP = 0.01  # scale 1 + 0.01 z, z ~ N(0, 1) clipped to [-1, 1]
ROTATION_PROBABILITY = 0.6
ROTATION_STEP = 5.0  # degrees; times z ~ N(0, 1) clipped to [-2, 2]
TRANSLATION = 0.01  # of the box's side
COLOUR = 0.01  # each colour channel times U(1 - COLOUR, 1 + COLOUR)


def draw_maps(n: int, flips: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Maps (N, 2, 3) from crops' coordinates to those of the boxes, see crop_maps."""

    def normal(limit: float) -> torch.Tensor:
        return torch.randn(n, generator=generator).clamp_(-limit, limit)

    scale = 1 + SCALE_STEP * normal(1)
    rotated = torch.rand(n, generator=generator) < ROTATION_PROBABILITY
    angle = rotated * ROTATION_STEP * normal(2)
    translation = TRANSLATION * 2 * (2 * torch.rand(n, 2, generator=generator) - 1)  # the box spans 2 in [-1, 1]
    return crop_maps(scale, angle, translation, flips)


def draw_colours(
    n: int, share: slice, size: int, generator: torch.Generator
) -> Callable[[torch.Tensor], torch.Tensor]:
    """What is done to colours of the pictures `share` of a batch of n: images (N, 3, S, S) in [0, 255] to such in [0, 1]."""
    gains = (1 + COLOUR * (2 * torch.rand(n, 3, 1, 1, generator=generator) - 1))[share]

    def coloured(images: torch.Tensor) -> torch.Tensor:
        return (images * (gains / 255).to(images.device)).clamp_(0, 1)

    return coloured
