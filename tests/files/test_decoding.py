"""Every form that a PNG or JPEG may have: decoded to the values it shows, or refused by name, never narrowed in silence."""

import io
import struct
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image, ImageCms, ImageOps

from hands.files.decoding import BrokenEntry, decode_image, decode_labels
from tests.raw.independent_layout import a_picture, jpeg, png

GREY, RGB, PALETTE, GREY_ALPHA, RGBA = 0, 2, 3, 4, 6  # PNG's colour types
COLOURS = (b"PLTE", bytes(range(0, 48)))
ADAM7 = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1))


def png_of(depth: int, colour: int, rows: list[bytes], width: int, *chunks: tuple[bytes, bytes]) -> bytes:
    """A PNG of packed rows, written chunk by chunk."""
    header = struct.pack(">2I5B", width, len(rows), depth, colour, 0, 0, 0)
    body = b"".join(b"\0" + row for row in rows)
    return assembled((b"IHDR", header), *chunks, (b"IDAT", zlib.compress(body)), (b"IEND", b""))


def assembled(*chunks: tuple[bytes, bytes]) -> bytes:
    parts = [struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)) for kind, body in chunks]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def pillow_bytes(picture: Image.Image, kind: str, **how: object) -> bytes:
    encoded = io.BytesIO()
    picture.save(encoded, kind, **how)
    return encoded.getvalue()


def image(encoded: bytes) -> list:
    return decode_image(encoded, "x", upright=False).tolist()


@pytest.mark.parametrize(("colour", "channels"), [(GREY, 1), (GREY_ALPHA, 2), (RGB, 3), (RGBA, 4)])
def test_sixteen_bits_are_refused_by_name(colour: int, channels: int):
    """As labels, 3 would become 0; as pictures, a channel would lose its low byte."""
    row = struct.pack(f">{2 * channels}H", *[3] * 2 * channels)
    encoded = png_of(16, colour, [row], 2)
    with pytest.raises(BrokenEntry, match="x has 16 bits a channel; save it with 8") as caught:
        decode_labels(encoded, "x")
    assert caught.value.reason == "unreadable picture"
    with pytest.raises(BrokenEntry, match="x has 16 bits a channel; save it with 8"):
        decode_image(encoded, "x", upright=True)


def test_sixteen_bits_as_opencv_writes_them_are_refused():
    for shape in ((4, 4), (4, 4, 3), (4, 4, 4)):
        with pytest.raises(BrokenEntry, match="16 bits a channel"):
            decode_labels(cv2.imencode(".png", np.full(shape, 3, np.uint16))[1].tobytes(), "x")


@pytest.mark.parametrize(("depth", "row", "grey"), [(1, b"\x40", (0, 255)), (2, b"\x60", (85, 170)), (4, b"\x1f", (17, 255))])
def test_few_bits_of_grey(depth: int, row: bytes, grey: tuple[int, int]):
    """A picture's greys are scaled, as every viewer does; of labels, 1 would become 17, the left hand's first part."""
    encoded = png_of(depth, GREY, [row], 2)
    assert image(encoded) == [[[value] * 3 for value in grey]]
    with pytest.raises(BrokenEntry, match=f"a PNG with {depth} bits a pixel; labels are PNGs .* of 8 bits") as caught:
        decode_labels(encoded, "x")
    assert caught.value.reason == "labels of another kind"


@pytest.mark.parametrize(("depth", "row"), [(1, b"\x40"), (2, b"\x10"), (4, b"\x01"), (8, b"\x00\x01")])
def test_palettes(depth: int, row: bytes):
    encoded = png_of(depth, PALETTE, [row], 2, COLOURS, (b"tRNS", b"\0"))
    assert image(encoded) == [[[0, 1, 2], [3, 4, 5]]]
    with pytest.raises(BrokenEntry, match="a PNG with a palette; labels"):
        decode_labels(encoded, "x")


def test_alpha():
    for colour, row, shown in ((GREY_ALPHA, b"\1\0\2\xff", [1, 2]), (RGBA, b"\1\1\1\0\2\2\2\xff", [1, 2])):
        encoded = png_of(8, colour, [row], 2)
        assert image(encoded) == [[[value] * 3 for value in shown]]
        with pytest.raises(BrokenEntry, match="a PNG with an alpha channel; labels"):
            decode_labels(encoded, "x")


@pytest.mark.parametrize("chunk", [
    (b"tRNS", b"\0\1"), (b"gAMA", struct.pack(">I", 100_000)), (b"sRGB", b"\0"), (b"sBIT", b"\4"), (b"bKGD", b"\0\1"),
    (b"iCCP", b"x\0\0" + zlib.compress(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())),
], ids=lambda chunk: chunk[0].decode())  # fmt: skip
def test_what_a_png_says_about_its_values_does_not_change_them(chunk: tuple[bytes, bytes]):
    encoded = png_of(8, GREY, [b"\1\x10"], 2, chunk)
    assert decode_labels(encoded, "x").tolist() == [[1, 16]]
    assert image(encoded) == [[[1] * 3, [16] * 3]]


def test_interlaced():
    values = np.arange(35, dtype=np.uint8).reshape(5, 7)
    rows = [values[top::down, left::right] for top, left, down, right in ADAM7]
    body = b"".join(b"\0" + row.tobytes() for part in rows if part.size for row in part)
    header = struct.pack(">2I5B", 7, 5, 8, GREY, 0, 0, 1)
    encoded = assembled((b"IHDR", header), (b"IDAT", zlib.compress(body)), (b"IEND", b""))
    assert decode_labels(encoded, "x").tolist() == values.tolist()


