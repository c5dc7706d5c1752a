"""Pictures for people: colours where they belong, sheets of the right size, figures that draw."""

import io
import math

import numpy as np
import pytest
import torch
from matplotlib import pyplot as plt
from PIL import Image

from hands.evaluation.metrics import HandsIoU, Scores, confusion_matrices, overlap_confusion
from hands.parts import PART_COLOURS
from hands.pictures.figures import (
    FONT,
    GAP,
    HEADING,
    OPACITY,
    ROW,
    TILE,
    confusion_figure,
    frame_rows,
    learning_curves,
    legend_places,
    overlay,
    part_table,
    shortened,
    to_uint8,
)


def drawn(figure) -> np.ndarray:
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=40)
    return np.asarray(Image.open(file).convert("RGB"))


def test_overlay_paints_parts_and_leaves_the_rest():
    image = np.full((2, 3, 3), 100, dtype=np.uint8)
    labels = np.array([[0, 9, 0], [0, 0, 16]])
    painted = overlay(image, labels)
    assert painted.dtype == np.uint8
    assert (painted[labels == 0] == 100).all()
    for part in (9, 16):
        expected = (1 - OPACITY) * 100 + OPACITY * PART_COLOURS[part].astype(float)
        np.testing.assert_allclose(painted[labels == part][0], expected, atol=1)
    assert (image == 100).all()


def test_to_uint8_rounds_and_clips():
    images = torch.tensor([0.0, 0.4999 / 255, 0.6 / 255, 1.0, 1.7]).view(1, 1, 1, 5).expand(1, 3, 1, 5)
    assert to_uint8(images)[0, 0, :, 0].tolist() == [0, 0, 1, 255, 255]


@pytest.mark.parametrize(("with_truth", "with_prediction", "tiles"), [(1, 1, 5), (1, 0, 3), (0, 1, 3), (0, 0, 1)])
@pytest.mark.parametrize(("n", "columns", "rows"), [(5, 2, 3), (1, 1, 1), (4, 4, 1)])
def test_frames_stand_in_rows(with_truth: int, with_prediction: int, tiles: int, n: int, columns: int, rows: int):
    images = torch.rand(n, 3, 32, 32)
    labels = torch.randint(0, 17, (n, 2, 32, 32))
    sheet = frame_rows(
        images, labels if with_truth else None, labels.byte() if with_prediction else None, n * ["caption"], columns
    )
    width = columns * (tiles * (TILE + GAP) + 2 * GAP)
    legend = legend_places(width)[-1][1] + ROW
    assert sheet.size == (width, HEADING + rows * (TILE + HEADING) + GAP + legend)


def test_every_sheet_says_which_colour_is_which_part():
    sheet = np.asarray(frame_rows(torch.zeros(1, 3, 32, 32), None, None, ["caption"], 1))
    top = HEADING + TILE + HEADING + GAP
    for part, (x, y) in enumerate(legend_places(sheet.shape[1]), 1):
        assert (sheet[top + y + 8, x + 6] == PART_COLOURS[part]).all()


def test_captions_do_not_run_into_each_other():
    caption = "val/Capture0/ROM04_RT_Occlusion/cam400002/image29590"
    short = shortened(caption, 200)
    assert FONT.getlength(short) <= 200 < FONT.getlength(caption)
    assert short.startswith("val/Capture0") and short.endswith("29590") and "…" in short
    assert shortened(caption, 1000) == caption


def test_each_tile_shows_its_own_hand():
    """The order of tiles: picture, left truth, left prediction, right truth, right prediction."""
    images = torch.zeros(1, 3, 16, 16)
    truth, predicted = torch.full((1, 2, 16, 16), 1), torch.full((1, 2, 16, 16), 2)
    truth[:, 1], predicted[:, 1] = 8, 12
    sheet = np.asarray(frame_rows(images, truth, predicted, ["x"], 1))
    middles = [sheet[HEADING + TILE // 2, i * (TILE + GAP) + TILE // 2] for i in range(5)]
    expected = [np.zeros(3)] + [OPACITY * PART_COLOURS[part].astype(float) for part in (1, 2, 8, 12)]
    np.testing.assert_allclose(middles, expected, atol=1)


def test_learning_curves_draw_what_is_there():
    history = [
        (1, {"train/loss_ce": 2.0, "train/images_per_s": 9.0}),
        (2, {"train/loss_ce": 1.0, "val/miou": 0.1, "val/miou_single": math.nan, "train/d_real_acc": 0.5}),
    ]
    figure = learning_curves(history)
    assert [axis.get_title() for axis in figure.axes] == ["losses", "mean IoU", "shares"]
    lines = {line.get_label(): line.get_xdata().tolist() for axis in figure.axes for line in axis.lines}
    assert lines["train/loss_ce"] == [1, 2] and lines["val/miou 0.100"] == [2]
    assert "train/images_per_s" not in lines
    assert drawn(figure).std() > 0


def test_learning_curves_of_one_kind_alone():
    assert len(learning_curves([(1, {"train/loss_ce": 2.0})]).axes) == 1


def test_figures_are_closed():
    before = plt.get_fignums()
    learning_curves([(1, {"train/loss_ce": 2.0})])
    confusion_figure(np.zeros((2, 17, 17), dtype=np.int64))
    assert plt.get_fignums() == before


def test_confusion_is_drawn_as_shares_of_the_truth():
    confusion = np.zeros((2, 17, 17), dtype=np.int64)
    confusion[0, 3, 3], confusion[0, 3, 4] = 30, 10
    figure = confusion_figure(confusion)
    shown = figure.axes[0].images[0].get_array()
    assert shown[3, 3] == 0.75 and shown[3, 4] == 0.25 and shown.sum() == 1
    assert sorted(text.get_text() for text in figure.axes[0].texts) == ["25", "75"]
    assert drawn(figure).std() > 0


def test_part_table_by_hand():
    labels, predicted = torch.zeros(1, 2, 16, 16, dtype=torch.int64), torch.zeros(1, 2, 16, 16, dtype=torch.int64)
    labels[0, 0, 0, :8], predicted[0, 0, 0, :4] = 5, 5
    labels[0, 1, 0, :8], predicted[0, 1, 0, :8] = 5, 5
    metric = HandsIoU(16)
    metric.update(
        confusion_matrices(predicted, labels), overlap_confusion(predicted, labels), torch.tensor([2], dtype=torch.uint8)
    )
    scores = metric.scores()
    assert isinstance(scores, Scores)
    table = part_table(scores)
    assert table["id"][4] == 5 and table["part"][4] == "middle distal"
    assert (table["iou_left"][4], table["iou_right"][4], table["iou"][4]) == (0.5, 1.0, 0.75)
    assert (table["pixels_left"][4], table["pixels_right"][4]) == (8, 8)
    assert math.isnan(table["iou"][0])
    assert {len(column) for column in table.values()} == {16}
