"""Damaged and hostile bytes as pictures and label maps: each ends in a value or in InvalidInput, never in anything else."""

import struct
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hands.errors import InvalidInput
from hands.files.decoding import decode_image, decode_labels
from tests.files.pngs import with_good_checksums
from tests.hostile_input import ends_well, examples, mutated
from tests.raw.independent_layout import a_picture, jpeg, label_pngs, png, some_labels, three_channels

PICTURE = a_picture(12, 9, 1)
IMAGES = [png(PICTURE), jpeg(PICTURE), png(PICTURE[..., 0]), jpeg(PICTURE[..., 0])]
LABELS = [*label_pngs(some_labels(12, 9, 1)), png(some_labels(12, 9, 2)[0])]


@examples(500)
@given(mutated(IMAGES), st.booleans())
def test_images(encoded: bytes, upright: bool):
    ends_well(lambda: decode_image(encoded, "x", upright))


@examples(300)
@given(mutated([IMAGES[0], IMAGES[2]]))
def test_images_with_right_checksums(encoded: bytes):
    ends_well(lambda: decode_image(with_good_checksums(encoded), "x", upright=True))


@examples(300)
@given(mutated(LABELS))
def test_labels(encoded: bytes):
    ends_well(lambda: decode_labels(encoded, "x"))
    ends_well(lambda: decode_labels(with_good_checksums(encoded), "x"))


@examples(100)
@given(st.binary(max_size=300))
def test_any_bytes_as_pictures(encoded: bytes):
    ends_well(lambda: decode_image(encoded, "x", upright=True))
    ends_well(lambda: decode_image(b"\x89PNG\r\n\x1a\n" + encoded, "x", upright=True))
    ends_well(lambda: decode_image(b"\xff\xd8\xff" + encoded, "x", upright=True))


@pytest.mark.parametrize(
    "rows", [b"\x09" + b"\x01" * 30, b"\x00" * 5, b"", b"\x00" * 100000], ids=["filter", "short", "none", "long"]
)
def test_pngs_whose_pixels_do_not_fit_their_header(rows: bytes):
    content = IMAGES[0][:33] + struct.pack(">I", 0) + b"IDAT" + bytes(4) + IMAGES[0][-12:]
    body = zlib.compress(rows)
    content = content[:33] + struct.pack(">I", len(body)) + b"IDAT" + body + bytes(4) + IMAGES[0][-12:]
    ends_well(lambda: decode_image(with_good_checksums(content), "x", upright=False))


def test_labels_of_a_png_bomb_are_refused_unread():
    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    whole = png(three_channels(np.zeros((4, 4), np.uint8)))
    bomb = with_good_checksums(whole[:16] + header + whole[29:])
    with pytest.raises(InvalidInput, match="limit|exceeds"):
        decode_labels(bomb, "x")
