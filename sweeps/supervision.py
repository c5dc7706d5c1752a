"""A sweep on one machine, from the first worker's start to the last report."""

import time

import optuna
from optuna.trial import TrialState

from hands.errors import InvalidInput
from sweeps.interruption import Interruption
from sweeps.job import Job
from sweeps.reconciliation import end_dead_runs
from sweeps.report import report
from sweeps.space import Space
from sweeps.study import REASON, settled
from sweeps.workers import run_workers

POLL_S = 1.0
REPORT_EVERY_S = 60


def supervise(study: optuna.Study, space: Space, job: Job, n_workers: int, gpus: int) -> None:
    """Runs workers until the study is done; keeps the report fresh, and ends the runs of workers that died.

    Raises:
        KeyboardInterrupt: a signal asked for the end.
        InvalidInput: the workers ended before the study was done, or no trial was completed.
    """
    interruption = Interruption()
    interruption.install()
    reporter = Reporter(study, space, job)

    def watch() -> None:
        interruption.check()
        reporter.watch()

    try:
        codes = run_workers(job, n_workers, gpus, watch, POLL_S)
    finally:
        end_dead_runs(study, job.sweep.run_id, job.sweep.experiment_id, alive=False)
        report(study, space, job.params["seed"])
    trials = study.get_trials(deepcopy=False)
    done = sum(map(settled, trials))
    if done < job.study.n_trials:
        raise InvalidInput(
            f"the workers ended (exit codes {', '.join(map(str, codes))}) after {done} of {job.study.n_trials} trials; what "
            f"they said stands above. The same command goes on from there."
        )
    if not any(trial.state == TrialState.COMPLETE for trial in trials):
        reasons = sorted({trial.user_attrs[REASON] for trial in trials if REASON in trial.user_attrs})
        raise InvalidInput(f"none of {done} trials was completed: {'; '.join(reasons)}")
    print(f"== best of {done} trials: {study.best_trial.number} with {space.metric} {study.best_value:.4f}", flush=True)


class Reporter:
    """Refreshes the report when a trial has ended, at most every REPORT_EVERY_S seconds."""

    def __init__(self, study: optuna.Study, space: Space, job: Job):
        self.study = study
        self.space = space
        self.job = job
        self.next_time = time.monotonic() + REPORT_EVERY_S
        self.reported = 0

    def watch(self) -> None:
        if time.monotonic() < self.next_time:
            return
        self.next_time = time.monotonic() + REPORT_EVERY_S
        try:
            self.refresh()
        except Exception as error:  # the tracking server's pause must not end the trials; the last report does tell
            print(f"== the report cannot be refreshed now: {type(error).__name__}: {error}", flush=True)

    def refresh(self) -> None:
        end_dead_runs(self.study, self.job.sweep.run_id, self.job.sweep.experiment_id, alive=True)
        finished = sum(trial.state.is_finished() for trial in self.study.get_trials(deepcopy=False))
        if finished > self.reported:
            self.reported = finished
            report(self.study, self.space, self.job.params["seed"])
