"""The crop: a box of a picture warped to a square, and back.

Convention: pixel (column c, row r) covers c..c+1 by r..r+1 and its colour stands at its centre (c + 0.5, r + 0.5). A box
x, y, w, h is in these coordinates. Pixel j of a crop has its centre at x + (j + 0.5) * w / size, and likewise down.

Images: bilinear where the box is enlarged; where it is shrunk by a factor s > 1 the same triangle filter s times as wide,
so that every source pixel counts and nothing aliases (a 300 pixel box at 64 pixels would). Labels: the pixel under the centre.
Outside the picture both are zero.
"""

import math

import numpy as np
from PIL import Image

from hands.files.boxes import Box
from hands.files.decoding import MAX_PIXELS, BrokenEntry

BOX_SCALE = 1.25  # the lists' boxes are enlarged so
_BAND_PIXELS = 200_000


def crop_image(image: np.ndarray, box: Box, size: int, margin: int) -> np.ndarray:
    """Crop an (H, W, 3) uint8 image: (P, P, 3) uint8 with P = size + 2 * margin, the box itself in the central size x size.

    Raises:
        BrokenEntry: the box covers more than 50 megapixels or nothing of the image.
    """
    x, y, w, h = box
    _check_overlap(box, image.shape[0], image.shape[1])
    side = size + 2 * margin
    left, top = x - margin * w / size, y - margin * h / size
    width, height = side * w / size, side * h / size
    reach_x, reach_y = max(1.0, w / size), max(1.0, h / size)  # of the filter around a centre
    canvas, x0, y0 = _cut(
        image,
        (math.floor(left - reach_x), math.floor(top - reach_y)),
        (math.ceil(left + width + reach_x), math.ceil(top + height + reach_y)),
    )
    source = (left - x0, top - y0, left - x0 + width, top - y0 + height)
    return np.asarray(Image.fromarray(canvas).resize((side, side), Image.Resampling.BILINEAR, box=source))


def crop_labels(labels: np.ndarray, box: Box, size: int, margin: int) -> np.ndarray:
    """Crop (2, H, W) uint8 labels: (2, P, P) uint8, as crop_image does with the image."""
    x, y, w, h = box
    side = size + 2 * margin
    steps = np.arange(-margin, size + margin) + 0.5
    rows, inside_rows = _nearest(y + steps * (h / size), labels.shape[1])
    columns, inside_columns = _nearest(x + steps * (w / size), labels.shape[2])
    cropped = np.zeros((labels.shape[0], side, side), np.uint8)
    cropped[:, inside_rows, inside_columns] = labels[:, rows][:, :, columns]
    return cropped


def uncrop_labels(labels: np.ndarray, box: Box, height: int, width: int) -> np.ndarray:
    """Put (2, S, S) uint8 labels of a crop of `box` back into the picture: (2, height, width) uint8, zero outside the box."""
    x, y, w, h = box
    size = labels.shape[-1]
    rows, inside_rows = _nearest((np.arange(height) + 0.5 - y) * (size / h), size)
    columns, inside_columns = _nearest((np.arange(width) + 0.5 - x) * (size / w), size)
    whole = np.zeros((labels.shape[0], height, width), np.uint8)
    whole[:, inside_rows, inside_columns] = labels[:, rows][:, :, columns]
    return whole


