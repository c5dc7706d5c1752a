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
from hands.parts import BACKGROUND, HANDS, IGNORED, NUM_CLASSES, PART_COLOURS, PART_NAMES  # noqa: E402
from hands.pictures.legend import ENTRIES, GREY, Legend  # noqa: E402

OPACITY = 0.6
TILE = 160  # pixels; frames smaller than this are enlarged to it
GAP = 4
LETTERS, SHOWN = 13, 1000  # pixels: height of letters where a sheet is shown so wide, as MLflow does


def overlay(image: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """One hand's parts painted over its picture: image (H, W, 3) uint8, labels (H, W) 0..16, or IGNORED, which is grey; returns
    (H, W, 3) uint8."""
    ignored = labels == IGNORED
    colours = np.where(ignored[..., None], GREY, PART_COLOURS[np.where(ignored, 0, labels)])
    painted = (1 - OPACITY) * image + OPACITY * colours
    return np.where((labels > 0)[..., None], painted, image).astype(np.uint8)


def spread(n: int, count: int) -> np.ndarray:
    """Up to `count` positions, evenly over n."""
    return np.unique(np.linspace(0, n - 1, min(n, count)).astype(np.int64))


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
    return tile_rows(tiles, headings, captions, columns, unknown=truth is not None and bool((truth == IGNORED).any()))


def tile_rows(
    tiles: Sequence[Sequence[np.ndarray]],
    headings: Sequence[str],
    captions: Sequence[str],
    columns: int,
    side: int = TILE,
    unknown: bool = False,
) -> Image.Image:
    """Rows of equally large tiles (H, W, 3) under headings, each row with its caption, in `columns` columns; below them which
    colour is which part. Captions that are too long lose their middle.

    Args:
        side: width of a tile on the sheet, pixels.
        unknown: whether some pixels are grey, since their label is not known.
    """
    frame_width = len(headings) * (side + GAP) + 2 * GAP
    font = sheet_font(columns * frame_width, side)
    line = round(1.4 * font.size)
    height, width = tiles[0][0].shape[:2]
    tile_height = round(side * height / width)
    frame_height = tile_height + line
    top_of_legend = line + -(-len(tiles) // columns) * frame_height + GAP
    legend = Legend(columns * frame_width, font, unknown)
    sheet = Image.new("RGB", (columns * frame_width, top_of_legend + legend.height), "white")
    draw = ImageDraw.Draw(sheet)
    legend.draw(draw, top_of_legend)
    for column in range(min(columns, len(tiles))):
        for i, heading in enumerate(headings):
            left = column * frame_width + i * (side + GAP) + GAP
            draw.text((left, 1), shortened(heading, side, font), fill="black", font=font)
    resample = Image.NEAREST if width < side else Image.BILINEAR
    for n, row in enumerate(tiles):
        left, top = (n % columns) * frame_width, line + (n // columns) * frame_height
        draw.text((left + GAP, top), shortened(captions[n], frame_width - 3 * GAP, font), fill="black", font=font)
        for i, tile in enumerate(row):
            enlarged = Image.fromarray(tile).resize((side, tile_height), resample)
            sheet.paste(enlarged, (left + i * (side + GAP) + GAP, top + line))
    return sheet


def sheet_font(width: int, side: int) -> ImageFont.FreeTypeFont:
    """Of a sheet of this width, wider than SHOWN or not, and tiles of this side: no larger than headings over them may be."""
    return ImageFont.load_default(round(min(LETTERS * max(1, width / SHOWN), side / 8)))


def shortened(text: str, width: float, font: ImageFont.FreeTypeFont) -> str:
    """The text, without some of its middle where it is wider than `width` pixels."""
    if font.getlength(text) <= width:
        return text
    kept = len(text) - 1
    while kept > 2 and font.getlength(text[: kept // 2] + "…" + text[-(kept - kept // 2) :]) > width:
        kept -= 1
    return text[: kept // 2] + "…" + text[-(kept - kept // 2) :]


def learning_curves(history: Sequence[tuple[int, dict[str, float]]]) -> Figure:
    """Losses, mIoU and discriminator accuracy over the epochs, one below the other: history is (epoch, metrics) in order. Of a
    metric that has one value only, the legend tells it."""
    groups = [
        ("losses", [name for name in _names(history) if name.startswith("train/loss")]),
        ("mean IoU", [name for name in _names(history) if name.startswith("val/miou")]),
        ("shares", [name for name in _names(history) if name.startswith(("train/d_", "train/kept", "val/absent"))]),
    ]
    groups = [(title, names) for title, names in groups if names]
    figure, axes = plt.subplots(len(groups), 1, figsize=(9, 3.2 * len(groups)), squeeze=False, layout="constrained")
    for axis, (title, names) in zip(axes[:, 0], groups, strict=True):
        for name in names:
            points = [(epoch, metrics[name]) for epoch, metrics in history if name in metrics]
            label = name if len(points) > 1 else f"{name} {points[0][1]:.3f}"
            style = "--" if name == "train/loss_total" else "-"  # a sum of one loss lies on it
            axis.plot(*zip(*points, strict=True), style, marker="o", markersize=4, label=label)
        axis.set(title=title, xlabel="epoch", xlim=(history[0][0] - 0.5, history[-1][0] + 0.5))
        axis.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        axis.grid(alpha=0.3)
        axis.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    plt.close(figure)
    return figure


def _names(history: Sequence[tuple[int, dict[str, float]]]) -> list[str]:
    return sorted({name for _, metrics in history for name in metrics})


def confusion_figure(confusion: np.ndarray) -> Figure:
    """Row-normalised confusion matrices of both hands, one below the other, from (2, 17, 17) counts; numbers are per cent. The
    parts of a finger stand side by side."""
    order = [BACKGROUND, *(part for _, parts in ENTRIES for part in parts)]
    names = [PART_NAMES[part] for part in order]
    confusion = confusion[:, order][:, :, order]
    shares = confusion / np.maximum(confusion.sum(axis=2, keepdims=True), 1)
    figure, axes = plt.subplots(len(HANDS), 1, figsize=(9, 17), layout="constrained")
    for axis, hand, values in zip(axes, HANDS, shares, strict=True):
        picture = axis.imshow(values, vmin=0, vmax=1, cmap="viridis")
        axis.set_xticks(range(NUM_CLASSES), names, rotation=90, fontsize=10)
        axis.set_yticks(range(NUM_CLASSES), names, fontsize=10)
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
