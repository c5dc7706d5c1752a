"""The plots of a sweep can be read."""

import pytest
from matplotlib.figure import Figure

from sweeps.plots import _few_ticks


@pytest.mark.parametrize("limits", [(1e-3, 1), (0.05, 1), (1e-5, 10)])
def test_ticks_of_a_logarithmic_axis_do_not_run_into_each_other(limits: tuple[float, float]):
    figure = Figure(figsize=(2, 4), dpi=100)  # a panel among four
    axis = figure.subplots()
    axis.set(xscale="log", xlim=limits)
    _few_ticks(axis.xaxis)
    figure.draw_without_rendering()
    shown = [label.get_window_extent() for label in axis.get_xticklabels() if label.get_text()]
    within = [box for box in shown if axis.bbox.x0 - 1 <= (box.x0 + box.x1) / 2 <= axis.bbox.x1 + 1]
    assert len(within) >= 2 and all(one.x1 < other.x0 for one, other in zip(within, within[1:], strict=False))