def test_labels_with_channels_that_differ():
    with pytest.raises(BrokenEntry, match="three channels that differ"):
        decode_labels(png_of(8, RGB, [bytes(range(6))], 2), "x")


def test_labels_that_were_compressed_with_loss():
    with pytest.raises(BrokenEntry, match="a whole PNG was expected"):
        decode_labels(jpeg(np.ones((8, 8), np.uint8)), "x")


def test_cmyk_jpegs_show_their_colours():
    """Adobe's JPEGs hold inverted inks."""
    colours = Image.new("RGB", (32, 16), (200, 30, 60))
    colours.paste((20, 90, 220), (16, 0, 32, 16))
    decoded = decode_image(pillow_bytes(colours.convert("CMYK"), "JPEG", quality=98), "x", upright=True)
    assert np.abs(decoded.astype(int) - np.asarray(colours)).max() < 6


@pytest.mark.parametrize("how", [{"progressive": True}, {"subsampling": 0}, {"subsampling": 2}, {"keep_rgb": True}], ids=str)
def test_jpegs_of_every_kind(how: dict):
    picture = a_picture(40, 32, 1)
    decoded = decode_image(pillow_bytes(Image.fromarray(picture), "JPEG", quality=98, **how), "x", upright=True)
    assert np.abs(decoded.astype(int) - picture).mean() < 3


def test_jpegs_of_twelve_bits_are_refused_by_name():
    encoded = bytearray(jpeg(a_picture(8, 8, 0)))
    encoded[encoded.index(b"\xff\xc0") + 4] = 12
    with pytest.raises(BrokenEntry, match=r"x cannot be decoded \(SyntaxError: cannot handle 12-bit layers\)"):
        decode_image(bytes(encoded), "x", upright=True)


def test_of_several_pictures_in_a_jpeg_the_first_is_taken():
    """As phones write them: the photograph, then its depth or a preview."""
    first, second = (Image.new("RGB", (16, 16), colour) for colour in ((200, 10, 10), (10, 10, 200)))
    encoded = pillow_bytes(first, "MPO", save_all=True, append_images=[second], quality=98)
    assert np.abs(decode_image(encoded, "x", upright=True).astype(int) - (200, 10, 10)).max() < 4


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "TIFF", "BMP", "JPEG2000"])
def test_other_formats_are_refused_the_same_each_time(kind: str):
    pictures = [Image.new("RGB", (8, 8), (k, 0, 0)) for k in range(2)]
    several = {"save_all": True, "append_images": pictures[1:]} if kind in ("GIF", "WEBP", "TIFF") else {}
    encoded = pillow_bytes(pictures[0], kind, **several)
    with pytest.raises(BrokenEntry, match=r"x cannot be decoded \(ValueError: it begins with b'.*'\); a whole PNG or JPEG was"):
        decode_image(encoded, "x", upright=True)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_orientation(kind: str, orientation: int):
    """Photographs are turned, as Pillow's own function does it; of a data set's picture nobody knows which way its box is."""
    picture = Image.fromarray(a_picture(24, 16, 1))
    exif = Image.Exif()
    exif[0x112] = orientation
    encoded = pillow_bytes(picture, kind, exif=exif)
    expected = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(encoded))))
    assert np.array_equal(decode_image(encoded, "x", upright=True), expected)
    assert expected.shape[:2] == ((24, 16) if orientation < 5 else (16, 24))
    if orientation == 1:
        assert decode_image(encoded, "x", upright=False).shape == (24, 16, 3)
    else:
        with pytest.raises(BrokenEntry, match=rf"stored lying or mirrored, and EXIF says so \(orientation {orientation}\)"):
            decode_image(encoded, "x", upright=False)


def test_labels_that_are_to_be_turned_are_refused():
    exif = Image.Exif()
    exif[0x112] = 3
    with pytest.raises(BrokenEntry, match="orientation 3"):
        decode_labels(pillow_bytes(Image.new("L", (4, 4)), "PNG", exif=exif), "x")


@pytest.mark.parametrize("exif", [b"Exif\0\0", b"Exif\0\0MM\0*\xff\xff\xff\xff", b"Exif\0\0" + b"\xff" * 20])
def test_damaged_exif_leaves_the_pixels(exif: bytes):
    picture = a_picture(24, 16, 1)
    encoded = pillow_bytes(Image.fromarray(picture), "PNG", exif=exif)
    for upright in (False, True):
        assert np.array_equal(decode_image(encoded, "x", upright), picture)


def test_an_animated_png_is_refused():
    frames = [Image.new("RGB", (4, 4), (k, 0, 0)) for k in range(3)]
    with pytest.raises(BrokenEntry, match="animated PNG"):
        decode_image(pillow_bytes(frames[0], "PNG", save_all=True, append_images=frames[1:]), "x", upright=True)


def test_plain_labels_are_as_stored():
    labels = np.arange(33, dtype=np.uint8).reshape(3, 11)
    assert np.array_equal(decode_labels(png(labels), "x"), labels)
    assert np.array_equal(decode_labels(png_of(8, RGB, [b"\7\7\7\x20\x20\x20"], 2), "x"), [[7, 32]])
