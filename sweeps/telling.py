"""What a sweep shows while its workers work: a bar of trials with the best so far; elsewhere a line a finished trial."""

import time
from contextlib import suppress
from types import TracebackType

import optuna
from optuna.exceptions import StorageInternalError
from optuna.trial import FrozenTrial, TrialState

from hands.processes.progress import Progress, on_terminal
from sweeps.study import REASON, settled

LOOK_EVERY_S = 3


class TrialProgress:
    """Looks into the study now and then; trials of other machines count."""

    def __init__(self, study: optuna.Study, n_trials: int):
        self.study, self.n_trials = study, n_trials
        trials = study.get_trials(deepcopy=False)
        self.told = {trial.number for trial in trials if trial.state.is_finished()}
        self.progress = Progress("trials", n_trials, "trials", done=sum(map(settled, trials)))
        self.next_time = time.monotonic()

    def watch(self) -> None:
        if time.monotonic() >= self.next_time:
            self.next_time = time.monotonic() + LOOK_EVERY_S
            self.look()

    def look(self) -> None:
        """Tells what has ended since the last time; nothing where the storage does not answer."""
        with suppress(StorageInternalError):
            trials = self.study.get_trials(deepcopy=False)
            ended = [trial for trial in trials if trial.state.is_finished() and trial.number not in self.told]
            self.told |= {trial.number for trial in ended}
            self.progress.done = sum(map(settled, trials))
            self.progress.note = self._note(trials)
            count = f"{self.progress.done} of {self.n_trials}"
            if on_terminal():
                self.progress.title = f"trials {count}"
                self.progress.tell()
                return
            for trial in ended:
                self.progress.title = f"== trial {trial.number}: {outcome(trial)}; {count} done"
                self.progress.tell()

    def _note(self, trials: list[FrozenTrial]) -> str:
        running = f"{sum(trial.state == TrialState.RUNNING for trial in trials)} running"
        if not any(trial.state == TrialState.COMPLETE for trial in trials):
            return f"none complete yet, {running}"
        best = self.study.best_trial
        return f"best {best.value:.4f} (trial {best.number}), {running}"

    def __enter__(self) -> "TrialProgress":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.look()
        self.progress.__exit__(kind, error, trace)


def outcome(trial: FrozenTrial) -> str:
    """How a trial ended, in words."""
    if trial.state == TrialState.FAIL:
        said = trial.user_attrs.get(REASON, "failed")
    else:
        said = f"{trial.value:.4f}" if trial.value is not None else "nothing reported"
    return f"{trial.state.name.lower()}, {said}"
