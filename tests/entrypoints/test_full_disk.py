"""A disk that fills up while a step trains costs checkpoints, not the training."""

import errno
import os
import subprocess
import warnings
from pathlib import Path

import mlflow
import pytest
from mlflow import MlflowClient
from mlflow.entities import Metric
from mlflow.exceptions import MlflowException
from PIL import Image
from safetensors import SafetensorError

from hands.tracking import recorder
from hands.tracking.outbox import Outbox
from hands.training.resume import TrainingCheckpoint
from tests.project import ROOT, arguments, command, environment, invoke, newest_run, pictures_logged

EPOCHS = 2
FULL = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.fixture
def disk(tmp_path: Path):
    """A disk of 64 KiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)], capture_output=True)
    if mounted.returncode:
        pytest.skip("this user may mount nothing")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(folder: Path) -> None:
    with (folder / "of others").open("wb", buffering=0) as file:
        try:
            while file.write(bytes(1024)):
                pass
        except OSError:
            return


@pytest.fixture
def phase1(tiny_packed, tmp_path: Path):
    """phase1(**overrides): trains G1 for EPOCHS epochs in this process; with what it warns of, however often."""

    def train(**overrides: object):
        given = {
            "packed_dir": tiny_packed.folder, "epochs": EPOCHS, "batch_size": 6, "eval_every": 1, "unpaired": "none",
            "g1": "light", "encoder_weights": "none", "accelerator": "cpu", "checkpoint_dir": tmp_path / "checkpoints",
        }  # fmt: skip
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            result = invoke("phase1", **given | overrides)
        return result, [str(warning.message) for warning in caught]

    return train


def epochs(client: MlflowClient, run_id: str) -> list[int]:
    return [point.step for point in client.get_metric_history(run_id, "val/miou")]


def test_a_full_checkpoint_disk(store, phase1, disk, monkeypatch):
    begin = TrainingCheckpoint.begin

    def begin_and_fill(checkpoint: TrainingCheckpoint) -> None:
        begin(checkpoint)
        fill(disk)

    monkeypatch.setattr(TrainingCheckpoint, "begin", begin_and_fill)
    result, warned = phase1(checkpoint_dir=disk)
    assert result.exit_code == 0, result.output
    run = newest_run(store)
    assert run.info.status == "FINISHED" and epochs(store, run.info.run_id) == [1, 2]
    assert pictures_logged(store, run.info.run_id) == [0, 1, 2]
    assert mlflow.get_logged_model(run.data.tags["hands.output.g1_model"].removeprefix("models:/")).status == "READY"
    assert len([text for text in warned if "last.pt cannot be written" in text]) == EPOCHS
    assert any("outbox cannot be written (No space left on device); training goes on without it" in text for text in warned)


def test_a_disk_that_is_full_at_the_start_is_refused_then(phase1, disk):
    fill(disk)
    result, _ = phase1(checkpoint_dir=disk)
    assert result.exit_code == 1 and f"checkpoint_dir {disk}" in result.output and "make room" in result.output


def test_models_wait_for_room_where_they_are_put_together(store, phase1, tmp_path, monkeypatch):
    def log(*given) -> str:
        raise SafetensorError("I/O error: No space left on device (os error 28)")

    with monkeypatch.context() as patch:
        patch.setattr(recorder, "log_network", log)
        result, _ = phase1()
    run = newest_run(store)
    assert result.exit_code == 1 and "No space left on device" in result.output
    assert f"its checkpoint keeps it: run the step again with resume={run.info.run_id}" in result.output
    result, _ = phase1(resume=run.info.run_id)
    assert result.exit_code == 0, result.output
    assert store.get_run(run.info.run_id).info.status == "FINISHED" and epochs(store, run.info.run_id) == [1, 2]


def test_it_is_said_where_nothing_keeps_what_was_trained(store, phase1, monkeypatch):
    def log(*given) -> str:
        raise FULL

    def write(checkpoint: TrainingCheckpoint, state: dict) -> None:
        if state:
            raise FULL

    monkeypatch.setattr(recorder, "log_network", log)
    monkeypatch.setattr(TrainingCheckpoint, "_write", write)
    result, _ = phase1()
    assert result.exit_code == 1
    assert "its checkpoint holds an earlier state, since it could not be written" in result.output


@pytest.fixture
def outbox(store, tmp_path: Path):
    """An outbox whose folder cannot be made."""
    (tmp_path / "file").write_text("")
    with mlflow.start_run() as active:
        yield Outbox(tmp_path / "file" / "outbox", active.info.run_id)


def miou(epoch: int) -> list[Metric]:
    return [Metric("val/miou", epoch / 10, 1000 * epoch, epoch)]


def test_what_cannot_be_written_is_sent_all_the_same(store, outbox):
    with pytest.warns(UserWarning, match="outbox cannot be written .*; training goes on without it"):
        outbox.add_metrics(1, miou(1))
        outbox.add_picture(1, "val_frames", Image.new("RGB", (4, 4)))
    assert outbox.last_epoch() == 1
    outbox.send()
    assert outbox.last_epoch() == 0
    assert epochs(store, outbox.run_id) == [1]
    assert len(store.list_artifacts(outbox.run_id, "images")) == 2  # with its thumbnail


def test_with_the_server_away_too_it_waits_in_memory_and_in_order(store, outbox, tmp_path, monkeypatch):
    def refuse(*given, **named):
        raise MlflowException("away")

    with monkeypatch.context() as patch, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        patch.setattr(MlflowClient, "log_batch", refuse)
        for epoch in (1, 2):
            outbox.add_metrics(epoch, miou(epoch))
            outbox.try_to_send()
        outbox.folder = tmp_path / "outbox"  # there is room again
        outbox.add_metrics(3, miou(3))
        outbox.try_to_send()
    assert len([warning for warning in caught if "cannot be written" in str(warning.message)]) == 1
    assert epochs(store, outbox.run_id) == []
    outbox.send()
    assert epochs(store, outbox.run_id) == [1, 2, 3]
    assert not list((tmp_path / "outbox").iterdir())


def test_an_entry_point_ends_well_though_its_log_is_on_a_full_disk(session_store, tmp_path: Path):
    counts = dict.fromkeys(("n_unpaired_images", "n_unpaired_masks", "n_val", "n_test"), 0)
    words = command("synthesize", *arguments(
        "synthesize", out_dir=tmp_path / "out", width=64, height=96, workers=1, n_paired=1, **counts
    ))  # fmt: skip
    with open("/dev/full", "w") as full:
        done = subprocess.run(words, cwd=ROOT, env=environment(session_store), stdout=full, stderr=full)
    assert done.returncode == 0 and (tmp_path / "out" / "interhand.lmdb").exists()
