"""Figures of a comparison: bars stand over their part's name, and legends beside what they explain."""

import numpy as np
import pytest

from hands.parts import PART_NAMES
from hands.pictures.comparison import curves_figure, part_bars, reliability_figure

NAMES = ["A (m-0123456789abcdef0123456789abcdef)", "B (m-fedcba9876543210fedcba9876543210)"]


def test_bars_stand_over_their_part_finger_by_finger():
    ious = np.stack([np.arange(1, 17) / 16, np.zeros(16)])
    (axis,) = part_bars(NAMES, ious).axes
    names = [label.get_text() for label in axis.get_xticklabels()]
    heights = [bar.get_height() for bar in axis.containers[0]]
    assert {name: round(16 * height) for name, height in zip(names, heights, strict=True)} == {
        name: part for part, name in enumerate(PART_NAMES) if part
    }
    assert [name.split()[0] for name in names[:7]] == ["palm", *3 * ["thumb"], *3 * ["index"]]


@pytest.mark.parametrize(
    "figure",
    [
        part_bars(NAMES, np.ones((2, 16))),
        curves_figure([(name, i, [(1, 0.5)]) for i, name in enumerate(NAMES)]),
        reliability_figure(NAMES, 2 * [np.ones((10, 3))]),
    ],
    ids=["bars", "curves", "reliability"],
)
def test_the_legend_hides_nothing(figure):
    figure.draw_without_rendering()
    (axis,) = figure.axes
    legend, plot = axis.get_legend().get_window_extent(), axis.get_window_extent()
    assert legend.x0 >= plot.x1 and legend.x1 <= figure.bbox.x1 and plot.width > 0.4 * figure.bbox.width
