"""The figures of a comparison of models, and the one page that holds them."""

import base64
import io
from collections.abc import Sequence
from pathlib import Path

import jinja2
import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402
import numpy as np  # noqa: E402
from matplotlib.figure import Figure  # noqa: E402
from PIL import Image  # noqa: E402

from hands.parts import PART_NAMES  # noqa: E402
from hands.pictures.legend import ENTRIES  # noqa: E402

TEMPLATE = Path(__file__).parent / "comparison.html"
BESIDE = {"loc": "center left", "bbox_to_anchor": (1, 0.5)}  # a legend of many long names, which would hide curves


def part_bars(names: Sequence[str], ious: np.ndarray) -> Figure:
    """IoU of each part, a bar a model, finger by finger: ious (models, 16), NaN where a part is nowhere."""
    order = [part for _, parts in ENTRIES for part in parts]
    figure, axis = plt.subplots(figsize=(12, 4.2), layout="constrained")
    width = 0.8 / len(names)
    places = np.arange(len(order))
    for i, (name, values) in enumerate(zip(names, ious[:, np.array(order) - 1], strict=True)):
        axis.bar(places + (i - (len(names) - 1) / 2) * width, values, width, label=name)
    axis.set_xticks(places, [PART_NAMES[part] for part in order], rotation=35, ha="right")
    axis.set(ylabel="IoU over the split", ylim=(0, 1))
    axis.grid(axis="y", alpha=0.3)
    axis.legend(fontsize=9, **BESIDE)
    plt.close(figure)
    return figure


def curves_figure(curves: Sequence[tuple[str, int, Sequence[tuple[int, float]]]]) -> Figure:
    """val/miou over the epochs: (name, number of its colour, points (epoch, value)) for every model, seeds in one colour."""
    figure, axis = plt.subplots(figsize=(8, 4.2), layout="constrained")
    named = set()
    for name, number, points in curves:
        if points:
            axis.plot(*zip(*points, strict=True), marker="o", markersize=3, color=f"C{number % 10}",
                      label=None if name in named else name)  # fmt: skip
            named.add(name)
    axis.set(xlabel="epoch of the last training step", ylabel="val/miou")
    axis.grid(alpha=0.3)
    if named:
        axis.legend(fontsize=9, **BESIDE)
    plt.close(figure)
    return figure


def reliability_figure(names: Sequence[str], counts: Sequence[np.ndarray]) -> Figure:
    """Share of right pixels over the probability that the model gave them; counts: (bins, 3) as evaluation.detail has them."""
    figure, axis = plt.subplots(figsize=(8, 4.6), layout="constrained")
    axis.plot([0, 1], [0, 1], color="0.6", linestyle="--", linewidth=1)
    for name, (pixels, confidence, right) in zip(names, (table.T for table in counts), strict=True):
        filled = pixels > 0
        axis.plot(confidence[filled] / pixels[filled], right[filled] / pixels[filled], marker="o", markersize=4, label=name)
    axis.set(xlabel="probability of the predicted part", ylabel="share that is right", xlim=(0, 1), ylim=(0, 1))
    axis.grid(alpha=0.3)
    axis.legend(fontsize=9, **BESIDE)
    plt.close(figure)
    return figure


def comparison_page(**content: object) -> str:
    """The page as HTML that needs nothing else: pictures and figures are in it.

    Args:
        content: what comparison.html names; figures and pictures as `embedded` gives them.
    """
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    return environment.from_string(TEMPLATE.read_text()).render(content)


def embedded(picture: Figure | Image.Image) -> str:
    """A PNG as a data URI."""
    file = io.BytesIO()
    if isinstance(picture, Figure):
        picture.savefig(file, format="png", dpi=120)
    else:
        picture.save(file, "PNG")
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()
