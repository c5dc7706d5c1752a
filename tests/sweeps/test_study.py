"""The study of a sweep: storages that cannot be used, studies that have changed, and when it is done."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import optuna
import pytest
from optuna.distributions import FloatDistribution
from optuna.exceptions import StorageInternalError
from optuna.storages import RDBStorage, fail_stale_trials
from optuna.trial import TrialState, create_trial

from hands.errors import InvalidInput
from sweeps import storage as storage_module
from sweeps import study as study_module
from sweeps.space import load_space
from sweeps.storage import open_storage, shown
from sweeps.study import FATE, FIRST, StudyConfig, create_study, load_study, next_move, repeats, settled, surplus

SETTING = {"lr": 0.001, "g1": "abc"}


def config_at(url: str) -> StudyConfig:
    return StudyConfig("s", url, 4, "tpe", "hyperband", 2, 6, 1)


def make(url: str, space: str, setting: dict) -> optuna.Study:
    return create_study(open_storage(url, 1), config_at(url), load_space(space), setting)


def frozen(state: TrialState, **attrs):
    system = {name: attrs.pop(name) for name in ("retry_history",) if name in attrs}
    value = 0.5 if state == TrialState.COMPLETE else None
    return create_trial(state=state, value=value, user_attrs=attrs, system_attrs=system)


COMPLETE, PRUNED, RUNNING, WAITING = TrialState.COMPLETE, TrialState.PRUNED, TrialState.RUNNING, TrialState.WAITING
FAIL = TrialState.FAIL


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://nobody:secret@127.0.0.1:1/none",
        "sqlite:////nowhere/at/all/optuna.db",
        "mongodb://localhost/hands",
        "not a url",
        "postgresql+nosuchdriver://localhost/hands",
        "sqlite:///{broken",
    ],
)
def test_storage_that_cannot_be_used_is_refused_within_seconds(url, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    if url == "sqlite:///{broken":
        (tmp_path / "{broken").write_bytes(b"no database" * 200)
    started = time.monotonic()
    with pytest.raises(InvalidInput, match="cannot be used") as refused:
        open_storage(url, 1)
    assert time.monotonic() - started < 10
    assert "secret" not in str(refused.value)


def test_password_is_not_shown():
    assert shown("postgresql://me:secret@host/db") == "postgresql://me:***@host/db"
    assert shown("sqlite:///optuna.db") == "sqlite:///optuna.db"


def test_first_trials_are_known_weights_and_queued_once(tmp_path):
    url = f"sqlite:///{tmp_path}/optuna.db"
    make(url, "class_weights", SETTING)
    study = make(url, "class_weights", SETTING)
    trials = study.trials
    assert [trial.state for trial in trials] == [WAITING, WAITING, WAITING]
    points = [trial.system_attrs["fixed_params"] for trial in trials]
    assert [(point["scheme"], point["exponent"]) for point in points] == [("manual", 0), ("manual", 1), ("strong", 1)]
    assert all(trial.user_attrs[FIRST] for trial in trials)


@pytest.mark.parametrize("queued", [40, 0])
def test_no_two_workers_take_the_same_trial(tmp_path, queued):
    """SQLite has no locks on rows, by which Optuna keeps workers apart."""
    url = f"sqlite:///{tmp_path}/optuna.db"
    study = make(url, "loss_weights", SETTING)
    for _ in range(queued):
        study.enqueue_trial({})

    def worker(start: threading.Barrier) -> list[int]:
        own = load_study(open_storage(url, 1), config_at(url), load_space("loss_weights"))
        start.wait()
        return [own.ask().number for _ in range(10)]

    with ThreadPoolExecutor(4) as pool:
        start = threading.Barrier(4)
        taken = [number for numbers in pool.map(worker, [start] * 4) for number in numbers]
    assert sorted(taken) == list(range(40))


def test_changed_space_is_refused_and_told(tmp_path, monkeypatch):
    url = f"sqlite:///{tmp_path}/optuna.db"
    make(url, "loss_weights", SETTING)
    with pytest.raises(InvalidInput, match=r"begun otherwise: axes\.background is new; axes\.exponent is new;"):
        make(url, "both", SETTING)
    with pytest.raises(InvalidInput, match=r"setting.lr was 0.001 and is 0.01\. .* choose another study_name"):
        make(url, "loss_weights", SETTING | {"lr": 0.01})
    monkeypatch.setitem(load_space("loss_weights").axes, "adv_weight", FloatDistribution(0, 0.4))
    with pytest.raises(InvalidInput, match="axes.adv_weight.attributes.high was 0.5 and is 0.4"):
        make(url, "loss_weights", SETTING)


def test_study_of_another_program_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(study_module, "DESCRIPTION_TIMEOUT_S", 0.1)
    url = f"sqlite:///{tmp_path}/optuna.db"
    optuna.create_study(study_name="s", storage=url, direction="maximize")
    with pytest.raises(InvalidInput, match="was not made by this sweep"):
        make(url, "loss_weights", SETTING)


@pytest.mark.parametrize(
    "trial, counts",
    [
        (frozen(COMPLETE), True),
        (frozen(PRUNED), True),
        (frozen(RUNNING), False),
        (frozen(WAITING), False),
        (frozen(FAIL, **{FATE: "failed"}), True),  # diverged
        (frozen(FAIL, **{FATE: "interrupted"}), False),  # in the queue again
        (frozen(FAIL, **{FATE: "returned"}), False),  # so is what a server, a disk or memory broke off
        (frozen(FAIL, **{FATE: "surplus"}), False),
        (frozen(FAIL), False),  # its worker died: repeated
        (frozen(FAIL, retry_history=[0, 1]), False),  # however often it does
    ],
)
def test_what_counts_towards_n_trials(trial, counts):
    assert settled(trial) is counts


def test_what_a_worker_does_next():
    retried = frozen(WAITING, retry_history=[0])
    assert next_move([], 1) == "ask"
    assert next_move([frozen(WAITING)] * 3, 2) == "ask"
    assert next_move([frozen(COMPLETE), frozen(RUNNING)], 3) == "ask"
    assert next_move([frozen(COMPLETE), frozen(RUNNING)], 2) == "wait"  # it may yet be retried
    assert next_move([frozen(COMPLETE), frozen(FAIL), retried], 2) == "ask"
    assert next_move([frozen(COMPLETE), frozen(PRUNED)], 2) == "stop"
    assert next_move([frozen(FAIL, **{FATE: "failed"})] * 2, 2) == "stop"  # what fails for good is not tried for ever


def test_trial_that_two_workers_asked_for_at_once_is_given_up():
    trials = [frozen(COMPLETE), frozen(RUNNING), frozen(RUNNING)]
    assert not surplus(trials, 1, 2)
    assert surplus(trials, 2, 2)
    assert not surplus([frozen(COMPLETE), frozen(COMPLETE), frozen(RUNNING, retry_history=[1])], 2, 2)  # never a retry


@pytest.mark.parametrize("queued", [True, False])
def test_trial_whose_worker_dies_before_it_has_begun_is_repeated(tmp_path, monkeypatch, queued):
    """Optuna's first heartbeat comes after the sampler; a trial without one would run for ever."""
    monkeypatch.setattr(storage_module, "GRACE_HEARTBEATS", 1)
    url = f"sqlite:///{tmp_path}/optuna.db"
    study = make(url, "loss_weights", SETTING)
    if not queued:
        for known in study.trials:
            study.tell(study.ask().number, 0.5 + known.number)
    asked = study.ask().number
    time.sleep(2.5)  # SQLite counts whole seconds
    fail_stale_trials(study)
    assert study.trials[asked].state == FAIL and study.trials[-1].state == WAITING
    assert study.trials[-1].system_attrs["retry_history"] == [asked]
    assert study.trials[-1].system_attrs.get("fixed_params") == study.trials[asked].system_attrs.get("fixed_params")
    assert repeats(study.trials[-1]) and not settled(study.trials[asked])


def test_heartbeat_that_cannot_be_written_is_not_the_last(tmp_path, monkeypatch):
    study = make(f"sqlite:///{tmp_path}/optuna.db", "loss_weights", SETTING)
    beats = []

    def record(self, trial_id, original=RDBStorage.record_heartbeat):
        beats.append(trial_id)
        if len(beats) == 3:
            raise StorageInternalError("the database is away")
        original(self, trial_id)

    monkeypatch.setattr(RDBStorage, "record_heartbeat", record)
    study.optimize(lambda trial: time.sleep(3.5) or 0.5, n_trials=1)
    assert len(beats) >= 5  # before the trial, and a second apart
