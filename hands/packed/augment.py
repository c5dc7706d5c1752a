"""Augmentation of whole batches on the device: records of a packed set to images and labels."""

import math

import torch
import torch.nn.functional as F

from hands.packed.batches import Shard
from hands.parts import HAND_TYPES

SCALE_STEP = 0.01  # scale 1 + 0.01 z, z ~ N(0, 1) clipped to [-1, 1]
ROTATION_PROBABILITY = 0.6
ROTATION_STEP = 5.0  # degrees; times z ~ N(0, 1) clipped to [-2, 2]
TRANSLATION = 0.01  # of the box's side
COLOUR = 0.01  # each colour channel times U(1 - COLOUR, 1 + COLOUR)
FLIP_PROBABILITY = 0.5
RADIANS = math.pi / 180
MIRRORED = tuple(map(HAND_TYPES.index, ("right", "left", "interacting")))  # of each hand type, what its mirror image is


def centre(records: torch.Tensor, size: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The unaugmented crop of each record: what networks are evaluated on.

    Args:
        records: (N, C, P, P) uint8 with C = 5, or 3 (no labels), or 2 (no image).
        size: side S of the crop, S <= P.

    Returns:
        images (N, 3, S, S) float32 in [0, 1] and labels (N, 2, S, S) uint8, a view; an absent one has 0 channels.
    """
    start = (records.shape[-1] - size) // 2
    crops = records[..., start : start + size, start : start + size]
    n_image = 0 if records.shape[1] == 2 else 3
    images = crops[:, :n_image].float().div_(255)
    return images.contiguous(memory_format=torch.channels_last), crops[:, n_image:]


def augment(
    records: torch.Tensor, size: int, generator: torch.Generator, shard: Shard, framing: torch.Tensor | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """A random crop of each record: image and both hands' labels move together.

    Scale, rotation, translation, colour and a horizontal flip that swaps the two hands' labels, as the constants above
    say; turned, scaled and mirrored about the crop's middle, so that a mirrored crop is the crop mirrored. One sampling
    grid a record serves the image (bilinear) and the labels (nearest). Every process draws for the batch of all
    processes and takes its share, so that a record's crop does not depend on their number.

    Args:
        records: (N, C, P, P) uint8 with C = 5, or 3 (no labels), or 2 (no image).
        size: side S of the crops; the box that a record was packed around has this side in its pixels.
        generator: on the CPU, whatever the records' device: the same seed gives the same crops everywhere.
        shard: which part of the whole batch the records are.
        framing: (N, 2, 3) of framing.framed_like, where the records are to lie in their frames as others do; sampled in one
            with the crop, so that labels are resampled as often as those of others.

    Returns:
        images (N, 3, S, S) float32 in [0, 1] and labels (N, 2, S, S) int64; an absent one has 0 channels.
    """
    images, labels, flips = _augmented(records, size, generator, shard)
    return images, torch.where(flips.view(-1, 1, 1, 1).to(labels.device), labels.flip(1), labels)


def augment_unlabelled(
    records: torch.Tensor, hand_types: torch.Tensor, size: int, generator: torch.Generator, shard: Shard
) -> tuple[torch.Tensor, torch.Tensor]:
    """As augment, of pictures without labels of which it is known which hands they show.

    Args:
        records: (N, 3, P, P) uint8.
        hand_types: (N,) int64 on the CPU, positions in parts.HAND_TYPES.

    Returns:
        images (N, 3, S, S) float32 in [0, 1] and their hand types (N,), in which a flip swaps left and right, on the CPU.
    """
    images, _, flips = _augmented(records, size, generator, shard)
    return images, torch.where(flips, torch.tensor(MIRRORED)[hand_types], hand_types)


def _augmented(
    records: torch.Tensor, size: int, generator: torch.Generator, shard: Shard
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Images and labels as augment has them, but each map still its own hand's, and (N,) booleans on the CPU: which are
    mirrored."""
    n, channels, side, _ = records.shape
    whole, share = n * shard.world_size, slice(shard.rank, None, shard.world_size)
    flips = torch.rand(whole, generator=generator) < FLIP_PROBABILITY
    theta = _crop_transforms(whole, side, size, flips, generator)[share].to(records.device)
    gains = (1 + COLOUR * (2 * torch.rand(whole, 3, 1, 1, generator=generator) - 1))[share]
    flips = flips[share]
    if framing is not None:
        theta = framing[:, :, :2] @ theta + F.pad(framing[:, :, 2:], (2, 0))

    grid = F.affine_grid(theta, [n, channels, size, size], align_corners=False)
    n_image = 0 if channels == 2 else 3
    values = records.to(torch.float32, memory_format=torch.channels_last)
    images = F.grid_sample(values[:, :n_image], grid, mode="bilinear", align_corners=False)
    if n_image:
        images = (images * (gains / 255).to(records.device)).clamp_(0, 1)
    labels = F.grid_sample(values[:, n_image:], grid, mode="nearest", align_corners=False).long()
    return images, labels, flips


def _crop_transforms(
    n: int, side: int, size: int, flips: torch.Tensor, generator: torch.Generator
) -> torch.Tensor:
    """Maps (N, 2, 3) from a crop's normalised coordinates to its record's, as `affine_grid` takes them."""

    def normal(limit: float) -> torch.Tensor:
        return torch.randn(n, generator=generator).clamp_(-limit, limit)

    scale = 1 + SCALE_STEP * normal(1)
    rotated = torch.rand(n, generator=generator) < ROTATION_PROBABILITY
    angle = rotated * ROTATION_STEP * normal(2)
    translation = TRANSLATION * 2 * (2 * torch.rand(n, 2, generator=generator) - 1)  # the box spans 2 in [-1, 1]
    # sampling coordinates move the other way than the picture
    cosine, sine = (1 / scale) * torch.cos(angle * RADIANS), (1 / scale) * torch.sin(angle * RADIANS)
    matrix = torch.stack([cosine, -sine, translation[:, 0], sine, cosine, translation[:, 1]], dim=1).view(n, 2, 3)
    matrix[:, :, 0] *= torch.where(flips, -1.0, 1.0).unsqueeze(1)
    return matrix * (size / side)
