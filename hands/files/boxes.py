"""Boxes: x, y, w, h in pixels of a picture (hands/files/crop.py says where pixels lie); they may reach outside of it."""

import math

from hands.files.decoding import BrokenEntry

Box = tuple[float, float, float, float]
LIMIT = 1e6  # pixels, of every number


def check_box(box: list[float], where: str) -> Box:
    """A box of four finite numbers with positive sides, none beyond a million pixels.

    Raises:
        BrokenEntry: otherwise.
    """
    x, y, w, h = box
    if not all(math.isfinite(number) and abs(number) <= LIMIT for number in box) or min(w, h) <= 0:
        raise BrokenEntry(
            "invalid entry", f"{where} has the box {shown(box)}; expected finite x, y and positive w, h in pixels: correct it."
        )
    return x, y, w, h


def square(box: Box) -> Box:
    """The box made square about its centre, by its longer side."""
    x, y, w, h = box
    side = max(w, h)
    return x + (w - side) / 2, y + (h - side) / 2, side, side


def whole(width: int, height: int, size: int) -> Box:
    """The square whose crop to `size` shows all of a picture to its edges: its x, y is where the crop's first pixel has its
    centre, half a pixel of the crop inside the edge."""
    x, y, side, _ = square((0.0, 0.0, float(width), float(height)))
    inside = side / size / 2 - 0.5
    return x + inside, y + inside, side, side


def overlap(first: Box, second: Box) -> float:
    """Intersection over union of two boxes, 0 to 1."""
    (x1, y1, w1, h1), (x2, y2, w2, h2) = first, second
    w, h = min(x1 + w1, x2 + w2) - max(x1, x2), min(y1 + h1, y2 + h2) - max(y1, y2)
    shared = max(w, 0.0) * max(h, 0.0)
    return shared / (w1 * h1 + w2 * h2 - shared)


def shown(box: list[float] | Box) -> str:
    return ", ".join(f"{number:g}" for number in box)
