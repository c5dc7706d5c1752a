"""The study of a sweep in Optuna's storage: made once, refused when it has become another, and how far it has come."""

import time
from dataclasses import dataclass

import optuna
from optuna.exceptions import DuplicatedStudyError
from optuna.storages import RetryHeartbeatStaleTrialCallback
from optuna.trial import FrozenTrial, TrialState

from hands.errors import InvalidInput
from sweeps.sampler import SeededByTrial, create_pruner
from sweeps.space import Space
from sweeps.storage import Storage

DESCRIPTION = "hands.description"
DESCRIPTION_TIMEOUT_S = 15
# user attributes of a trial
RUN_ID, WORKER, FATE, REASON, FIRST, REPEATS = "run_id", "worker", "fate", "reason", "first", "repeats"
FAILED, RETURNED, INTERRUPTED, SURPLUS = "failed", "returned", "interrupted", "surplus"
STATUS = {FAILED: "FAILED", RETURNED: "FAILED", INTERRUPTED: "KILLED"}  # of the runs of trials with such a fate
# tags of a trial's run
TRIAL_TAG, STUDY_TAG, PRUNED_TAG = "hands.trial", "hands.study", "hands.pruned"


@dataclass(frozen=True)
class StudyConfig:
    """Where a study is and how it goes on.

    Attributes:
        name: of the study in its storage.
        storage: SQLAlchemy URL, e.g. sqlite:///optuna.db or postgresql://user@host/database.
        n_trials: settled trials at which the study is done, those of earlier calls and other machines included.
        sampler: tpe | gp | random.
        pruner: hyperband | median | none.
        init_epochs: of weights initialization, with which a trial begins.
        max_epochs: of a trial that is not pruned.
        heartbeat_s: seconds between signs of life of a worker, >= 1.
    """

    name: str
    storage: str
    n_trials: int
    sampler: str
    pruner: str
    init_epochs: int
    max_epochs: int
    heartbeat_s: int


def load_study(storage: Storage, config: StudyConfig, space: Space) -> optuna.Study:
    sampler = SeededByTrial(config.sampler, space.seed)
    pruner = create_pruner(config.pruner, config.init_epochs, config.max_epochs)
    return optuna.load_study(study_name=config.name, storage=storage, sampler=sampler, pruner=pruner)


def create_study(storage: Storage, config: StudyConfig, space: Space, setting: dict) -> optuna.Study:
    """Makes the study with the space's first trials, or finds it and checks that it is the same.

    Args:
        setting: plain JSON; what trials have in common, such as their epochs and the digest of G1.

    Raises:
        InvalidInput: the study in the storage has another space or setting, or is not a sweep's.
    """
    description = space.description() | {"setting": setting}
    try:
        made = optuna.create_study(study_name=config.name, storage=storage, direction=space.direction)
    except DuplicatedStudyError:
        study = load_study(storage, config, space)
        _refuse_another(study, description)
        return study
    made.set_metric_names([space.metric])  # for the dashboard
    for point in space.first_trials:
        made.enqueue_trial(point, user_attrs={FIRST: True})
    made.set_user_attr(DESCRIPTION, description)  # last: who finds it finds the first trials, too
    return load_study(storage, config, space)


def _refuse_another(study: optuna.Study, description: dict) -> None:
    deadline = time.monotonic() + DESCRIPTION_TIMEOUT_S
    while DESCRIPTION not in study.user_attrs:  # another machine may be making it
        if time.monotonic() > deadline:
            raise InvalidInput(
                f"the study '{study.study_name}' in the storage was not made by this sweep, or its making broke off; "
                f"choose another study_name, or delete it (optuna delete-study --study-name {study.study_name})."
            )
        time.sleep(0.5)
    changed = _changes(study.user_attrs[DESCRIPTION], description)
    if changed:
        raise InvalidInput(
            f"the study '{study.study_name}' was begun otherwise: {'; '.join(changed)}. Trials of both cannot be compared: "
            f"choose another study_name for a new study, or go on with the old values."
        )


def _changes(then: object, now: object, name: str = "") -> list[str]:
    """What is otherwise in two pieces of plain JSON, in words."""
    if then == now:
        return []
    if isinstance(then, list) and isinstance(now, list):
        then, now = dict(enumerate(then)), dict(enumerate(now))
    if not isinstance(then, dict) or not isinstance(now, dict):
        return [f"{name} was {then} and is {now}"]
    changes = []
    for key in sorted(then.keys() | now.keys()):
        inner = f"{name}.{key}".lstrip(".")
        if key in then and key in now:
            changes += _changes(then[key], now[key], inner)
        else:
            changes.append(f"{inner} is {'gone' if key in then else 'new'}")
    return changes


def settled(trial: FrozenTrial) -> bool:
    """Whether a trial counts towards n_trials: it ended, well or not, and nothing will repeat it.

    Complete and pruned ones do, and those that diverged. A trial that was cut short by anything else is in the queue again and
    counts when it ends there.
    """
    if trial.state == TrialState.FAIL:
        return trial.user_attrs.get(FATE) == FAILED
    return trial.state.is_finished()


def repeats(trial: FrozenTrial) -> bool:
    """Whether a trial takes the place of an earlier one that was cut short."""
    return REPEATS in trial.user_attrs or bool(RetryHeartbeatStaleTrialCallback.retry_history(trial))


def next_move(trials: list[FrozenTrial], n_trials: int) -> str:
    """What a worker without a trial does: "ask" for one, "wait" (for what running trials come to) or "stop"."""
    if any(trial.state == TrialState.WAITING and repeats(trial) for trial in trials):
        return "ask"
    done = sum(map(settled, trials))
    running = sum(trial.state == TrialState.RUNNING for trial in trials)
    if done >= n_trials:
        return "stop"
    return "ask" if done + running < n_trials else "wait"


def surplus(trials: list[FrozenTrial], number: int, n_trials: int) -> bool:
    """Whether trial `number` is one too many: several workers may ask for the last one at the same moment."""
    if repeats(trials[number]):
        return False
    pending = (TrialState.RUNNING, TrialState.WAITING)
    return sum(settled(trial) or trial.state in pending for trial in trials[:number]) >= n_trials
