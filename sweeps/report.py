"""What a sweep leaves in its run: best_params.json, the table of trials, plots, and counts; refreshed while it runs."""

import csv
import io
from collections import Counter

import mlflow
import optuna
from optuna.trial import FrozenTrial, TrialState

from hands.tracking import SCORE_TAG, log_output
from hands.tracking.experiments import NOTE_TAG, run_page
from sweeps.plots import log_plots
from sweeps.reconciliation import KILLED_WORKER
from sweeps.space import Space
from sweeps.study import DESCRIPTION, FIRST, REASON, REPEATS, RUN_ID, WORKER
from sweeps.winner import BEST_PARAMS, FORMAT

TABLE = "trials.csv"
SHOWN = 5  # trials of the page


def report(study: optuna.Study, space: Space) -> None:
    """Writes all that can be said by now to the active run; what is there already is replaced."""
    trials = study.get_trials(deepcopy=False)
    mlflow.log_text(trial_table(trials, space), TABLE)
    mlflow.log_metrics(counts(trials))
    if not any(trial.state == TrialState.COMPLETE for trial in trials):
        return
    best = study.best_trial
    mlflow.log_dict(best_params(study, space), BEST_PARAMS)
    mlflow.log_metrics({f"best/{space.metric.removeprefix('val/')}": best.value, "best/trial": best.number})
    log_output("best_run", best.user_attrs[RUN_ID])
    mlflow.set_tags({SCORE_TAG: f"{space.metric} {best.value:.4f}", NOTE_TAG: page(study, space)})
    log_plots(study, space.metric)


def page(study: optuna.Study, space: Space) -> str:
    """Markdown of the sweep's own page: the best trials and what to do with them."""
    run = mlflow.active_run().info
    trials = study.get_trials(deepcopy=False)
    complete = [trial for trial in trials if trial.state == TrialState.COMPLETE]
    complete.sort(key=lambda trial: trial.value, reverse=space.direction == "maximize")
    known = next((f", known weights at best {trial.value:.4f}" for trial in complete if trial.user_attrs.get(FIRST)), "")
    number = counts(trials)
    columns = ["trial", space.metric, *space.moved(), "run"]
    lines = [
        f"**best {space.metric} {complete[0].value:.4f}** (trial {complete[0].number}{known}); {number['trials/complete']} "
        f"trials complete, {number['trials/pruned']} pruned, {number['trials/fail']} failed. To train with it: "
        f"`-P params_from={run.run_id}`",
        "",
        f"| {' | '.join(columns)} |",
        "|---" * len(columns) + "|",
    ]
    for trial in complete[:SHOWN]:
        weights = [f"{value:.4g}" if isinstance(value, float) else str(value) for value in space.weights(trial.params).values()]
        link = f"[{trial.user_attrs[RUN_ID]}]({run_page(run.experiment_id, trial.user_attrs[RUN_ID])})"
        lines.append(f"| {' | '.join([str(trial.number), f'{trial.value:.4f}', *weights, link])} |")
    return "\n".join(lines)


def best_params(study: optuna.Study, space: Space) -> dict:
    """What best_params.json holds: the best trial, its score, and all that gave it, but for the machine; that tells its run."""
    best, description = study.best_trial, study.user_attrs[DESCRIPTION]
    weights = space.weights(best.params)
    return {
        "format": FORMAT,
        "study": study.study_name,
        "trial": best.number,
        "run_id": best.user_attrs[RUN_ID],
        "metric": space.metric,
        "value": best.value,
        "searched": list(weights),
        **description["setting"],
        "params": description["setting"]["params"] | weights,
    }


def counts(trials: list[FrozenTrial]) -> dict[str, int]:
    """Trials by how they ended, and the epochs that all of them trained."""
    states = Counter(trial.state.name.lower() for trial in trials)
    counted = {f"trials/{state}": states[state] for state in ("complete", "pruned", "fail", "running", "waiting")}
    return counted | {"epochs_trained": sum(epochs(trial) for trial in trials)}


def epochs(trial: FrozenTrial) -> int:
    """Epochs up to its last evaluation."""
    return trial.last_step or 0


def trial_table(trials: list[FrozenTrial], space: Space) -> str:
    """CSV, one row a trial in their order: state, value, the weights it trained with, its run, and why it ended early."""
    columns = ["trial", "state", "value", "epochs", "seconds", "first", *space.moved(), "repeats", "reason", "worker", "run_id"]
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    for trial in trials:
        writer.writerow(_row(trial, space))
    return text.getvalue()


def _row(trial: FrozenTrial, space: Space) -> dict:
    known = trial.params.keys() >= space.axes.keys()
    attrs = trial.user_attrs
    history = optuna.storages.RetryHeartbeatStaleTrialCallback.retry_history(trial)
    return {
        "trial": trial.number,
        "state": trial.state.name.lower(),
        "value": trial.value,
        "epochs": epochs(trial),
        "seconds": round(trial.duration.total_seconds(), 1) if trial.duration else None,
        "first": attrs.get(FIRST, False),
        "repeats": attrs.get(REPEATS, history[-1] if history else None),
        "reason": attrs.get(REASON, KILLED_WORKER) if trial.state == TrialState.FAIL else None,
        "worker": attrs.get(WORKER),
        "run_id": attrs.get(RUN_ID),
        **(space.weights(trial.params) if known else {}),
    }
