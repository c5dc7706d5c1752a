"""Checkpoints: a step that is broken off anywhere goes on to bit-identical weights, and reports every epoch once."""

import math
import os
import signal
from pathlib import Path

import pytest
import torch
from torch import nn

from hands.errors import InvalidInput
from hands.method.losses import SegmentationLoss
from hands.method.phase1 import Phase1Config, Phase1Data, fit_phase1
from hands.method.phase2_init import Phase2InitConfig, Phase2InitData, fit_phase2_init
from hands.method.phase2_paired import Phase2PairedConfig, Phase2PairedData, fit_phase2_paired
from hands.networks.discriminator import Discriminator
from hands.packed.batches import RecordReader
from hands.packed.packed_set import PackedSet
from hands.processes.signals import STOP_SIGNALS
from hands.training.learner import Learner
from hands.training.loop import ScheduleConfig
from hands.training.resume import FILE, Stopped, TrainingCheckpoint
from tests.method.test_phases import ONES, one_process, small_network
from tests.project import handlers_kept

SCHEDULE = ScheduleConfig(seed=3, epochs=3, batch_size=4, lr=5e-3, lr_schedule="cosine", ema_decay=0.9, eval_every=2)
ALWAYS, NEVER = 0.0, 1e9  # minutes between checkpoints


class Killed(BaseException):
    """Stands for kill -9: nothing in the code may catch it and tidy up."""


class Notebook:
    """A recorder that, like MLflow, keeps what was reported before a process died."""

    def __init__(self):
        self.reported = []
        self.restored = None

    def epoch(self, epoch, metrics) -> None:
        timeless = {name: value for name, value in metrics.items() if name != "train/images_per_s"}
        self.reported.append((epoch, timeless))

    def evaluated(self, epoch, network, is_best) -> None: ...

    def restore(self, history) -> None:
        self.restored = [epoch for epoch, _ in history]


def reader(packed: PackedSet, subset: str) -> RecordReader:
    return RecordReader(packed.subset(subset), "disk", torch.device("cpu"))


def run_phase1(packed, recorder, checkpoint) -> list[nn.Module]:
    g1, d = small_network(0), new_discriminator()
    data = Phase1Data(reader(packed, "train"), reader(packed, "unpaired_masks"), reader(packed, "val"))
    config = Phase1Config(SCHEDULE, "one_hot", 1e-3, "contiguous")
    fit_phase1(one_process(), config, data, g1, d, torch.ones(17), recorder, checkpoint)
    return [g1, d]


def run_init(packed, recorder, checkpoint) -> list[nn.Module]:
    g1, g2 = small_network(0), small_network(1)
    data = Phase2InitData(reader(packed, "unpaired_images"), reader(packed, "val"))
    config = Phase2InitConfig(SCHEDULE, 0.5, "contiguous")
    fit_phase2_init(one_process(), config, data, g1, g2, segmentation_loss(), recorder, checkpoint)
    return [g2]


def run_paired(packed, recorder, checkpoint) -> list[nn.Module]:
    g2, d = small_network(2), new_discriminator()
    data = Phase2PairedData(reader(packed, "train"), reader(packed, "unpaired_masks"), reader(packed, "val"))
    config = Phase2PairedConfig(SCHEDULE, 0.1, "one_hot", True, 1e-3, "contiguous")
    fit_phase2_paired(one_process(), config, data, g2, d, segmentation_loss(), recorder, checkpoint)
    return [g2, d]


def new_discriminator() -> Discriminator:
    torch.manual_seed(9)
    return Discriminator()


def segmentation_loss() -> SegmentationLoss:
    return SegmentationLoss(0.35, 0.65, "dice", 0.0, ONES)


RUNS = {"phase1": run_phase1, "phase2_init": run_init, "phase2_paired": run_paired}


@pytest.fixture
def dies(monkeypatch: pytest.MonkeyPatch):
    """dies(after=n): the n-th optimizer step from now is the last."""
    update = Learner.update

    def arm(after: int) -> None:
        left = [after]

        def update_or_die(self, loss):
            update(self, loss)
            left[0] -= 1
            if left[0] == 0:
                raise Killed

        monkeypatch.setattr(Learner, "update", update_or_die)

    return arm


def in_full_and_in_parts(run, packed, folder: Path, dies, monkeypatch, minutes: float, deaths: list[int]):
    whole_notes, notes = Notebook(), Notebook()
    whole = run(packed, whole_notes, None)
    for after in deaths:
        dies(after)
        with pytest.raises(Killed):
            run(packed, notes, TrainingCheckpoint(folder, minutes, "same"))
    monkeypatch.undo()
    parts = run(packed, notes, TrainingCheckpoint(folder, minutes, "same"))
    return whole, whole_notes, parts, notes


@pytest.mark.parametrize("minutes", [ALWAYS, NEVER], ids=["within epochs", "at epochs' ends"])
@pytest.mark.parametrize("name", RUNS)
def test_killed_and_resumed_gives_the_same_bits(name, minutes, tiny_packed, tmp_path, dies, monkeypatch):
    whole, whole_notes, parts, notes = in_full_and_in_parts(
        RUNS[name], tiny_packed, tmp_path / "run", dies, monkeypatch, minutes, deaths=[2, 3, 1]
    )
    for one, other in zip(whole, parts, strict=True):
        for key, value in one.state_dict().items():
            assert torch.equal(value, other.state_dict()[key]), key
    last = dict(notes.reported)  # an epoch that was trained again reports the same
    assert same_history(list(last.items()), whole_notes.reported)


