"""The crop: a box of a picture warped to a square, and back.

Convention: coordinates are pixel indices, as projected joints, boxes and `cv2.warpAffine` have them: pixel (column c, row r)
has its centre at (c, r). Pixel j of a crop of a box x, y, w, h lies at x + j * w / size, and likewise down. So do the crops of
InterHand2.6M's own loader and of those made after it, which warp the box's middle to size / 2: predictions can be scored on
their masks, and theirs on ours.

Images: bilinear where the box is enlarged; where it is shrunk by a factor s > 1 the same triangle filter s times as wide,
so that every source pixel counts and nothing aliases (a 300 pixel box at 64 pixels would). Labels: the nearest pixel, of two
the one with the higher index, as `cv2.warpAffine` of OpenCV 4 rounds (that of OpenCV 5 takes either in such a case).
Outside the picture both are zero.
"""

import math

import numpy as np
from PIL import Image

from hands.files.boxes import Box
from hands.files.decoding import MAX_PIXELS, BrokenEntry
from hands.parts import shows_part

BOX_SCALE = 1.25  # the lists' boxes are enlarged so
_FRACTION_BITS = 10  # OpenCV rounds coordinates to 1 / 1024 of a pixel before it takes the nearest one
_BAND_PIXELS = 200_000


def crop_image(image: np.ndarray, box: Box, size: int, margin: int) -> np.ndarray:
    """Crop an (H, W, 3) uint8 image: (P, P, 3) uint8 with P = size + 2 * margin, the box itself in the central size x size.

    Raises:
        BrokenEntry: the box covers more than 50 megapixels or nothing of the image.
    """
    x, y, w, h = box
    _check_overlap(box, image.shape[0], image.shape[1])
    side = size + 2 * margin
    # Pillow counts from the edge of the first pixel, half a pixel before its centre
    left, top = x + 0.5 - (margin + 0.5) * w / size, y + 0.5 - (margin + 0.5) * h / size
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
    steps = np.arange(-margin, size + margin)
    rows, inside_rows = _nearest(y, steps * (h / size), labels.shape[1])
    columns, inside_columns = _nearest(x, steps * (w / size), labels.shape[2])
    cropped = np.zeros((labels.shape[0], side, side), np.uint8)
    cropped[:, inside_rows, inside_columns] = labels[:, rows][:, :, columns]
    return cropped


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
    """The square box around the parts of (2, H, W) labels, over both hands, enlarged by 1.25 like the lists' boxes.

    Enlarged, because the discriminator compares these labels with those of listed boxes and must not tell them apart by their
    scale; hands/packed/framing.py does the rest. None where no pixel is a part: background and ignored ones are none.
    """
    present = shows_part(labels).any(axis=0)
    rows, columns = np.flatnonzero(present.any(axis=1)), np.flatnonzero(present.any(axis=0))
    if not rows.size:
        return None
    top, bottom, left, right = rows[0], rows[-1], columns[0], columns[-1]
    side = float(BOX_SCALE * max(bottom - top + 1, right - left + 1))
    return float(left + right - side) / 2, float(top + bottom - side) / 2, side, side


def _nearest(start: float, offsets: np.ndarray, length: int) -> tuple[np.ndarray, slice]:
    """Indices of the pixels nearest to ascending start + offsets, as far as they lie in 0..length - 1, and which these are."""
    one = 1 << _FRACTION_BITS
    fixed = np.rint(one * start).astype(np.int64) + np.rint(one * offsets).astype(np.int64)
    indices = (fixed + one // 2) >> _FRACTION_BITS
    first, last = np.searchsorted(indices, (0, length))
    return indices[first:last], slice(int(first), int(last))


def _between(start: float, side: float, size: int, length: int) -> tuple[slice, np.ndarray, np.ndarray]:
    """Which of a picture's `length` pixels lie in a box, and between which pixels of its crop: the lower one, and how far
    beyond its centre, 0 to 1."""
    scale = size / side
    _, inside = _nearest(-start * scale, np.arange(length) * scale, size)
    places = (np.arange(inside.start, inside.stop) - start) * scale
    lower = np.clip(np.floor(places).astype(np.int64), 0, size - 2)
    return inside, lower, np.clip(places - lower, 0, 1).astype(np.float32)


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
