"""Preview pictures of datasets: what a person looks at before training on them."""

from pathlib import Path

import numpy as np
import torch
from PIL import Image

from hands.packed.augment import centre
from hands.packed.packed_set import PackedSubset
from hands.parts import HANDS
from hands.pictures.figures import frame_rows, overlay, tile_rows
from hands.raw.layout import RawDataset

COUNT = 12
COLUMNS = 3


def spread(n: int) -> np.ndarray:
    """Up to COUNT positions spread over n."""
    return np.unique(np.linspace(0, n - 1, min(n, COUNT)).astype(np.int64))


def packed_preview(subset: PackedSubset) -> Image.Image:
    """Crops of a subset with their labels, as far as it has either."""
    indices = spread(len(subset))
    images, labels = centre(subset.read(indices, None), subset.size)
    if images.shape[1] == 0:
        images = torch.zeros(len(indices), 3, subset.size, subset.size)
    captions = [subset.paths[i] for i in indices]
    return frame_rows(images, labels if labels.shape[1] else None, None, captions, COLUMNS)


def raw_preview(folder: str | Path, subset: str, channel_order: str) -> Image.Image | None:
    """Whole frames of a raw dataset with their labels; None where the subset is empty or not labelled."""
    raw = RawDataset(folder, channel_order)
    entries = raw.entries(subset)
    labelled = [entry for entry in entries if entry.mask_id is not None]
    if not labelled:
        return None
    tiles, captions = [], []
    for i in spread(len(labelled)):
        image, labels = raw.pictures.image(labelled[i]), raw.pictures.labels(labelled[i].mask_id)
        tiles.append([_square(part) for part in (image, overlay(image, labels[0]), overlay(image, labels[1]))])
        captions.append(f"{labelled[i].hand_type} {labelled[i].path}")
    return tile_rows(tiles, ["image", *HANDS], captions, COLUMNS)


def _square(picture: np.ndarray) -> np.ndarray:
    """Padded with grey to a square, so that frames of both orientations stand in one sheet."""
    height, width = picture.shape[:2]
    side = max(height, width)
    padded = np.full((side, side, 3), 128, np.uint8)
    top, left = (side - height) // 2, (side - width) // 2
    padded[top : top + height, left : left + width] = picture
    return padded
