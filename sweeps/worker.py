"""A worker of a sweep: a process that takes one trial after the other from the study until it has enough."""

import gc
import os
import time
import traceback
import warnings
from types import SimpleNamespace

import mlflow
import optuna
import torch
from mlflow.exceptions import MlflowException
from optuna.exceptions import UpdateFinishedTrialError
from optuna.storages import fail_stale_trials
from safetensors import SafetensorError
from sqlalchemy.exc import SQLAlchemyError

from hands.processes.progress import say, silenced
from sweeps.ending import SETTLING
from sweeps.errors import GivenUp, LeftRunning, cause, origin
from sweeps.interruption import Interruption
from sweeps.job import Job
from sweeps.space import load_space
from sweeps.storage import open_storage
from sweeps.study import load_study, next_move
from sweeps.trial import Objective

POLL_S = 1.0
PAUSES_S = (10, 60)  # after a failure, and after another one in a row; a third one is the last
KNOWN = (MlflowException, SQLAlchemyError, SafetensorError, OSError, MemoryError, torch.OutOfMemoryError)  # no traceback


def work(job: Job) -> None:
    """Runs trials until the study has job.study.n_trials settled ones, or a signal comes (then the exit code is 130).

    Raises:
        GivenUp: as take_trials.
    """
    interruption = Interruption()
    interruption.install()
    os.environ.pop("MLFLOW_RUN_ID", None)
    if job.device is not None:
        visible = os.environ.get("CUDA_VISIBLE_DEVICES")
        os.environ["CUDA_VISIBLE_DEVICES"] = visible.split(",")[job.device] if visible else str(job.device)
    torch.set_num_threads(job.threads)
    mlflow.set_tracking_uri(job.tracking_uri)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.filterwarnings("once", category=UserWarning)  # else every trial repeats the first one's
    warnings.filterwarnings("ignore", message="no ImageNet weights")  # find_setting has said it
    space = load_space(job.params["space"])
    study = load_study(open_storage(job.study.storage, job.study.heartbeat_s), job.study, space)
    objective = Objective(SimpleNamespace(**job.params), job.models, space, job.study.n_trials, job.sweep, interruption)
    with silenced():
        take_trials(study, objective, job.study.n_trials, interruption)
    if interruption.asked:
        raise SystemExit(130)


def take_trials(study: optuna.Study, objective: Objective, n_trials: int, interruption: Interruption) -> None:
    """The worker's loop.

    Raises:
        GivenUp: something that trials cannot help broke off one more than len(PAUSES_S) in a row.
    """
    failures = 0
    while not interruption.asked:
        try:
            fail_stale_trials(study)
            move = next_move(study.get_trials(deepcopy=False), n_trials)
            if move == "stop":
                return
            if move == "wait":
                time.sleep(POLL_S)
                continue
            study.optimize(objective, n_trials=1, catch=SETTLING, gc_after_trial=True)
            failures = 0
        except KeyboardInterrupt:
            return
        except (Exception, LeftRunning) as error:
            if taken_over(error):
                say(f"== a trial was taken over by another worker: {error}")
                continue
            failures += 1
            if not isinstance(origin(error), KNOWN):
                traceback.print_exception(origin(error), chain=False)
            if failures > len(PAUSES_S):
                raise GivenUp(f"{failures} failures in a row, the last one {cause(error)}") from error
            say(f"== broken off by no fault of the trial, on in {PAUSES_S[failures - 1]} s: {cause(error)}")
        if failures:
            gc.collect()  # the error's frames hold what the trial had in memory
            pause(PAUSES_S[failures - 1], interruption)


def taken_over(error: BaseException) -> bool:
    """Whether this worker stood still so long that another one took its trial over."""
    told_ended = isinstance(error, ValueError) and str(error).startswith("Cannot tell a")
    return told_ended or isinstance(error, UpdateFinishedTrialError)


def pause(seconds: float, interruption: Interruption) -> None:
    end = time.monotonic() + seconds
    while not interruption.asked and time.monotonic() < end:
        time.sleep(min(POLL_S, seconds))
