"""A sweep on one machine, from the first worker's start to the last report."""

import time

import optuna
from mlflow.exceptions import MlflowException
from optuna.exceptions import StorageInternalError
from optuna.trial import FrozenTrial, TrialState

from hands.errors import InvalidInput
from hands.processes.progress import say
from hands.tracking import brief_requests
from sweeps.errors import cause
from sweeps.interruption import Interruption
from sweeps.job import Job
from sweeps.reconciliation import end_left_runs
from sweeps.report import report
from sweeps.space import Space
from sweeps.study import REASON, settled
from sweeps.telling import TrialProgress
from sweeps.workers import run_workers

POLL_S = 1.0
REPORT_EVERY_S = 60


def supervise(study: optuna.Study, space: Space, job: Job, n_workers: int, gpus: int) -> None:
    """Runs workers until the study is done; keeps the report fresh, and ends runs that workers left.

    Raises:
        KeyboardInterrupt: a signal asked for the end.
        InvalidInput: the workers ended before the study was done, no trial was completed, or the report cannot be written.
    """
    interruption = Interruption()
    interruption.install()
    reporter = Reporter(study, space)

    try:
        with TrialProgress(study, job.study.n_trials) as progress:

            def watch() -> None:
                interruption.check()
                progress.watch()
                reporter.watch()

            ends = run_workers(job, n_workers, gpus, watch, POLL_S)
        trials = finished_study(study, job.study.n_trials, ends)
    except BaseException:
        reporter.try_to_refresh()
        raise
    try:
        reporter.refresh()
    except (MlflowException, StorageInternalError, OSError) as error:
        raise InvalidInput(
            f"all {job.study.n_trials} trials are done, but their report cannot be written: {cause(error)}. The same command "
            f"writes it."
        ) from error
    if not any(trial.state == TrialState.COMPLETE for trial in trials):
        reasons = sorted({trial.user_attrs[REASON] for trial in trials if settled(trial) and REASON in trial.user_attrs})
        raise InvalidInput(f"none of {len(trials)} trials was completed: {'; '.join(reasons)}")
    best = study.best_trial
    print(f"== best of {sum(map(settled, trials))} trials: {best.number} with {space.metric} {best.value:.4f}", flush=True)


def finished_study(study: optuna.Study, n_trials: int, ends: list[str]) -> list[FrozenTrial]:
    """The trials of a study that is done.

    Raises:
        InvalidInput: it is not, or its storage does not tell.
    """
    try:
        trials = study.get_trials(deepcopy=False)
        done = f"after {sum(map(settled, trials))} of {n_trials} trials"
        if sum(map(settled, trials)) >= n_trials:
            return trials
    except StorageInternalError as error:
        done = f"and the storage does not answer ({cause(error)})"
    raise InvalidInput(f"the workers have ended, {done}: {'; '.join(sorted(set(ends)))}. The same command goes on from there.")


class Reporter:
    """Refreshes the report when a trial has ended, at most every REPORT_EVERY_S seconds."""

    def __init__(self, study: optuna.Study, space: Space):
        self.study = study
        self.space = space
        self.next_time = time.monotonic() + REPORT_EVERY_S
        self.reported = -1

    def watch(self) -> None:
        if time.monotonic() >= self.next_time:
            self.next_time = time.monotonic() + REPORT_EVERY_S
            self.try_to_refresh()

    def try_to_refresh(self) -> None:
        try:
            with brief_requests():  # workers and signals want to be looked after
                self.refresh()
        except Exception as error:  # a pause of the tracking server's must not end the trials, nor hide why they ended
            say(f"== the report cannot be refreshed now: {cause(error)}")

    def refresh(self) -> None:
        end_left_runs(self.study)
        finished = sum(trial.state.is_finished() for trial in self.study.get_trials(deepcopy=False))
        if finished > self.reported:
            report(self.study, self.space)
            self.reported = finished
