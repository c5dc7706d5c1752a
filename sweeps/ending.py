"""How a trial ends, in its run and in the study: by itself, or cut short by what its weights cannot help, and queued again.

Only a trial that diverged has failed by itself. All else is the world's: the tracking server, the study's storage, a full
disk, a signal, and memory that ran out, since no axis of a space changes how much a trial needs.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import mlflow
import optuna
from optuna.exceptions import UpdateFinishedTrialError

from hands.processes.progress import say
from hands.tracking import FAILURE_TAG, PROCESS_TAG, brief_requests, this_process
from hands.training.loop import Diverged
from sweeps.errors import LeftRunning, Surplus, cause
from sweeps.job import SweepRun
from sweeps.study import (
    FAILED,
    FATE,
    FIRST,
    INTERRUPTED,
    PRUNED_TAG,
    REASON,
    REPEATS,
    RETURNED,
    RUN_ID,
    STATUS,
    STUDY_TAG,
    SURPLUS,
    TRIAL_TAG,
)

SETTLING = (Diverged, Surplus)  # what ends a trial for good


@contextmanager
def noted_end(trial: optuna.Trial) -> Iterator[None]:
    """Writes into the study why a trial ended early, and queues it again where its weights are not to blame.

    Raises:
        LeftRunning: the storage does not take that.
    """
    try:
        yield
    except (optuna.TrialPruned, UpdateFinishedTrialError):  # of the latter, another worker has taken care
        raise
    except BaseException as error:
        try:
            _note(trial, error)
        except Exception:
            raise LeftRunning from error
        raise


def _note(trial: optuna.Trial, error: BaseException) -> None:
    trial.set_user_attr(REASON, _reason(error))
    trial.set_user_attr(FATE, _fate(error))
    if isinstance(error, SETTLING):
        return
    # last: a worker that is killed before this leaves a trial without heartbeats, which is queued for that
    frozen = trial.study.get_trials(deepcopy=False)[trial.number]
    first = {FIRST: True} if FIRST in frozen.user_attrs else {}
    point = frozen.system_attrs.get("fixed_params", {}) | trial.params
    trial.study.enqueue_trial(point, user_attrs=first | {REPEATS: trial.number})


def _fate(error: BaseException) -> str:
    if isinstance(error, SETTLING):
        return FAILED if isinstance(error, Diverged) else SURPLUS
    return INTERRUPTED if isinstance(error, KeyboardInterrupt) else RETURNED


def _reason(error: BaseException) -> str:
    return "interrupted" if isinstance(error, KeyboardInterrupt) else cause(error)


@contextmanager
def trial_run(trial: optuna.Trial, sweep: SweepRun) -> Iterator[None]:
    """The trial's MLflow run: FINISHED, KILLED with the tag hands.pruned or hands.failure, or FAILED with hands.failure.

    It is left in any case; where the server does not hear of that, `reconciliation` ends it.
    """
    run = mlflow.start_run(
        run_name=f"trial {trial.number}",
        experiment_id=sweep.experiment_id,
        parent_run_id=sweep.run_id,
        nested=True,
        tags={TRIAL_TAG: str(trial.number), STUDY_TAG: trial.study.study_name, PROCESS_TAG: this_process()},
    )
    try:
        trial.set_user_attr(RUN_ID, run.info.run_id)
        yield
    except optuna.TrialPruned as pruned:
        _leave("KILLED", {PRUNED_TAG: str(pruned)})
        raise
    except Diverged as error:
        _leave(STATUS[FAILED], {FAILURE_TAG: cause(error)})
        raise
    except BaseException as error:
        with brief_requests():  # MLflow has waited for the server long enough, or the user waits
            _leave(STATUS[_fate(error)], {FAILURE_TAG: f"{_reason(error)}; the trial is in the queue again"})
        raise
    _leave("FINISHED", {})


def _leave(status: str, tags: dict[str, str]) -> None:
    try:
        mlflow.set_tags(tags)
    except Exception as error:
        say(f"== tags of the trial's run are lost: {cause(error)}")
    try:
        mlflow.end_run(status)
    except Exception as error:  # MLflow has taken the run off its stack before it asks the server
        say(f"== the trial's run is ended later: {cause(error)}")
