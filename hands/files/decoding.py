"""Pictures of unknown origin: PNG and JPEG bytes to arrays, or one clear refusal.

Pillow decodes, restricted to these two formats. torchvision.io was tried first: version 0.29.2 dies with a
segmentation fault on a PNG with one flipped bit, where Pillow raises, and it is no faster.
"""

import io

import numpy as np
from PIL import Image, ImageOps

from hands.errors import InvalidInput

MAX_PIXELS = 50_000_000  # checked against the header, before anything is decoded
_JPEG_END = b"\xff\xd9"
_PNG_END = b"IEND\xaeB`\x82"


class BrokenEntry(InvalidInput):
    """One entry of a data set cannot be used; `reason` is a short phrase to count such entries by."""

    def __init__(self, reason: str, message: str):
        super().__init__(message)
        self.reason = reason

    def __reduce__(self) -> tuple:
        return BrokenEntry, (self.reason, str(self))  # workers send it to their parent


def decode_image(encoded: bytes | memoryview, name: str, upright: bool) -> np.ndarray:
    """Decode a PNG or JPEG picture to (H, W, 3) uint8, channels in file order (RGB in an ordinary file).

    Grey pictures get three equal channels, an alpha channel is dropped.

    Args:
        encoded: the file's bytes.
        name: what to call the picture in errors.
        upright: turn the picture as its EXIF orientation says, as viewers do. Without it EXIF is ignored.

    Raises:
        BrokenEntry: not a PNG or JPEG, damaged, cut short, animated, 16-bit grey, or above 50 megapixels.
    """
    return np.asarray(_decode(encoded, name, ("PNG", "JPEG"), upright).convert("RGB"))


def decode_labels(encoded: bytes | memoryview, name: str) -> np.ndarray:
    """Decode a PNG of labels, one grey or three equal channels, to (H, W) uint8 as stored.

    Raises:
        BrokenEntry: as decode_image does, or of another kind, or the three channels differ.
    """
    picture = _decode(encoded, name, ("PNG",), upright=False)
    values = np.asarray(picture)
    if picture.mode == "L":
        return values
    if picture.mode != "RGB":
        raise BrokenEntry(
            "labels of another kind",
            f"{name} is a PNG of mode {picture.mode}; labels are PNGs with three equal channels or one.",
        )
    labels = np.ascontiguousarray(values[..., 0])
    if not (np.array_equal(labels, values[..., 1]) and np.array_equal(labels, values[..., 2])):
        raise BrokenEntry("labels of another kind", f"{name} has three channels that differ; labels need three equal ones.")
    return labels


def _decode(encoded: bytes | memoryview, name: str, formats: tuple[str, ...], upright: bool) -> Image.Image:
    encoded = bytes(encoded)
    try:
        picture = Image.open(io.BytesIO(encoded), formats=formats)  # reads the header only
        _check_header(picture, name)
        picture.load()
        if upright:
            picture = ImageOps.exif_transpose(picture)
    except BrokenEntry:
        raise
    except Exception as error:  # Pillow's readers raise OSError, SyntaxError, struct.error, zlib.error, ... on damage
        wanted = " or ".join(formats)
        raise BrokenEntry(
            "unreadable picture", f"{name} cannot be decoded ({_one_line(error)}); a whole {wanted} was expected: replace it."
        ) from error
    if encoded.rfind(_PNG_END if _is_png(encoded) else _JPEG_END) < 0:
        raise BrokenEntry("unreadable picture", f"{name} is cut short: its end marker is missing; copy it again.")
    return picture


def _check_header(picture: Image.Image, name: str) -> None:
    width, height = picture.size
    if width * height > MAX_PIXELS:
        raise BrokenEntry(
            "picture too large",
            f"{name} says it is {width} x {height} pixels; the limit is {MAX_PIXELS:,} pixels: scale it down.",
        )
    if picture.format == "PNG" and getattr(picture, "is_animated", False):
        raise BrokenEntry("unreadable picture", f"{name} is an animated PNG; save one frame of it.")
    if picture.mode.startswith(("I", "F")):
        raise BrokenEntry("unreadable picture", f"{name} has 16 or more bits a pixel; save it with 8 bits a channel.")


def _is_png(encoded: bytes) -> bool:
    return encoded.startswith(b"\x89PNG")


def _one_line(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:120]
