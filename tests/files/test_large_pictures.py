"""Pictures of phones and of attackers: what is needed of a large one in little memory, and refusals that cost little."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from hands.files.boxes import whole
from hands.files.decoding import BrokenEntry, decode_image, decode_labels
from hands.files.photograph import MAX_PIXELS, Photograph
from tests.bounded import RETURNED, bounded
from tests.raw.independent_layout import a_picture


def encoded(picture: Image.Image, kind: str, **how: object) -> bytes:
    file = io.BytesIO()
    picture.save(file, kind, **how)
    return file.getvalue()


@pytest.fixture(scope="module")
def phone() -> bytes:
    """48 megapixels as a phone makes them: grey, but for a white square of 800 pixels."""
    picture = Image.new("RGB", (8064, 6048), (90, 90, 90))
    picture.paste((250, 250, 250), (4000, 3000, 4800, 3800))
    return encoded(picture, "JPEG")


def test_all_of_a_48_megapixel_picture(phone: bytes):
    """Its square has 65 million pixels, and was refused with a message about a box that nobody gave."""
    photograph = Photograph(phone, "x")
    crop = photograph.crop(whole(photograph.width, photograph.height, 64), 64)
    assert crop[:7].max() == 0  # 1,008 of 8,064 above it, 8 of 64, less the filter
    assert abs(int(crop[20, 20, 0]) - 90) < 3 and abs(int(crop[34, 35, 0]) - 250) < 3
    assert photograph.small(1024).shape == (768, 1024, 3)


def test_it_takes_little_memory(phone: bytes):
    def read() -> None:
        photograph = Photograph(phone, "x")
        photograph.crop(whole(photograph.width, photograph.height, 64), 64)
        photograph.small(1024)

    assert bounded(read, mib=60) == RETURNED  # 195 where all of it is decoded


def test_a_small_box_of_it_is_as_fine_as_it_was_taken(phone: bytes):
    crop = Photograph(phone, "x").crop((3968.0, 2968.0, 64.0, 64.0), 64)
    assert crop[:30].max() < 110 and crop[40:, 40:].min() > 230


def png_of_header(width: int, height: int) -> bytes:
    header = b"IHDR" + struct.pack(">2I5B", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))


def webp_of_size(width: int, height: int) -> bytes:
    content = bytearray(encoded(Image.new("RGBA", (40, 30), (9, 9, 9, 9)), "WEBP"))
    assert content[12:16] == b"VP8X"
    content[24:30] = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    return bytes(content)


def jpeg_of_size(width: int, height: int) -> bytes:
    content = bytearray(encoded(Image.new("RGB", (16, 16)), "JPEG"))
    at = content.index(b"\xff\xc0") + 5
    content[at : at + 4] = struct.pack(">HH", height, width)
    return bytes(content)


@pytest.mark.parametrize("bomb", [png_of_header(60_000, 60_000), webp_of_size(16_000, 16_000), jpeg_of_size(65_000, 65_000)])
def test_bombs_are_refused_by_their_header(bomb: bytes):
    assert bounded(lambda: Photograph(bomb, "x"), mib=60).startswith("x ")


def test_the_limit_is_said():
    with pytest.raises(BrokenEntry, match=rf"x says it is 16000 x 16000 pixels; the limit is {MAX_PIXELS:,} pixels"):
        Photograph(webp_of_size(16_000, 16_000), "x")


def test_jpegs_of_endless_scans_are_refused():
    content = encoded(Image.fromarray(a_picture(64, 64, 1)), "JPEG", progressive=True)
    scan = content.rindex(b"\xff\xda")
    bomb = content[:scan] + 300 * content[scan:-2] + content[-2:]
    with pytest.raises(BrokenEntry, match="a JPEG of 3.. scans; the limit is 200"):
        Photograph(bomb, "x")
    with pytest.raises(BrokenEntry, match="scans"):
        decode_image(bomb, "x", upright=True)
    assert Photograph(content, "x").crop((0.0, 0.0, 64.0, 64.0), 16).shape == (16, 16, 3)


@pytest.mark.parametrize("kind", ["tEXt", "zTXt", "iTXt", "iCCP", "after the pixels"])
def test_a_png_with_a_long_text_has_its_pixels(kind: str):
    """Pillow takes a megabyte of it, and would refuse the picture."""
    labels = Image.fromarray(np.arange(256, dtype=np.uint8).reshape(16, 16) % 17)
    if kind == "iCCP":
        content = encoded(labels, "PNG", icc_profile=bytes(3 << 20))
    else:
        texts = PngImagePlugin.PngInfo()
        texts.add_text("a", "b" * (3 << 20), zip=kind == "zTXt") if kind != "iTXt" else texts.add_itxt("a", "b" * (3 << 20))
        content = encoded(labels, "PNG", pnginfo=texts)
    if kind == "after the pixels":
        start, end = content.index(b"tEXt") - 4, content.index(b"IDAT") - 4
        content = content[:start] + content[end:-12] + content[start:end] + content[-12:]
    assert np.array_equal(decode_labels(content, "x"), labels)
    assert np.array_equal(decode_image(content, "x", upright=True)[..., 0], labels)
    assert np.array_equal(Photograph(content, "x").small(16)[..., 1], labels)


@pytest.mark.parametrize("length", [0, 5, 100])
def test_webps_that_are_cut_short(length: int):
    content = encoded(Image.fromarray(a_picture(64, 48, 1)), "WEBP")
    with pytest.raises(BrokenEntry, match="x cannot be decoded"):
        Photograph(content[: length or len(content) // 2], "x").small(64)


def test_animated_webps_are_refused():
    frames = [Image.new("RGB", (8, 8), (40 * k, 0, 0)) for k in range(3)]
    with pytest.raises(BrokenEntry, match="animated WEBP"):
        Photograph(encoded(frames[0], "WEBP", save_all=True, append_images=frames[1:]), "x")
