"""Frames of datasets: what a person looks at before training on them, and what a network sees in them."""

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import nn

from hands.evaluation.inference import Autocast, predict_subset
from hands.packed.augment import centre
from hands.packed.batches import RecordReader
from hands.packed.packed_set import PackedSubset
from hands.parts import HANDS, IGNORED
from hands.pictures.figures import frame_rows, overlay, spread, tile_rows
from hands.raw.layout import RawDataset

COUNT = 12
COLUMNS = 3


def packed_preview(subset: PackedSubset) -> Image.Image:
    """Crops of a subset with their labels, as far as it has either."""
    indices = spread(len(subset), COUNT)
    images, labels = centre(subset.read(indices, None), subset.size)
    if images.shape[1] == 0:
        images = torch.zeros(len(indices), 3, subset.size, subset.size)
    captions = [subset.paths[i] for i in indices]
    return frame_rows(images, labels if labels.shape[1] else None, None, captions, COLUMNS)


def predicted_frames(
    network: nn.Module, reader: RecordReader, indices: np.ndarray, autocast: Autocast, mious: np.ndarray | None = None
) -> Image.Image:
    """Picture, truth and prediction of each hand of these records of a labelled subset; evaluation mode is set.

    Args:
        mious: (N,) of the subset's pictures, for the captions; NaN where none was judged.
    """
    captions = [reader.subset.paths[i] for i in indices]
    if mious is not None:
        scores = ["-" if np.isnan(mious[i]) else f"{mious[i]:.2f}" for i in indices]
        captions = [f"{score}  {path}" for score, path in zip(scores, captions, strict=True)]
    _, images, truth, predicted = next(predict_subset(network, reader, indices, len(indices), autocast))
    return frame_rows(images, truth, predicted, captions, columns=2)


def raw_preview(folder: str | Path, subset: str, channel_order: str) -> Image.Image | None:
    """Whole frames of a raw dataset with their labels; None where the subset is empty or not labelled."""
    raw = RawDataset(folder, channel_order)
    entries = raw.entries(subset)
    labelled = [entry for entry in entries if entry.mask_id is not None]
    if not labelled:
        return None
    tiles, captions, unknown = [], [], False
    for i in spread(len(labelled), COUNT):
        image, labels = raw.pictures.image(labelled[i]), raw.pictures.labels(labelled[i].mask_id)
        unknown = unknown or bool((labels == IGNORED).any())
        tiles.append([_square(part) for part in (image, overlay(image, labels[0]), overlay(image, labels[1]))])
        captions.append(f"{labelled[i].hand_type} {labelled[i].path}")
    return tile_rows(tiles, ["image", *HANDS], captions, COLUMNS, unknown=unknown)


def _square(picture: np.ndarray) -> np.ndarray:
    """Padded with grey to a square, so that frames of both orientations stand in one sheet."""
    height, width = picture.shape[:2]
    side = max(height, width)
    padded = np.full((side, side, 3), 128, np.uint8)
    top, left = (side - height) // 2, (side - width) // 2
    padded[top : top + height, left : left + width] = picture
    return padded
