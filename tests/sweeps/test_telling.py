"""What is shown of a sweep's trials while they run."""

import optuna
import pytest
from optuna.exceptions import StorageInternalError
from optuna.trial import TrialState, create_trial

from hands.processes import progress
from sweeps import telling
from sweeps.study import FATE, REASON
from sweeps.telling import TrialProgress

N_TRIALS = 6


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time, in seconds, to be set."""
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


@pytest.fixture
def study() -> optuna.Study:
    """With a trial of an earlier call."""
    study = optuna.create_study(direction="maximize")
    study.add_trial(create_trial(value=0.25))
    return study


def ended(state: TrialState, value: float | None = None, **attrs: object) -> optuna.trial.FrozenTrial:
    return create_trial(state=state, value=value, user_attrs=attrs)


def test_a_line_for_each_trial_that_has_ended(study, clock, capsys):
    with TrialProgress(study, N_TRIALS) as shown:
        study.add_trial(ended(TrialState.RUNNING))
        shown.watch()
        assert capsys.readouterr().err == ""
        clock[0] = 60
        study.add_trial(ended(TrialState.COMPLETE, 0.5))
        shown.watch()
        shown.watch()  # nothing new
        clock[0] = 120
        study.add_trial(ended(TrialState.PRUNED, 0.125))
        study.add_trial(ended(TrialState.FAIL, **{FATE: "returned", REASON: "OSError: full"}))  # does not count
    assert capsys.readouterr().err.splitlines() == [
        "== trial 2: complete, 0.5000; 2 of 6 done: best 0.5000 (trial 2), 1 running, 4 min 0 s left",
        "== trial 3: pruned, 0.1250; 3 of 6 done: best 0.5000 (trial 2), 1 running, 3 min 0 s left",
        "== trial 4: fail, OSError: full; 3 of 6 done: best 0.5000 (trial 2), 1 running, 3 min 0 s left",
    ]


def test_a_bar_on_a_terminal(study, clock, monkeypatch):
    told = []
    monkeypatch.setattr(telling, "on_terminal", lambda: True)
    monkeypatch.setattr(progress.Progress, "tell", lambda self: told.append((self.title, self.done, self.note)))
    with TrialProgress(study, N_TRIALS) as shown:
        shown.watch()
        clock[0] = 1
        shown.watch()  # the storage is not asked each second
    assert told == 2 * [("trials 1 of 6", 1, "best 0.2500 (trial 0), 0 running")]


def test_a_storage_that_is_away_is_no_matter(study, clock, monkeypatch, capsys):
    def away(deepcopy: bool) -> list:
        raise StorageInternalError

    with TrialProgress(study, N_TRIALS) as shown:
        monkeypatch.setattr(study, "get_trials", away)
        shown.watch()
    assert capsys.readouterr().err == ""
