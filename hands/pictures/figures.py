"""Pictures for people: overlays, frames in rows, learning curves, confusion matrices."""

from collections.abc import Sequence

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402
import numpy as np  # noqa: E402
import torch  # noqa: E402
from matplotlib.figure import Figure  # noqa: E402
from matplotlib.ticker import MaxNLocator  # noqa: E402
from PIL import Image, ImageDraw, ImageFont  # noqa: E402

from hands.evaluation.metrics import Scores, part_iou  # noqa: E402
from hands.parts import HANDS, IGNORED, NUM_CLASSES, PART_COLOURS, PART_NAMES  # noqa: E402

OPACITY = 0.6
GREY = 128  # of ignored pixels
TILE = 160  # pixels; frames smaller than this are enlarged to it
GAP, HEADING = 4, 20
FONT = ImageFont.load_default(13)
SWATCH, ROW = 12, 20  # of the legend, pixels


def overlay(image: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """One hand's parts painted over its picture: image (H, W, 3) uint8, labels (H, W) 0..16, or IGNORED, which is grey; returns
    (H, W, 3) uint8."""
    ignored = labels == IGNORED
    colours = np.where(ignored[..., None], GREY, PART_COLOURS[np.where(ignored, 0, labels)])
    painted = (1 - OPACITY) * image + OPACITY * colours
    return np.where((labels > 0)[..., None], painted, image).astype(np.uint8)


def to_uint8(images: torch.Tensor) -> np.ndarray:
    """Images (N, 3, S, S) in [0, 1] as (N, S, S, 3) uint8."""
    return images.detach().float().mul(255).round().clamp(0, 255).byte().permute(0, 2, 3, 1).cpu().numpy()


def frame_rows(
    images: torch.Tensor,
    truth: torch.Tensor | None,
    predicted: torch.Tensor | None,
    captions: Sequence[str],
    columns: int,
) -> Image.Image:
    """Frames as rows of tiles: picture, then per hand ground truth and prediction, as far as they are given.

    Args:
        images: (N, 3, S, S) in [0, 1]; truth, predicted: (N, 2, S, S), or None.
        captions: N short texts over the frames.
        columns: frames side by side.
    """
    sources = [(name, labels) for name, labels in (("truth", truth), ("predicted", predicted)) if labels is not None]
    headings = ["image"] + [f"{hand}, {name}" for hand in HANDS for name, _ in sources]
    tiles = []
    for n, picture in enumerate(to_uint8(images)):
        row = [picture]
        for hand in range(len(HANDS)):
            row += [overlay(picture, labels[n, hand].cpu().numpy()) for _, labels in sources]
        tiles.append(row)
    return tile_rows(tiles, headings, captions, columns)


def tile_rows(
    tiles: Sequence[Sequence[np.ndarray]], headings: Sequence[str], captions: Sequence[str], columns: int
) -> Image.Image:
    """Rows of equally large tiles (H, W, 3) under headings, each row with its caption, in `columns` columns; below them which
    colour is which part. Captions that are too long lose their middle."""
    frame_width = len(headings) * (TILE + GAP) + 2 * GAP
    height, width = tiles[0][0].shape[:2]
    tile_height = round(TILE * height / width)
    frame_height = tile_height + HEADING
    rows = -(-len(tiles) // columns)
    width_of_sheet, top_of_legend = columns * frame_width, HEADING + rows * frame_height + GAP
    places = legend_places(width_of_sheet)
    sheet = Image.new("RGB", (width_of_sheet, top_of_legend + places[-1][1] + ROW), "white")
    draw = ImageDraw.Draw(sheet)
    draw_legend(draw, places, top_of_legend)
    for column in range(min(columns, len(tiles))):
        for i, heading in enumerate(headings):
            draw.text((column * frame_width + i * (TILE + GAP) + GAP, 2), shortened(heading, TILE), fill="black", font=FONT)
    resample = Image.NEAREST if width < TILE else Image.BILINEAR
    for n, row in enumerate(tiles):
        left, top = (n % columns) * frame_width, HEADING + (n // columns) * frame_height
        draw.text((left + GAP, top + 1), shortened(captions[n], frame_width - 3 * GAP), fill="black", font=FONT)
        for i, tile in enumerate(row):
            enlarged = Image.fromarray(tile).resize((TILE, tile_height), resample)
            sheet.paste(enlarged, (left + i * (TILE + GAP) + GAP, top + HEADING - 2))
    return sheet


def shortened(text: str, width: float) -> str:
    """The text, without some of its middle where it is wider than `width` pixels."""
    if FONT.getlength(text) <= width:
        return text
    kept = len(text) - 1
    while kept > 2 and FONT.getlength(text[: kept // 2] + "…" + text[-(kept - kept // 2) :]) > width:
        kept -= 1
    return text[: kept // 2] + "…" + text[-(kept - kept // 2) :]


def legend_places(width: int) -> list[tuple[int, int]]:
    """Left and top of each part's entry in a legend of this width, in pixels."""
    places, left, top = [], GAP, 0
    for name in PART_NAMES[1:]:
        entry = SWATCH + 3 * GAP + round(FONT.getlength(name))
        if left + entry > width and left > GAP:
            left, top = GAP, top + ROW
        places.append((left, top))
        left += entry + GAP
    return places


def draw_legend(draw: ImageDraw.ImageDraw, places: list[tuple[int, int]], top: int) -> None:
    """The colours and names of parts 1..16, from `top` pixels on."""
    for part, (x, y) in enumerate(places, 1):
        draw.rectangle((x, top + y + 2, x + SWATCH, top + y + 2 + SWATCH), fill=tuple(PART_COLOURS[part].tolist()))
        draw.text((x + SWATCH + GAP, top + y), PART_NAMES[part], fill="black", font=FONT)


def learning_curves(history: Sequence[tuple[int, dict[str, float]]]) -> Figure:
    """Losses, mIoU and discriminator accuracy over the epochs: history is (epoch, metrics) in order. Of a metric that has one
    value only, the legend tells it."""
    groups = [
        ("losses", [name for name in _names(history) if name.startswith("train/loss")]),
        ("mean IoU", [name for name in _names(history) if name.startswith("val/miou")]),
        ("shares", [name for name in _names(history) if name.startswith(("train/d_", "train/kept", "val/absent"))]),
    ]
    groups = [(title, names) for title, names in groups if names]
    figure, axes = plt.subplots(1, len(groups), figsize=(6 * len(groups), 4.2), squeeze=False, layout="constrained")
    for axis, (title, names) in zip(axes[0], groups, strict=True):
        for name in names:
            points = [(epoch, metrics[name]) for epoch, metrics in history if name in metrics]
            label = name if len(points) > 1 else f"{name} {points[0][1]:.3f}"
            axis.plot(*zip(*points, strict=True), marker="o", markersize=4, label=label)
        axis.set(title=title, xlabel="epoch", xlim=(history[0][0] - 0.5, history[-1][0] + 0.5))
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
        axis.grid(alpha=0.3)
        axis.legend(fontsize=8)
    plt.close(figure)
    return figure


def _names(history: Sequence[tuple[int, dict[str, float]]]) -> list[str]:
    return sorted({name for _, metrics in history for name in metrics})


def confusion_figure(confusion: np.ndarray) -> Figure:
    """Row-normalised confusion matrices of both hands, one below the other, from (2, 17, 17) counts; numbers are per cent."""
    shares = confusion / np.maximum(confusion.sum(axis=2, keepdims=True), 1)
    figure, axes = plt.subplots(len(HANDS), 1, figsize=(9, 17), layout="constrained")
    for axis, hand, values in zip(axes, HANDS, shares, strict=True):
        picture = axis.imshow(values, vmin=0, vmax=1, cmap="viridis")
        axis.set_xticks(range(NUM_CLASSES), PART_NAMES, rotation=90, fontsize=10)
        axis.set_yticks(range(NUM_CLASSES), PART_NAMES, fontsize=10)
        axis.set(title=f"{hand} hand", xlabel="predicted", ylabel="ground truth")
        for row, column in zip(*np.nonzero(values >= 0.05), strict=True):
            shade = "black" if values[row, column] > 0.6 else "white"
            per_cent = f"{100 * values[row, column]:.0f}"
            axis.text(column, row, per_cent, ha="center", va="center", fontsize=10, color=shade)
    figure.colorbar(picture, ax=axes, shrink=0.4, label="share of the ground-truth class")
    plt.close(figure)
    return figure


def part_table(scores: Scores) -> dict[str, list]:
    """Columns for a table of parts 1..16: pixels of ground truth and IoU, per hand and together."""
    confusion = torch.from_numpy(scores.confusion)
    columns = {"id": list(range(1, NUM_CLASSES)), "part": list(PART_NAMES[1:])}
    for hand, counts in zip(HANDS, confusion, strict=True):
        columns[f"iou_{hand}"] = part_iou(counts).tolist()
        columns[f"pixels_{hand}"] = counts.sum(1)[1:].tolist()
    columns["iou"] = part_iou(confusion.sum(0)).tolist()
    return columns
