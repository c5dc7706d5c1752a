"""The submission archive, read as a grader would: tarfile, lmdb, OpenCV, torch.load."""

import os
import tarfile
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from hands.errors import InvalidInput
from hands.prediction.submission import SubmissionWriter
from tests.raw.independent_layout import load_pickled, read_lmdb, some_labels

PATHS = [f"test/Capture{k}/0012_x/cam400123/image{k}" for k in range(70)]


def the_labels() -> torch.Tensor:
    return torch.from_numpy(np.stack([some_labels(64, 64, k) for k in range(len(PATHS))]))


def write(folder: Path) -> None:
    labels = the_labels()
    batch = torch.empty(10, 2, 64, 64, dtype=torch.uint8)
    with SubmissionWriter(folder) as writer:
        for start in range(0, len(PATHS), 10):
            batch.copy_(labels[start : start + 10])  # one buffer for all batches, as a predictor has
            writer.add(PATHS[start : start + 10], batch)


def check(folder: Path) -> None:
    labels = the_labels().numpy()
    values = read_lmdb(folder)
    assert len(values) == 2 * len(PATHS)
    for path, hands in zip(PATHS, labels, strict=True):
        for suffix, hand in zip("lr", hands, strict=True):
            picture = cv2.imdecode(np.frombuffer(values[f"{path}__{suffix}"], np.uint8), cv2.IMREAD_UNCHANGED)
            assert picture.shape == (64, 64, 3)
            assert all(np.array_equal(picture[..., channel], hand) for channel in range(3))
    assert load_pickled(folder / "im_path.pt") == [f"{path}.jpg" for path in PATHS]


def test_folder_and_archive_hold_every_mask(tmp_path: Path):
    write(tmp_path / "out")
    assert sorted(os.listdir(tmp_path / "out")) == ["test.lmdb", "test.lmdb.tar.gz"]
    check(tmp_path / "out" / "test.lmdb")
    with tarfile.open(tmp_path / "out" / "test.lmdb.tar.gz") as archive:
        assert archive.getnames() == ["test.lmdb", "test.lmdb/data.mdb", "test.lmdb/im_path.pt"]
        assert {member.mtime for member in archive.getmembers()} == {0}
        archive.extractall(tmp_path / "unpacked", filter="data")
    check(tmp_path / "unpacked" / "test.lmdb")


def test_equal_predictions_give_equal_bytes(tmp_path: Path):
    for name in "ab":
        write(tmp_path / name)
    first, second = ((tmp_path / name / "test.lmdb.tar.gz").read_bytes() for name in "ab")
    assert first == second


@pytest.mark.parametrize("path", ["../escape", "/etc/passwd", "test/../../x", "test//x", "", "a\\b", "a\nb", "x" * 600])
def test_refuses_paths_that_leave_the_archive(tmp_path: Path, path: str):
    with SubmissionWriter(tmp_path / "out") as writer, pytest.raises(InvalidInput):
        writer.add([path], torch.zeros(1, 2, 8, 8, dtype=torch.uint8))
    assert not (tmp_path / "escape").exists()


def test_refuses_a_picture_predicted_twice(tmp_path: Path):
    with SubmissionWriter(tmp_path / "out") as writer:
        writer.add(["test/a"], torch.zeros(1, 2, 8, 8, dtype=torch.uint8))
        with pytest.raises(InvalidInput, match="test/a was predicted twice"):
            writer.add(["test/a"], torch.zeros(1, 2, 8, 8, dtype=torch.uint8))


@pytest.mark.parametrize(
    "labels",
    [
        torch.zeros(2, 2, 8, 8, dtype=torch.uint8),
        torch.zeros(1, 3, 8, 8, dtype=torch.uint8),
        torch.zeros(1, 2, 8, 8),
        torch.full((1, 2, 8, 8), 17, dtype=torch.uint8),
    ],
)
def test_refuses_labels_that_do_not_fit(tmp_path: Path, labels: torch.Tensor):
    with SubmissionWriter(tmp_path / "out") as writer, pytest.raises(ValueError, match="labels must be"):
        writer.add(["test/a"], labels)


def test_a_failing_writer_leaves_nothing(tmp_path: Path):
    def fail_midway():
        with SubmissionWriter(tmp_path / "out") as writer:
            writer.add(PATHS[:10], the_labels()[:10])
            raise RuntimeError("midway")

    with pytest.raises(RuntimeError, match="midway"):
        fail_midway()
    assert list(tmp_path.iterdir()) == []


def test_refuses_an_occupied_folder(tmp_path: Path):
    (tmp_path / "file").touch()
    with pytest.raises(InvalidInput, match="already holds files"):
        write(tmp_path)
