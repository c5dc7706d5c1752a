"""Encoded pictures and label maps: modes that are read, and files that are refused."""

import struct
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from hands.files.decoding import BrokenEntry, decode_image, decode_labels
from tests.files.pngs import png_header
from tests.raw.independent_layout import a_picture, jpeg, png, three_channels


def test_labels_need_equal_channels_or_one():
    labels = np.arange(12, dtype=np.uint8).reshape(3, 4)
    assert np.array_equal(decode_labels(png(labels), "x"), labels)
    assert np.array_equal(decode_labels(png(three_channels(labels)), "x"), labels)
    differing = three_channels(labels)
    differing[1, 1, 2] += 1
    with pytest.raises(BrokenEntry, match="channels that differ"):
        decode_labels(png(differing), "x")
    with pytest.raises(BrokenEntry, match="an alpha channel"):
        decode_labels(png(np.zeros((3, 4, 4), np.uint8)), "x")
    with pytest.raises(BrokenEntry, match="whole PNG"):
        decode_labels(jpeg(three_channels(labels)), "x")


def test_grey_and_transparent_images_are_read_as_rgb():
    grey = np.arange(12, dtype=np.uint8).reshape(3, 4)
    assert np.array_equal(decode_image(png(grey), "x", upright=False), three_channels(grey))
    bgra = np.zeros((2, 2, 4), np.uint8)
    bgra[..., 2] = 200  # OpenCV writes it as red
    assert decode_image(png(bgra), "x", upright=False).tolist() == [[[200, 0, 0]] * 2] * 2
    smooth = a_picture(40, 40, 3)[..., 0]
    assert np.abs(decode_image(jpeg(smooth), "x", upright=False) - three_channels(smooth).astype(int)).max() < 8


def test_every_truncation_of_a_picture_is_refused():
    picture = a_picture(9, 7, 1)
    for whole in (png(picture), jpeg(picture)):
        decode_image(whole, "x", upright=False)
        for length in range(len(whole)):
            with pytest.raises(BrokenEntry):
                decode_image(whole[:length], "x", upright=False)


@pytest.mark.parametrize(("width", "height"), [(100_000, 100_000), (50_001, 1000), (2**31 - 1, 1)])
def test_refuses_huge_pictures_by_their_header(width: int, height: int):
    with pytest.raises(BrokenEntry, match="limit|exceeds"):
        decode_image(png_header(width, height) + png(np.zeros((1, 1), np.uint8))[33:], "x", upright=False)


def test_refuses_huge_jpegs_by_their_header():
    encoded = bytearray(jpeg(a_picture(8, 8, 0)))
    start = encoded.index(b"\xff\xc0")
    encoded[start + 5 : start + 9] = struct.pack(">HH", 65000, 65000)
    with pytest.raises(BrokenEntry, match="limit|exceeds"):
        decode_image(bytes(encoded), "x", upright=False)


def test_refuses_other_kinds_of_pictures(tmp_path: Path):
    frames = [Image.new("RGB", (4, 4), (k, 0, 0)) for k in range(3)]
    frames[0].save(tmp_path / "a.png", save_all=True, append_images=frames[1:])
    frames[0].save(tmp_path / "a.gif")
    frames[0].save(tmp_path / "a.bmp")
    cv2.imwrite(str(tmp_path / "deep.png"), np.zeros((4, 4), np.uint16))
    for name, message in (("a.png", "animated"), ("a.gif", "decoded"), ("a.bmp", "decoded"), ("deep.png", "16 bits a channel")):
        with pytest.raises(BrokenEntry, match=message):
            decode_image((tmp_path / name).read_bytes(), name, upright=False)
