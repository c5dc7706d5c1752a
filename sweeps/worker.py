"""A worker of a sweep: a process that takes one trial after the other from the study until it has enough."""

import os
import time
import warnings
from types import SimpleNamespace

import mlflow
import optuna
import torch
from optuna.exceptions import UpdateFinishedTrialError
from optuna.storages import fail_stale_trials
from optuna.trial import TrialState

from sweeps.interruption import Interruption
from sweeps.job import Job
from sweeps.space import load_space
from sweeps.study import load_study, next_move, open_storage
from sweeps.trial import Objective

POLL_S = 1.0


def work(job: Job) -> None:
    """Runs trials until the study has job.study.n_trials settled ones, or a signal comes (then the exit code is 130)."""
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
    space = load_space(job.params["space"])
    study = load_study(open_storage(job.study.storage, job.study.heartbeat_s), job.study, space)
    objective = Objective(SimpleNamespace(**job.params), job.models, space, job.study.n_trials, job.sweep, interruption)
    take_trials(study, objective, job.study.n_trials, interruption)
    if interruption.asked:
        raise SystemExit(130)


def take_trials(study: optuna.Study, objective: Objective, n_trials: int, interruption: Interruption) -> None:
    """The worker's loop; what a trial raises ends that trial alone."""
    while not interruption.asked:
        fail_stale_trials(study)
        move = next_move(study.get_trials(deepcopy=False), n_trials)
        if move == "stop":
            return
        if move == "wait":
            time.sleep(POLL_S)
            continue
        try:
            study.optimize(objective, n_trials=1, catch=(Exception,), gc_after_trial=True, callbacks=[tell])
        except KeyboardInterrupt:
            return
        except (ValueError, UpdateFinishedTrialError) as error:
            # this worker stood still so long that another one took its trial over
            if isinstance(error, ValueError) and not str(error).startswith("Cannot tell a"):
                raise
            print(f"a trial was taken over by another worker: {error}", flush=True)


def tell(study: optuna.Study, trial: optuna.trial.FrozenTrial) -> None:
    """One line about a trial's end."""
    if trial.state == TrialState.FAIL:
        outcome = trial.user_attrs.get("reason") or trial.user_attrs.get("fate", "failed")
    else:
        outcome = f"{trial.value:.4f}" if trial.value is not None else "nothing reported"
    print(f"== trial {trial.number}: {trial.state.name.lower()}, {outcome}", flush=True)
