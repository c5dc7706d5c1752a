"""Pictures of unknown origin: PNG and JPEG bytes to arrays, or one clear refusal.

Pillow decodes, restricted to these two formats. torchvision.io was tried first: version 0.29.2 dies with a
segmentation fault on a PNG with one flipped bit, where Pillow raises, and it is no faster.

What would lose bits or change values is refused by name, or decoded to what it shows:

    16 bits a channel                      refused: Pillow keeps the high byte of colours, and says nothing
    1, 2, 4 bits grey, palettes            pictures: as shown. Labels: refused, for their values would be scaled or looked up
    alpha, a transparent colour            pictures: dropped, as OpenCV does. Labels: alpha refused, a colour ignored
    CMYK                                   converted without a profile
    colour profile, gamma                  ignored: values as stored
    EXIF orientation                       photographs are turned; in data sets refused, for their labels and boxes might be
                                           meant either way
    several pictures in one file           an animated PNG is refused; of a JPEG the first is taken, as viewers do
    12 bits, WebP, TIFF, HEIC, ...         refused
"""

import io
from collections.abc import Callable

import numpy as np
from PIL import Image, JpegImagePlugin, PngImagePlugin, UnidentifiedImageError

from hands.errors import InvalidInput

MAX_PIXELS = 50_000_000  # checked against the header, before anything is decoded
_JPEG_END = b"\xff\xd9"
_PNG_END = b"IEND\xaeB`\x82"
_ORIENTATION = 0x112  # EXIF's tag
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180, 4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_270, 7: Image.Transpose.TRANSVERSE, 8: Image.Transpose.ROTATE_90,
}  # fmt: skip
_DEPTHS = {"1": 1, "L;2": 2, "L;4": 4}  # Pillow's names of what a PNG's rows hold -> bits a pixel


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
        upright: turn the picture as its EXIF orientation says, as viewers do. Without it such a picture is refused.

    Raises:
        BrokenEntry: not a PNG or JPEG, damaged, cut short, animated, of more than 8 bits a channel, to be turned, or above 50
            megapixels.
    """
    picture = _decode(encoded, name, ("PNG", "JPEG"))
    if upright and _orientation(picture) in _TURNS:
        picture = picture.transpose(_TURNS[_orientation(picture)])
    elif not upright:
        _refuse_turned(picture, name)
    return np.asarray(picture.convert("RGB"))


def decode_labels(encoded: bytes | memoryview, name: str) -> np.ndarray:
    """Decode a PNG of labels, one grey or three equal channels, to (H, W) uint8 as stored.

    Raises:
        BrokenEntry: as decode_image does, or of another kind, or the three channels differ.
    """
    picture = _decode(encoded, name, ("PNG",), _check_labels)
    _refuse_turned(picture, name)
    values = np.asarray(picture)
    if picture.mode == "L":
        return values
    labels = np.ascontiguousarray(values[..., 0])
    if not (np.array_equal(labels, values[..., 1]) and np.array_equal(labels, values[..., 2])):
        raise BrokenEntry("labels of another kind", f"{name} has three channels that differ; labels need three equal ones.")
    return labels


def _decode(
    encoded: bytes | memoryview,
    name: str,
    formats: tuple[str, ...],
    check: Callable[[Image.Image, str], None] = lambda picture, name: None,
) -> Image.Image:
    """check: refuses what its header says."""
    encoded = bytes(encoded)
    try:
        picture = Image.open(io.BytesIO(encoded), formats=formats)  # reads the header only
        _check_header(picture, name)
        check(picture, name)
        picture.load()
    except BrokenEntry:
        raise
    except Exception as error:  # Pillow's readers raise OSError, SyntaxError, struct.error, zlib.error, ... on damage
        wanted = " or ".join(formats)
        raise BrokenEntry(
            "unreadable picture",
            f"{name} cannot be decoded ({_why(error, encoded)}); a whole {wanted} was expected: replace it.",
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
    if _rows(picture).endswith(";16B"):
        raise BrokenEntry("unreadable picture", f"{name} has 16 bits a channel; save it with 8.")


def _check_labels(picture: Image.Image, name: str) -> None:
    rows = _rows(picture)
    if rows in ("L", "RGB"):
        return
    found = f"{_DEPTHS[rows]} bits a pixel" if rows in _DEPTHS else "a palette" if picture.mode == "P" else "an alpha channel"
    raise BrokenEntry(
        "labels of another kind",
        f"{name} is a PNG with {found}; labels are PNGs with three equal channels or one, of 8 bits, which hold the parts.",
    )


def _rows(picture: Image.Image) -> str:
    """What a PNG's rows hold, by Pillow's name; the mode tells of what it makes of them. Known until they are decoded."""
    return str(picture.tile[0][3]) if picture.format == "PNG" and picture.tile else ""


def _orientation(picture: Image.Image) -> int:
    """As EXIF numbers them; 1, upright, where it says nothing that can be read."""
    try:
        return picture.getexif().get(_ORIENTATION, 1)
    except Exception:  # a damaged block leads Pillow to errors of many kinds, and the pixels are whole
        return 1


def _refuse_turned(picture: Image.Image, name: str) -> None:
    if _orientation(picture) in _TURNS:
        raise BrokenEntry(
            "turned picture",
            f"{name} is stored lying or mirrored, and EXIF says so (orientation {_orientation(picture)}); store it upright,"
            " as its labels and its box are.",
        )


def _is_png(encoded: bytes) -> bool:
    return encoded.startswith(b"\x89PNG")


def _why(error: Exception, encoded: bytes) -> str:
    if isinstance(error, UnidentifiedImageError):
        error = _unidentified(encoded)
    return " ".join(f"{type(error).__name__}: {error}".split())[:120]


def _unidentified(encoded: bytes) -> Exception:
    """Why a picture's header is not taken, which Image.open does not say."""
    for starts, reader in ((b"\x89PNG", PngImagePlugin.PngImageFile), (b"\xff\xd8", JpegImagePlugin.JpegImageFile)):
        if encoded.startswith(starts):
            try:
                reader(io.BytesIO(encoded))
            except Exception as error:
                return error
    return ValueError(f"it begins with {encoded[:12]!r}")
