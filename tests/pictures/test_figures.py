"""Pictures for people: colours where they belong, sheets of the right size, figures that draw."""

import io
import math

import numpy as np
import pytest
import torch
from matplotlib import pyplot as plt
from PIL import Image

from hands.evaluation.metrics import HandsIoU, Scores, confusion_matrices, overlap_confusion
from hands.parts import IGNORED, PART_COLOURS, PART_NAMES
from hands.pictures.figures import (
    GAP,
    OPACITY,
    TILE,
    confusion_figure,
    frame_rows,
    learning_curves,
    overlay,
    part_table,
    sheet_font,
    shortened,
    spread,
    tile_rows,
    to_uint8,
)
from hands.pictures.legend import Legend


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
    font = sheet_font(width, TILE)
    line = round(1.4 * font.size)
    assert sheet.size == (width, line + rows * (TILE + line) + GAP + Legend(width, font, False).height)


def below_the_tiles(sheet) -> list[tuple[int, ...]]:
    """Colours of a sheet whose tiles are black, but for black and white and the shades of letters."""
    return [colour for count, colour in sheet.getcolors(1 << 20) if count >= 50 and len(set(colour)) > 1]


@pytest.mark.parametrize("columns", [1, 3])
def test_every_sheet_says_which_colour_is_which_part(columns: int):
    sheet = frame_rows(torch.zeros(3, 3, 32, 32), None, None, 3 * ["caption"], columns)
    assert sorted(below_the_tiles(sheet)) == sorted(map(tuple, PART_COLOURS[1:].tolist()))
    names = [name for name, *_ in Legend(sheet.width, sheet_font(sheet.width, TILE), False).entries]
    assert names[:6] == ["palm and wrist", "thumb", "index", "middle", "ring", "pinky"]


def test_the_legend_names_grey_where_labels_are_not_known():
    labels = torch.zeros(1, 2, 32, 32, dtype=torch.int64)
    known = frame_rows(torch.zeros(1, 3, 32, 32), labels, None, ["caption"], 1)
    labels[0, 0, 0, 0] = IGNORED
    sheet = frame_rows(torch.zeros(1, 3, 32, 32), labels, None, ["caption"], 1)
    grey = [dict(map(reversed, picture.getcolors(1 << 20))).get((128, 128, 128), 0) for picture in (known, sheet)]
    assert grey[1] >= grey[0] + 100


@pytest.mark.parametrize(("headings", "columns", "side"), [(5, 2, TILE), (3, 3, TILE), (3, 1, 320), (2, 1, 1024)])
def test_letters_can_be_read_at_the_size_of_the_screen(headings: int, columns: int, side: int):
    """MLflow shows a picture 880 pixels wide at most."""
    width = columns * (headings * (side + GAP) + 2 * GAP)
    font = sheet_font(width, side)
    assert font.size * min(1, 880 / width) >= 10
    assert font.getlength("right, predicted") <= side


def test_tiles_keep_their_pixels_at_their_own_size():
    tile = np.random.default_rng(0).integers(0, 256, (40, 200, 3), np.uint8)
    sheet = np.asarray(tile_rows([[tile, tile]], ["left hand", "right hand"], ["a"], 1, side=200))
    line = round(1.4 * sheet_font(sheet.shape[1], 200).size)
    for left in (GAP, 200 + 2 * GAP):
        assert np.array_equal(sheet[2 * line :][:40, left : left + 200], tile)


def test_captions_do_not_run_into_each_other():
    caption, font = "val/Capture0/ROM04_RT_Occlusion/cam400002/image29590", sheet_font(800, TILE)
    short = shortened(caption, 200, font)
    assert font.getlength(short) <= 200 < font.getlength(caption)
    assert short.startswith("val/Capture0") and short.endswith("29590") and "…" in short
    assert shortened(caption, 1000, font) == caption


@pytest.mark.parametrize(("n", "count", "positions"), [(10, 4, [0, 3, 6, 9]), (3, 8, [0, 1, 2]), (1, 8, [0])])
def test_frames_are_spread_evenly(n: int, count: int, positions: list[int]):
    assert spread(n, count).tolist() == positions


def test_each_tile_shows_its_own_hand():
    """The order of tiles: picture, left truth, left prediction, right truth, right prediction."""
    images = torch.zeros(1, 3, 16, 16)
    truth, predicted = torch.full((1, 2, 16, 16), 1), torch.full((1, 2, 16, 16), 2)
    truth[:, 1], predicted[:, 1] = 8, 12
    sheet = np.asarray(frame_rows(images, truth, predicted, ["x"], 1))
    middles = [sheet[40 + TILE // 2, i * (TILE + GAP) + TILE // 2] for i in range(5)]
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
    assert {line.get_marker() for axis in figure.axes for line in axis.lines} == {"o"}  # a single point is seen
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
    axis = figure.axes[0]
    names = [label.get_text() for label in axis.get_yticklabels()]
    assert names == [label.get_text() for label in axis.get_xticklabels()] and sorted(names) == sorted(PART_NAMES)
    shown, row = axis.images[0].get_array(), names.index("pinky proximal")
    assert shown[row, row] == 0.75 and shown[row, names.index("middle proximal")] == 0.25 and shown.sum() == 1
    assert names.index("pinky distal") == row + 2  # a finger's parts stand together
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