def same_history(one: list, other: list) -> bool:
    """Equal, with NaN (a score that nothing could be judged for) equal to itself."""
    return repr(one) == repr(other)


def test_epochs_before_the_checkpoint_are_handed_to_the_recorder(tiny_packed, tmp_path, dies, monkeypatch):
    steps = len(tiny_packed.subset("unpaired_images")) // (2 * SCHEDULE.batch_size)
    *_, notes = in_full_and_in_parts(
        run_init, tiny_packed, tmp_path / "run", dies, monkeypatch, NEVER, deaths=[2 * max(1, steps) + 1]
    )
    assert notes.restored == [1, 2]


def test_a_finished_fit_goes_straight_to_its_end(tiny_packed, tmp_path, dies):
    folder = tmp_path / "run"
    first = run_init(tiny_packed, Notebook(), TrainingCheckpoint(folder, NEVER, "same"))
    dies(after=1)
    again = run_init(tiny_packed, Notebook(), TrainingCheckpoint(folder, NEVER, "same"))
    for key, value in first[0].state_dict().items():
        assert torch.equal(value, again[0].state_dict()[key])


@pytest.mark.parametrize("number", STOP_SIGNALS, ids=lambda number: number.name)
def test_a_signal_ends_the_step_in_hand_with_a_checkpoint(number, tiny_packed, tmp_path, monkeypatch):
    update = Learner.update

    def update_and_signal(self, loss):
        update(self, loss)
        os.kill(os.getpid(), number)

    monkeypatch.setattr(Learner, "update", update_and_signal)
    checkpoint = TrainingCheckpoint(tmp_path / "run", NEVER, "same")
    with handlers_kept():
        with pytest.raises(Stopped, match=number.name):
            run_init(tiny_packed, Notebook(), checkpoint)
        os.kill(os.getpid(), number)  # changes nothing: the process is ending
    assert checkpoint.load()["step"] == 1


def test_signals_do_what_they_did_after_a_fit_without_any(tiny_packed, tmp_path):
    before = [signal.getsignal(number) for number in STOP_SIGNALS]
    run_init(tiny_packed, Notebook(), TrainingCheckpoint(tmp_path / "run", NEVER, "same"))
    assert [signal.getsignal(number) for number in STOP_SIGNALS] == before


def test_a_full_disk_keeps_the_previous_checkpoint(tmp_path, monkeypatch):
    checkpoint = TrainingCheckpoint(tmp_path / "run", NEVER, "same")
    checkpoint.save({"step": 1})

    def full(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.warns(UserWarning, match="No space left.*the previous one stays"):
        checkpoint.save({"step": 2})
    assert checkpoint.load()["step"] == 1
    assert [path.name for path in (tmp_path / "run").iterdir()] == [FILE]


def test_other_parameters_are_refused(tmp_path):
    TrainingCheckpoint(tmp_path / "run", NEVER, "lr=1").save({"step": 1})
    with pytest.raises(InvalidInput, match="other parameters"):
        TrainingCheckpoint(tmp_path / "run", NEVER, "lr=2").load()


def test_a_run_can_be_resumed_before_it_has_trained_anything(tmp_path):
    TrainingCheckpoint(tmp_path / "run", NEVER, "lr=1").begin()
    assert TrainingCheckpoint(tmp_path / "run", NEVER, "lr=1").load() is None
    with pytest.raises(InvalidInput, match="other parameters"):
        TrainingCheckpoint(tmp_path / "run", NEVER, "lr=2").load()


def test_only_a_checkpoint_of_nothing_goes_with_a_failed_run(tmp_path):
    failed = TrainingCheckpoint(tmp_path / "failed", NEVER, "same")
    failed.begin()
    failed.remove_if_untrained()
    assert not (tmp_path / "failed").exists()
    trained = TrainingCheckpoint(tmp_path / "trained", NEVER, "same")
    trained.begin()
    trained.save({"step": 1})
    trained.remove_if_untrained()
    resumed = TrainingCheckpoint(tmp_path / "trained", NEVER, "same")
    resumed.remove_if_untrained()
    assert resumed.load()["step"] == 1


class Attack:
    def __reduce__(self):
        return os.system, ("touch executed",)


def test_damaged_checkpoints_are_refused_and_nothing_is_executed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    checkpoint = TrainingCheckpoint(tmp_path / "run", NEVER, "same")
    checkpoint.save({"step": 1, "weights": torch.arange(1000.0)})
    path = tmp_path / "run" / FILE
    whole = path.read_bytes()
    generator = torch.Generator().manual_seed(0)
    for _ in range(200):
        damaged = bytearray(whole)
        position = int(torch.randint(len(whole), (1,), generator=generator))
        if position % 2:
            damaged = damaged[:position]
        else:
            damaged[position] ^= 255
        path.write_bytes(damaged)
        try:
            state = checkpoint.load()
            assert state["step"] == 1 or math.isfinite(state["step"])
        except InvalidInput:
            pass
    torch.save(Attack(), path)
    with pytest.raises(InvalidInput, match="cannot be read"):
        checkpoint.load()
    assert not (tmp_path / "executed").exists()
