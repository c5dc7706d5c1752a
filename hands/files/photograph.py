"""A photograph: a PNG, JPEG or WebP as cameras and phones make them, read no larger than what is asked of it needs.

What is shrunk is shrunk by powers of two, of a JPEG while it is decoded: 48 megapixels then take 3 MB instead of 195.
"""

import struct

import numpy as np
from PIL import Image

from hands.files.boxes import Box, shown
from hands.files.crop import crop_image
from hands.files.decoding import (
    BrokenEntry,
    open_picture,
    refuse_cut_short,
    too_large,
    turned_upright,
    unreadable,
    upright_size,
    without_texts,
)

MAX_PIXELS = 128_000_000  # phones make 108 million; checked against the header, before anything is decoded
FORMATS = ("PNG", "JPEG", "WEBP")
_FINE = 4  # pixels that a crop's pixel keeps at least: of these its filter makes what it would make of all
_JPEG_STEPS = 8  # a decoder of JPEG shrinks by 2, 4 or 8

# Pillow warns of pictures above 89 megapixels; MAX_PIXELS is what is checked here.
Image.MAX_IMAGE_PIXELS = max(Image.MAX_IMAGE_PIXELS or 0, MAX_PIXELS)


class Photograph:
    """A picture as viewers show it: EXIF's orientation is honoured. Decoded when something of it is asked for.

    width, height: in pixels.

    Raises:
        BrokenEntry: none of FORMATS, animated, of 16 bits a channel, too large or, once it is decoded, damaged.
    """

    def __init__(self, encoded: bytes, name: str):
        self.name = name
        self._encoded = without_texts(bytes(encoded))
        self._decoded: tuple[int, Image.Image] | None = None
        self.width, self.height = upright_size(self._opened())

    @classmethod
    def of_pixels(cls, pixels: np.ndarray, name: str) -> "Photograph":
        """Of (H, W, 3) uint8 RGB."""
        photograph = cls.__new__(cls)
        photograph.name, photograph._encoded = name, b""
        photograph.height, photograph.width = pixels.shape[:2]
        photograph._decoded = 1, Image.fromarray(pixels)
        return photograph

    def crop(self, box: Box, size: int) -> np.ndarray:
        """What crop_image makes of a square box: (size, size, 3) uint8 RGB.

        Raises:
            BrokenEntry: the box lies outside of the picture, or this is damaged.
        """
        self.require(box)
        x, y, w, h = box
        shrunk = 1
        while w >= 2 * shrunk * _FINE * size:
            shrunk *= 2
        picture = self._at(shrunk)
        offset = (shrunk - 1) / 2  # of the first pixel's centre
        x, y, w, h = (x - offset) / shrunk, (y - offset) / shrunk, w / shrunk, h / shrunk
        reach = 2 + w / size
        left, top = max(int(x - reach), 0), max(int(y - reach), 0)
        right, bottom = min(int(x + w + reach) + 1, picture.width), min(int(y + h + reach) + 1, picture.height)
        region = np.asarray(picture.crop((left, top, right, bottom)))
        return crop_image(region, (x - left, y - top, w, h), size, 0)

    def require(self, box: Box) -> None:
        """Raises BrokenEntry where a box lies outside of the picture."""
        x, y, w, h = box
        if x >= self.width or y >= self.height or x + w <= 0 or y + h <= 0:
            raise BrokenEntry(
                "box outside",
                f"{self.name}: the box {shown(box)} lies outside its {self.width} x {self.height} pixels; correct it.",
            )

    def small(self, side: int) -> np.ndarray:
        """The picture with its longer side at most `side` pixels: (h, w, 3) uint8 RGB."""
        longer = max(self.width, self.height)
        shrunk = 1
        while longer >= 2 * shrunk * side:
            shrunk *= 2
        picture = self._at(shrunk)
        if longer > side:
            size = tuple(max(1, round(length * side / longer)) for length in (self.width, self.height))
            picture = picture.resize(size, Image.Resampling.BILINEAR)
        return np.asarray(picture)

    def _at(self, shrunk: int) -> Image.Image:
        """The picture shrunk by a power of two; what it was decoded to is kept while it is fine enough."""
        if self._decoded is None or shrunk % self._decoded[0]:
            self._decoded = self._decode(min(shrunk, _JPEG_STEPS))
        step, picture = self._decoded
        return picture if step == shrunk else picture.reduce(shrunk // step)

    def _decode(self, step: int) -> tuple[int, Image.Image]:
        picture = self._opened()
        try:
            drafted = None
            if step > 1 and picture.format in ("JPEG", "MPO"):
                width, height = picture.size
                drafted = picture.draft(None, (max(1, width // step), max(1, height // step)))
            step = round(width / drafted[1][2]) if drafted else 1
            picture.load()
            refuse_cut_short(picture, self._encoded, self.name)
            return step, turned_upright(picture if picture.mode == "RGB" else picture.convert("RGB"))
        except BrokenEntry:
            raise
        except Exception as error:
            raise unreadable(error, self._encoded, self.name, FORMATS) from error

    def _opened(self) -> Image.Image:
        """With its header read."""
        try:
            width, height = _webp_size(self._encoded)  # Pillow's decoder takes memory for it before it says its size
            if width * height > MAX_PIXELS:
                raise too_large(self.name, width, height, MAX_PIXELS)
            return open_picture(self._encoded, self.name, FORMATS, MAX_PIXELS)
        except BrokenEntry:
            raise
        except Exception as error:
            raise unreadable(error, self._encoded, self.name, FORMATS) from error


def _webp_size(encoded: bytes) -> tuple[int, int]:
    """Width and height in a WebP's header (RFC 9649); 0, 0 where it is none."""
    kind = encoded[12:16] if encoded[:4] == b"RIFF" and encoded[8:12] == b"WEBP" and len(encoded) >= 30 else b""
    if kind == b"VP8X":
        return 1 + int.from_bytes(encoded[24:27], "little"), 1 + int.from_bytes(encoded[27:30], "little")
    if kind == b"VP8L":
        (packed,) = struct.unpack("<I", encoded[21:25])
        return 1 + (packed & 0x3FFF), 1 + (packed >> 14 & 0x3FFF)
    if kind == b"VP8 ":
        width, height = struct.unpack("<HH", encoded[26:30])
        return width & 0x3FFF, height & 0x3FFF
    return 0, 0