def uncrop_probabilities(probabilities: np.ndarray, box: Box, height: int, width: int) -> np.ndarray:
    """The most probable class of each pixel of a picture, from the probabilities (C, S, S) float32 of a crop of `box`.

    Between the centres of the crop's pixels probabilities are interpolated bilinearly. Where the four around a pixel agree
    on a class, it is the pixel's; the others, a tenth or so, are computed, in bands of rows: memory is that of the result.

    Returns:
        (height, width) uint8, zero outside the box.
    """
    x, y, w, h = box
    size = probabilities.shape[-1]
    rows, top, down = _between(y, h, size, height)
    columns, left, right = _between(x, w, size, width)
    classes = probabilities.argmax(axis=0).astype(np.uint8)
    corners = [classes[i : size - 1 + i, j : size - 1 + j] for i in (0, 1) for j in (0, 1)]
    settled = np.all([corner == corners[0] for corner in corners], axis=0)
    values = np.ascontiguousarray(probabilities.transpose(1, 2, 0))  # (S, S, C)
    whole = np.zeros((height, width), np.uint8)
    inside = whole[rows, columns]
    step = max(1, _BAND_PIXELS // width)
    for start in range(0, len(top), step):
        band = slice(start, start + step)
        inside[band] = classes[top[band]][:, left]
        i, j = np.nonzero(~settled[top[band]][:, left])
        r, c, d, e = top[band][i], left[j], down[band][i, None], right[j, None]
        upper = values[r, c] * (1 - e) + values[r, c + 1] * e
        lower = values[r + 1, c] * (1 - e) + values[r + 1, c + 1] * e
        inside[band][i, j] = (upper * (1 - d) + lower * d).argmax(axis=1)
    return whole


def box_around(labels: np.ndarray) -> Box | None:
    """The square box around the non-zero pixels of (2, H, W) labels, over both hands, enlarged by 1.25 like the lists' boxes.

    Enlarged, because the discriminator compares these labels with those of listed boxes and must not tell
    them apart by their scale. None where all labels are zero.
    """
    present = labels.any(axis=0)
    rows, columns = np.flatnonzero(present.any(axis=1)), np.flatnonzero(present.any(axis=0))
    if not rows.size:
        return None
    top, bottom, left, right = rows[0], rows[-1] + 1, columns[0], columns[-1] + 1
    side = float(BOX_SCALE * max(bottom - top, right - left))
    return float(left + right - side) / 2, float(top + bottom - side) / 2, side, side


def _nearest(coordinates: np.ndarray, length: int) -> tuple[np.ndarray, slice]:
    """Indices of the pixels under ascending `coordinates`, as far as they lie in 0..length, and which these are."""
    indices = np.floor(coordinates).astype(np.int64)
    first, last = np.searchsorted(indices, (0, length))
    return indices[first:last], slice(int(first), int(last))


def _between(start: float, side: float, size: int, length: int) -> tuple[slice, np.ndarray, np.ndarray]:
    """Which of a picture's `length` pixels lie in a box, and between which pixels of its crop: the lower one, and how far
    beyond its centre, 0 to 1."""
    _, inside = _nearest((np.arange(length) + 0.5 - start) * (size / side), size)
    centres = (np.arange(inside.start, inside.stop) + 0.5 - start) * (size / side) - 0.5
    lower = np.clip(np.floor(centres).astype(np.int64), 0, size - 2)
    return inside, lower, np.clip(centres - lower, 0, 1).astype(np.float32)


def _cut(image: np.ndarray, start: tuple[int, int], stop: tuple[int, int]) -> tuple[np.ndarray, int, int]:
    """Columns start[0]..stop[0] and rows start[1]..stop[1] of the image, zeros outside it; and start."""
    (x0, y0), (x1, y1) = start, stop
    if (x1 - x0) * (y1 - y0) > MAX_PIXELS:
        raise BrokenEntry("invalid entry", f"a box needs {x1 - x0} x {y1 - y0} pixels, more than {MAX_PIXELS:,}; correct it.")
    canvas = np.zeros((y1 - y0, x1 - x0, 3), np.uint8)
    inner_x, inner_y = slice(max(x0, 0), min(x1, image.shape[1])), slice(max(y0, 0), min(y1, image.shape[0]))
    canvas[inner_y.start - y0 : inner_y.stop - y0, inner_x.start - x0 : inner_x.stop - x0] = image[inner_y, inner_x]
    return canvas, x0, y0


def _check_overlap(box: Box, height: int, width: int) -> None:
    x, y, w, h = box
    if x >= width or y >= height or x + w <= 0 or y + h <= 0:
        raise BrokenEntry(
            "box outside", f"the box {x:g}, {y:g}, {w:g}, {h:g} lies outside its {width} x {height} image; correct it."
        )
