"""augmentation=strong: large movements and changes of colour, for few pictures.

The colour changes are those of contrastive learning (SimCLR, Chen et al., arXiv:2002.05709: gains, grey, blur), with gamma,
offset and noise, which cameras and light differ by.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from hands.packed.crop_maps import crop_maps

LOG_SCALE = 0.18  # scale e^U(-LOG_SCALE, LOG_SCALE)
ROTATION = 30.0  # degrees, either way
TRANSLATION = 0.08  # of the box's side, along each axis, either way
LOG_GAMMA = 0.5  # each picture to the power of e^U(-LOG_GAMMA, LOG_GAMMA)
GAIN = 0.4  # each colour channel times U(1 - GAIN, 1 + GAIN)
OFFSET = 0.1  # each picture plus U(-OFFSET, OFFSET)
GREY_PROBABILITY = 0.2
BLUR_PROBABILITY = 0.3
BLUR = (1 / 256, 1 / 64)  # a Gaussian's standard deviation in sides of the picture, from one to the other
NOISE = 0.03  # standard deviation of what each value is changed by
LUMA = (0.299, 0.587, 0.114)  # of red, green and blue in grey (ITU-R BT.601)


def draw_maps(n: int, flips: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Maps (N, 2, 3) from crops' coordinates to those of the boxes, see crop_maps."""
    scale = torch.exp(LOG_SCALE * either_way(n, generator=generator))
    angle = ROTATION * either_way(n, generator=generator)
    translation = TRANSLATION * 2 * either_way(n, 2, generator=generator)  # the box spans 2 in [-1, 1]
    return crop_maps(scale, angle, translation, flips)


def draw_colours(
    n: int, share: slice, size: int, generator: torch.Generator
) -> Callable[[torch.Tensor], torch.Tensor]:
    """What is done to colours of the pictures `share` of a batch of n: images (N, 3, S, S) in [0, 255] to such in [0, 1]."""
    gamma = torch.exp(LOG_GAMMA * either_way(n, 1, 1, 1, generator=generator))
    gains = 1 + GAIN * either_way(n, 3, 1, 1, generator=generator)
    offsets = OFFSET * either_way(n, 1, 1, 1, generator=generator)
    grey = torch.rand(n, 1, 1, 1, generator=generator) < GREY_PROBABILITY
    blurred = torch.rand(n, generator=generator) < BLUR_PROBABILITY
    low, high = BLUR
    deviations = size * (low + (high - low) * torch.rand(n, generator=generator))
    numbers = 3 * size * size
    noise = NOISE * torch.randn(2 * numbers, generator=generator)
    noise_starts = torch.randint(numbers, (n,), generator=generator)
    return Colours(
        gamma[share], gains[share], offsets[share], grey[share], blurred[share], deviations[share], noise, noise_starts[share]
    )


def either_way(*shape: int, generator: torch.Generator) -> torch.Tensor:
    """U(-1, 1)."""
    return 2 * torch.rand(*shape, generator=generator) - 1


@dataclass(frozen=True)
class Colours:
    """What was drawn for N pictures, on the CPU.

    gamma, offsets, grey: (N, 1, 1, 1); gains: (N, 3, 1, 1). blurred: (N,) bool; deviations: (N,) pixels.
    noise: (2 * 3 * S * S,), of which each picture takes 3 * S * S from its place in noise_starts (N,) on: so little must be
    drawn and brought to the device.
    """

    gamma: torch.Tensor
    gains: torch.Tensor
    offsets: torch.Tensor
    grey: torch.Tensor
    blurred: torch.Tensor
    deviations: torch.Tensor
    noise: torch.Tensor
    noise_starts: torch.Tensor

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        n, channels, height, width = images.shape
        device = images.device
        images = (images / 255).clamp_(0, 1).pow_(self.gamma.to(device))
        images = images.mul_(self.gains.to(device)).add_(self.offsets.to(device))
        luma = (images * torch.tensor(LUMA, device=device).view(3, 1, 1)).sum(1, keepdim=True)
        images = torch.where(self.grey.to(device), luma, images)
        which = self.blurred.nonzero().squeeze(1)
        if len(which):
            images[which.to(device)] = gaussian_blur(images[which.to(device)], self.deviations[which])
        windows = self.noise.to(device).unfold(0, channels * height * width, 1)
        noise = windows[self.noise_starts.to(device)].view(n, height, width, channels).permute(0, 3, 1, 2)
        return images.add_(noise).clamp_(0, 1)


def gaussian_blur(images: torch.Tensor, deviations: torch.Tensor) -> torch.Tensor:
    """Images (N, 3, S, S), each blurred by a Gaussian of its standard deviation (N,) in pixels; edges are repeated."""
    n, channels, height, width = images.shape
    radius = max(1, round(2 * BLUR[1] * width))
    steps = torch.arange(-radius, radius + 1)
    weights = torch.exp(-0.5 * (steps / deviations.unsqueeze(1)) ** 2)
    weights = (weights / weights.sum(1, keepdim=True)).repeat_interleave(channels, 0).to(images.device)
    planes = F.pad(images.reshape(1, n * channels, height, width), 4 * (radius,), mode="replicate")
    planes = F.conv2d(planes, weights[:, None, :, None], groups=n * channels)
    return F.conv2d(planes, weights[:, None, None, :], groups=n * channels).view(n, channels, height, width)
