"""The plots of a sweep: Optuna's, a PNG each, and all of them on one page to zoom and point at."""

import tempfile
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import mlflow
import optuna
from optuna.trial import FrozenTrial, TrialState

from hands.processes.progress import say
from sweeps.study import FIRST

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis

PLOTS = ("optimization_history", "param_importances", "parallel_coordinate", "slice", "intermediate_values")
BEST, KNOWN, COMPLETE, CUT = "best", "known weights", "complete", "pruned or failed"
COLOURS = {BEST: "tab:red", KNOWN: "tab:blue", COMPLETE: "0.5", CUT: "tab:orange"}
CURVES = "Learning curves"


def log_plots(study: optuna.Study, metric: str) -> None:
    """Logs history, importance, parallel coordinates, slices and the trials' curves to plots/ of the active run.

    Importance needs two complete trials that differ; without, it is left out.

    Args:
        study: with a complete trial at least.
        metric: the score's name, for the axes.
    """
    import matplotlib.pyplot as plt

    figures = {}
    with warnings.catch_warnings(), plt.style.context("ggplot"), tempfile.TemporaryDirectory() as folder:
        warnings.simplefilter("ignore")
        for name in PLOTS:
            curves = name == "intermediate_values"
            options = {} if curves else {"target_name": metric}
            try:
                axes = getattr(optuna.visualization.matplotlib, f"plot_{name}")(study, **options)
                figure = getattr(optuna.visualization, f"plot_{name}")(study, **options)
            except (ValueError, RuntimeError) as error:
                if name != "param_importances":
                    raise
                say(f"== no {name} yet: {error}")
                continue
            if curves:
                _tell_apart(axes, study, metric)
                figure.update_layout(title=CURVES, xaxis_title="epoch", yaxis_title=metric)
            if name == "parallel_coordinate":
                # Optuna's colours start at white, on white
                axes.collections[0].set_cmap("viridis_r")
                figure.update_traces(opacity=1).update_layout(plot_bgcolor="silver")
            _png(axes, Path(folder) / f"{name}.png")
            figures[name] = figure
        (Path(folder) / "plots.html").write_text(_page(figures))
        mlflow.log_artifacts(folder, "plots")


def _tell_apart(axes: "Axes", study: optuna.Study, metric: str) -> None:
    """Colours the curves by how the trials ended: one colour a trial does not tell thirty of them apart."""
    trials, best, named = study.get_trials(deepcopy=False), study.best_trial.number, set()
    for line in axes.get_lines():
        trial = trials[int(line.get_label().removeprefix("Trial"))]
        kind = BEST if trial.number == best else _kind(trial)
        line.set(color=COLOURS[kind], zorder=3 if kind == BEST else 2, linewidth=2.5 if kind == BEST else 1.5)
        label = f"{BEST} (trial {best})" if kind == BEST else kind
        line.set_label(label if label not in named else "_" + label)
        named.add(label)
    axes.legend(loc="upper left")
    axes.set(title=CURVES, xlabel="epoch", ylabel=metric)


def _kind(trial: FrozenTrial) -> str:
    if trial.state != TrialState.COMPLETE:
        return CUT
    return KNOWN if trial.user_attrs.get(FIRST) else COMPLETE


def _png(axes, path: Path) -> None:
    import matplotlib.pyplot as plt
    import numpy as np

    figure = np.ravel(axes)[0].figure
    if path.stem == "parallel_coordinate":
        for each in figure.axes:
            each.grid(False)
    for each in figure.axes:
        for axis in (each.xaxis, each.yaxis):
            if axis.get_scale() == "log":
                _few_ticks(axis)
    figure.set_size_inches(max(8.0, 2.2 * len(figure.axes)), 6)
    figure.savefig(path, dpi=100, bbox_inches="tight")
    plt.close(figure)


def _few_ticks(axis: "Axis") -> None:
    """Plain numbers that do not run into each other."""
    from matplotlib.ticker import LogLocator, NullFormatter

    low, high = axis.get_view_interval()
    axis.set_major_locator(LogLocator(subs=(1, 2, 5) if high < 50 * low else (1,)))
    axis.set_major_formatter("{x:g}")
    axis.set_minor_formatter(NullFormatter())


def _page(figures: dict) -> str:
    """One page with all figures that carries plotly with it, so that it opens in the MLflow UI and without a network."""
    parts = [figure.to_html(full_html=False, include_plotlyjs=not i) for i, figure in enumerate(figures.values())]
    return "<!DOCTYPE html>\n<html><head><meta charset='utf-8'></head><body>\n" + "\n".join(parts) + "\n</body></html>\n"
