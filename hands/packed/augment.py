"""Augmentation of whole batches on the device: records of a packed set to images and labels."""

from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F

from hands.errors import InvalidInput
from hands.packed import published_augmentation, strong_augmentation
from hands.packed.batches import Batch, Shard
from hands.packed.crop_maps import sample
from hands.packed.hand_paste import donor_maps, draw_pastes, flipped_types, paste, receiver_maps

FLIP_PROBABILITY = 0.5
AUGMENTATIONS = {"published": published_augmentation, "strong": strong_augmentation}


@dataclass(frozen=True)
class AugmentConfig:
    """augmentation: a name of AUGMENTATIONS; hand_paste: share, in [0, 1], of single-hand pictures that get a second hand."""

    augmentation: str
    hand_paste: float

    def __post_init__(self):
        if self.augmentation not in AUGMENTATIONS:
            raise InvalidInput(f"augmentation is '{self.augmentation}'; expected {' or '.join(AUGMENTATIONS)}.")
        if not 0 <= self.hand_paste <= 1:
            raise InvalidInput(f"hand_paste is {self.hand_paste}; expected a number in [0, 1].")


class Augmented(NamedTuple):
    """images: (N, 3, S, S) float32 in [0, 1]. labels: (N, 2, S, S) int64. What the records lack has 0 channels.
    hand_types: (N,) int64 on the CPU, positions in parts.HAND_TYPES."""

    images: torch.Tensor
    labels: torch.Tensor
    hand_types: torch.Tensor


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
    batch: Batch, size: int, config: AugmentConfig, generator: torch.Generator, shard: Shard,
    framing: torch.Tensor | None = None,
) -> Augmented:  # fmt: skip
    """A random crop of each record: image and both hands' labels move together.

    Scale, rotation, translation and colour as config.augmentation says, and a horizontal flip that swaps the two hands'
    labels; turned, scaled and mirrored about the crop's middle, so that a mirrored crop is the crop mirrored. Every process
    draws for the batch of all processes and takes its share, so that a record's crop does not depend on their number; but a
    pasted hand comes from a record of the process's own share.

    Args:
        batch: labelled where config.hand_paste is not 0.
        size: side S of the crops; the box that a record was packed around has this side in its pixels.
        generator: on the CPU, whatever the records' device: the same seed gives the same crops everywhere.
        shard: which part of the whole batch the records are.
        framing: (N, 2, 3) of framing.framed_like, where the records are to lie in their frames as others do; sampled in one
            with the crop, so that labels are resampled as often as those of others.
    """
    records, hand_types = batch
    n, channels, side, _ = records.shape
    whole, share = n * shard.world_size, slice(shard.rank, None, shard.world_size)
    kind = AUGMENTATIONS[config.augmentation]
    flips = torch.rand(whole, generator=generator) < FLIP_PROBABILITY
    maps = kind.draw_maps(whole, flips, generator)[share] * (size / side)
    if framing is not None:
        framing = framing.cpu()
        maps = framing[:, :, :2] @ maps + F.pad(framing[:, :, 2:], (2, 0))
    coloured = kind.draw_colours(whole, share, size, generator)
    flips = flips[share]
    types = flipped_types(hand_types, flips)
    pastes = draw_pastes(hand_types, config.hand_paste, whole, share, generator) if config.hand_paste else ()

    images, labels = sample(records, receiver_maps(maps, pastes) if pastes else maps, size)
    if labels.shape[1]:
        labels = torch.where(flips.view(n, 1, 1, 1).to(records.device), labels.flip(1), labels)
    if pastes:
        donors = pastes.donors.to(records.device)
        pasted, pasted_labels = sample(records[donors], donor_maps(maps, pastes, flips, hand_types), size)
        hands = pasted_labels[torch.arange(len(pastes)), hand_types[pastes.donors]]
        images, labels, types = paste(images, labels, types, pasted, hands, pastes.receivers, pastes.in_front)
    if images.shape[1]:
        images = coloured(images)
    return Augmented(images, labels, types)
