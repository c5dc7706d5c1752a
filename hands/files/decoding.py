"""Pictures of unknown origin: PNG and JPEG bytes to arrays, or one clear refusal.

Pillow decodes, restricted to these two formats. torchvision.io was tried first: version 0.29.2 dies with a
segmentation fault on a PNG with one flipped bit, where Pillow raises, and it is no faster.

What would lose bits or change values is refused by name, or decoded to what it shows:

    16 bits a channel                      refused: Pillow keeps the high byte of colours, and says nothing
    1, 2, 4 bits grey, palettes            pictures: as shown. Labels: refused, for their values would be scaled or looked up
    alpha, a transparent colour            pictures: dropped, as OpenCV does. Labels: alpha refused, a colour ignored
    CMYK                                   converted without a profile
    colour profile, gamma, texts           ignored, however long they are: values as stored
    EXIF orientation                       photographs are turned; in data sets refused, for their labels and boxes might be
                                           meant either way
    several pictures in one file           an animated PNG is refused; of a JPEG the first is taken, as viewers do
    12 bits, TIFF, HEIC, ...               refused; WebP in data sets, too (hands/files/photograph.py reads it)
"""

import io
from collections.abc import Callable

import numpy as np
from PIL import Image, JpegImagePlugin, PngImagePlugin, UnidentifiedImageError

from hands.errors import InvalidInput

MAX_PIXELS = 50_000_000  # checked against the header, before anything is decoded
MAX_SCANS = 200  # of a JPEG: cameras write 1 to 10; each of thousands costs a pass over all pixels, and a hundred bytes
_SCAN = b"\xff\xda"
_ENDS = {"PNG": b"IEND\xaeB`\x82", "JPEG": b"\xff\xd9"}
_PNG_START = b"\x89PNG\r\n\x1a\n"
_PNG_TEXTS = (b"tEXt", b"zTXt", b"iTXt", b"iCCP")
_ORIENTATION = 0x112  # EXIF's tag
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180, 4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_270, 7: Image.Transpose.TRANSVERSE, 8: Image.Transpose.ROTATE_90,
}  # fmt: skip
_LYING = (5, 6, 7, 8)  # orientations whose width and height are exchanged
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
    if upright:
        picture = turned_upright(picture)
    else:
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
    encoded = without_texts(bytes(encoded))
    try:
        picture = open_picture(encoded, name, formats, MAX_PIXELS)
        check(picture, name)
        picture.load()
    except BrokenEntry:
        raise
    except Exception as error:  # Pillow's readers raise OSError, SyntaxError, struct.error, zlib.error, ... on damage
        raise unreadable(error, encoded, name, formats) from error
    refuse_cut_short(picture, encoded, name)
    return picture


def open_picture(encoded: bytes, name: str, formats: tuple[str, ...], max_pixels: int) -> Image.Image:
    """A picture whose header alone has been read and found to be one that can be decoded.

    Raises:
        BrokenEntry: it is not. Pillow's own errors, of many kinds: it is damaged.
    """
    picture = Image.open(io.BytesIO(encoded), formats=formats)
    width, height = picture.size
    if width * height > max_pixels:
        raise too_large(name, width, height, max_pixels)
    if picture.format in ("PNG", "WEBP") and getattr(picture, "is_animated", False):
        raise BrokenEntry("unreadable picture", f"{name} is an animated {picture.format}; save one frame of it.")
    if _rows(picture).endswith(";16B"):
        raise BrokenEntry("unreadable picture", f"{name} has 16 bits a channel; save it with 8.")
    scans = encoded.count(_SCAN) if picture.format in ("JPEG", "MPO") else 0
    if scans > MAX_SCANS:
        raise BrokenEntry("unreadable picture", f"{name} is a JPEG of {scans} scans; the limit is {MAX_SCANS}: save it anew.")
    return picture


def too_large(name: str, width: int, height: int, max_pixels: int) -> BrokenEntry:
    return BrokenEntry(
        "picture too large",
        f"{name} says it is {width} x {height} pixels; the limit is {max_pixels:,} pixels: scale it down.",
    )


def unreadable(error: Exception, encoded: bytes, name: str, formats: tuple[str, ...]) -> BrokenEntry:
    wanted = " or ".join(formats)
    return BrokenEntry(
        "unreadable picture", f"{name} cannot be decoded ({_why(error, encoded)}); a whole {wanted} was expected: replace it."
    )


def refuse_cut_short(picture: Image.Image, encoded: bytes, name: str) -> None:
    end = _ENDS.get("JPEG" if picture.format == "MPO" else picture.format)
    if end is not None and encoded.rfind(end) < 0:
        raise BrokenEntry("unreadable picture", f"{name} is cut short: its end marker is missing; copy it again.")


def without_texts(encoded: bytes) -> bytes:
    """A PNG less its texts and its colour profile, of which Pillow takes no more than a megabyte; other bytes as they are."""
    if not encoded.startswith(_PNG_START):
        return encoded
    kept, start, position = [], 0, len(_PNG_START)
    while position + 12 <= len(encoded):
        end = position + 12 + int.from_bytes(encoded[position : position + 4], "big")
        if end > len(encoded):
            break
        if encoded[position + 4 : position + 8] in _PNG_TEXTS:
            kept.append(encoded[start:position])
            start = end
        position = end
    return b"".join([*kept, encoded[start:]]) if kept else encoded


def turned_upright(picture: Image.Image) -> Image.Image:
    turn = TURNS.get(_orientation(picture))
    return picture if turn is None else picture.transpose(turn)


def upright_size(picture: Image.Image) -> tuple[int, int]:
    """Width and height that turned_upright makes of it."""
    width, height = picture.size
    return (height, width) if _orientation(picture) in _LYING else (width, height)


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
    if _orientation(picture) in TURNS:
        raise BrokenEntry(
            "turned picture",
            f"{name} is stored lying or mirrored, and EXIF says so (orientation {_orientation(picture)}); store it upright,"
            " as its labels and its box are.",
        )


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
