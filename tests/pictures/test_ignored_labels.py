"""Ignored pixels are grey."""

import numpy as np
import torch

from hands.parts import IGNORED, PART_COLOURS
from hands.pictures.figures import frame_rows, overlay


def test_overlay_paints_ignored_pixels_grey():
    image = np.full((1, 3, 3), 100, dtype=np.uint8)
    painted = overlay(image, np.array([[0, 9, IGNORED]], dtype=np.uint8))
    assert painted[0, 0].tolist() == [100, 100, 100]
    assert np.array_equal(painted[0, 1], (0.4 * 100 + 0.6 * PART_COLOURS[9]).astype(np.uint8))
    assert painted[0, 2].tolist() == 3 * [int(0.4 * 100 + 0.6 * 128)]


def test_rows_of_frames_take_them():
    labels = torch.full((1, 2, 16, 16), IGNORED)
    sheet = frame_rows(torch.zeros(1, 3, 16, 16), labels, labels * 0, ["frame"], 1)
    colours = {colour for _, colour in sheet.getcolors(1 << 20)}
    assert (76, 76, 76) in colours  # 0.6 x 128 on black
