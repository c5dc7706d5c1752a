"""Folders that appear whole: dead writers' leftovers go, living writers keep theirs, a full disk leaves nothing."""

import os
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch

from hands.errors import InvalidInput
from hands.files.lmdb_files import LmdbWriter, environment
from hands.packed.prepare import PackConfig, pack
from hands.prediction.predictions import write_labels
from hands.processes.folders import whole_folder
from hands.raw.layout import RawDataset
from hands.raw.layout_writer import RawDatasetWriter
from hands.training.resume import FILE, TrainingCheckpoint
from tests.packed.test_packed_set import a_record
from tests.project import ROOT
from tests.raw.independent_layout import small_set
from tests.raw.test_layout import a_frame

COUNTS = {"train": 40, "unpaired_images": 5, "unpaired_masks": 5, "val": 5, "test": 5}


@contextmanager
def files_up_to(size: int) -> Iterator[None]:
    """Within, no file of this process can grow beyond so many bytes: writing fails as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def a_writer(destination: Path, then: str) -> subprocess.Popen:
    """A process that has begun to write `destination` when this returns, and then does what is said."""
    code = f"""
import os, signal, sys, time
sys.path.insert(0, {str(ROOT)!r})
from hands.processes.folders import whole_folder
with whole_folder({str(destination)!r}) as partial:
    (partial / "half").write_text("x")
    print("begun", flush=True)
    {then}
"""
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "begun\n"
    return process


def test_what_killed_writers_left_is_removed_by_the_next(tmp_path):
    for _ in range(2):
        killed = a_writer(tmp_path / "set", "os.kill(os.getpid(), signal.SIGKILL)")
        assert killed.communicate() == ("", None) and killed.returncode == -signal.SIGKILL
        assert [path.name for path in tmp_path.iterdir()] == [".set.partial"]
    with whole_folder(tmp_path / "set") as partial:
        assert list(partial.iterdir()) == []
        (partial / "whole").touch()
    assert [str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")] == ["set", "set/whole"]


def test_a_living_writer_is_left_alone(tmp_path, monkeypatch):
    monkeypatch.setattr("hands.processes.folders._WAIT_S", 0)
    living = a_writer(tmp_path / "set", "sys.stdin.readline()")
    with pytest.raises(InvalidInput, match="Another process is writing"), whole_folder(tmp_path / "set"):
        raise AssertionError("two writers of one folder")
    living.kill()
    living.communicate()


def test_a_writer_that_is_about_to_end_is_waited_for(tmp_path):
    ending = a_writer(tmp_path / "set", "time.sleep(1); os._exit(1)")
    with whole_folder(tmp_path / "set") as partial:
        (partial / "whole").touch()
    assert ending.communicate() == ("", None) and ending.returncode == 1
    assert [path.name for path in (tmp_path / "set").iterdir()] == ["whole"]


@pytest.mark.parametrize("limit", [3_000, 20_000, 100_000])
def test_a_full_disk_stops_prepare_and_leaves_nothing(tmp_path, limit):
    raw = RawDataset(small_set(COUNTS, 60, 40).write(tmp_path / "raw"), "bgr")
    config = PackConfig(64, 0.0, 1)
    with files_up_to(limit), pytest.raises(InvalidInput, match="cannot be written.*make room"):
        pack(raw, tmp_path / "packed", config)
    assert [path.name for path in tmp_path.iterdir()] == ["raw"]
    assert pack(raw, tmp_path / "packed", config).subsets["train"].count == 40


def test_a_full_disk_stops_a_raw_dataset_and_leaves_nothing(tmp_path):
    def write(frames: int) -> None:
        with RawDatasetWriter(tmp_path / "raw") as writer:
            for number in range(frames):
                writer.add_frame(a_frame("val", number, labelled=True))

    write(300)
    sizes = sorted(path.stat().st_size for path in (tmp_path / "raw").rglob("*") if path.is_file())
    (tmp_path / "raw").rename(tmp_path / "whole")
    for limit in (sizes[-1] - 1, sizes[-3] - 1):  # an LMDB does not fit; then a list does not either
        with files_up_to(limit), pytest.raises(InvalidInput, match="cannot be written.*make room"):
            write(300)
        assert [path.name for path in tmp_path.iterdir()] == ["whole"]


def test_lists_that_do_not_fit_are_refused(tmp_path):
    def write() -> None:
        with RawDatasetWriter(tmp_path / "raw") as writer:
            writer.add_frame(a_frame("val", 0, labelled=True))
            writer._writer.flush()
            resource.setrlimit(resource.RLIMIT_FSIZE, (100, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))

    with files_up_to(resource.getrlimit(resource.RLIMIT_FSIZE)[1]), pytest.raises(InvalidInput, match="make room"):
        write()
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_stops_predicted_labels_and_leaves_nothing(tmp_path):
    noise = np.random.default_rng(0).integers(0, 17, (3, 200, 200), np.uint8)

    def write() -> None:
        with whole_folder(tmp_path / "labels") as partial:
            write_labels(partial, "a", 10 * noise.transpose(1, 2, 0), noise[:2])

    with files_up_to(5_000), pytest.raises(InvalidInput, match="labels cannot be written .File too large"):
        write()
    assert list(tmp_path.iterdir()) == []


def test_a_checkpoint_that_does_not_fit_keeps_the_previous_one(tmp_path):
    checkpoint = TrainingCheckpoint(tmp_path / "run", 1e9, "same")
    checkpoint.save({"step": 1, "weights": torch.zeros(10)})
    for limit in (0, 100, 5_000, 50_000):
        with files_up_to(limit), pytest.warns(UserWarning, match="cannot be written.*previous one stays"):
            checkpoint.save({"step": 2, "weights": torch.zeros(100_000)})
        assert checkpoint.load()["step"] == 1
        assert [path.name for path in (tmp_path / "run").iterdir()] == [FILE]
    checkpoint.save({"step": 3, "weights": torch.zeros(100_000)})
    assert checkpoint.load()["step"] == 3


def test_an_lmdb_that_does_not_fit_leaves_what_was_flushed(tmp_path):
    writer = LmdbWriter(tmp_path / "some.lmdb", ascending=True)
    writer.put(b"a", a_record(5, 0).tobytes())
    writer.flush()
    writer.put(b"b", bytes(1 << 20))
    with files_up_to(100_000), pytest.raises(InvalidInput, match="some.lmdb/data.mdb cannot be written"):
        writer.flush()
    writer.abandon()
    with environment(tmp_path / "some.lmdb").begin() as view:
        assert view.get(b"a") == a_record(5, 0).tobytes() and view.get(b"b") is None
    assert os.path.getsize(tmp_path / "some.lmdb" / "data.mdb") <= 100_000
