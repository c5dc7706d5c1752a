"""The raw layout as we write it, read by an independent reader and by ours; whole or not at all."""

import dataclasses
import os
import resource
import signal
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from hands.errors import InvalidInput
from hands.raw.layout import RawDataset
from hands.raw.layout_writer import RawDatasetWriter
from tests.full_disk import files_up_to
from tests.project import forked
from tests.raw.independent_layout import PREFIX, a_picture, load_pickled, read_lmdb, some_labels, three_channels
from tests.raw.made_frames import a_frame

ROLES = {"paired": True, "unpaired_image": False, "unpaired_masks": True, "val": True, "test": False}


def write_all(folder: Path, test_labelled: bool) -> None:
    with RawDatasetWriter(folder) as writer:
        for role, labelled in ROLES.items():
            for k in range(3):
                writer.add_frame(a_frame(role, k, labelled or (role == "test" and test_labelled)))


def test_an_independent_reader_reads_what_we_write(tmp_path: Path):
    folder = tmp_path / "data" / "InterHand2.6M"
    write_all(folder, test_labelled=False)
    images, labels = read_lmdb(folder / "interhand.lmdb"), read_lmdb(folder / "segm_train_val_mp.lmdb")
    paired = load_pickled(folder / "datalist_train_mp.pt")
    complete = load_pickled(folder / "datalist_train_complete.pt")
    ids = load_pickled(folder / "path2id_train.pt")
    assert [len(paired), len(complete), len(ids)] == [3, 6, 3]
    for k, entry in enumerate(paired):
        assert type(entry["bbox"]) is np.ndarray
        assert entry["bbox"].dtype == np.float32
        assert entry["bbox"].tolist() == [1.5, 2.0, 30.0, 30.0]
        assert (entry["capture"], entry["cam"], entry["frame"], entry["hand_type"]) == (3, 400123, k, "interacting")
        assert entry["img_path"].startswith(PREFIX)
        decoded = cv2.imdecode(np.frombuffer(images[entry["img_path"][2:]], np.uint8), cv2.IMREAD_COLOR)
        assert np.array_equal(decoded, a_picture(40, 32, k))  # RGB, because RGB went into cv2.imencode
        mask_id = ids[entry["img_path"].removeprefix(PREFIX).removesuffix(".jpg")]
        left, right = (cv2.imdecode(np.frombuffer(labels[f"{mask_id}__{s}"], np.uint8), cv2.IMREAD_COLOR) for s in "lr")
        expected = some_labels(40, 32, k)
        assert np.array_equal(np.where(left > 0, left - 16, 0), three_channels(expected[0]))
        assert np.array_equal(right, three_channels(expected[1]))
    unpaired = load_pickled(folder / "unpaired_segm_ids.pt")
    assert len(unpaired) == 3
    assert all(f"{mask_id}__l" in labels and f"{mask_id}__r" in labels for mask_id in unpaired)
    assert [entry["frame"] for entry in load_pickled(folder / "datalist_stud_test.pt")] == [0, 1, 2]
    assert not (folder / "path2id_test.pt").exists()


def test_lists_load_with_weights_only_and_numpy_alone(tmp_path: Path):
    write_all(tmp_path / "raw", test_labelled=True)
    numpy_globals = [np._core.multiarray._reconstruct, np.ndarray, np.dtype, np.dtypes.Float32DType]
    with torch.serialization.safe_globals(numpy_globals):
        assert len(torch.load(tmp_path / "raw" / "datalist_val_mp.pt", weights_only=True)) == 3


@pytest.mark.parametrize("test_labelled", [False, True])
def test_we_read_what_we_write(tmp_path: Path, test_labelled: bool):
    write_all(tmp_path / "raw", test_labelled)
    raw = RawDataset(tmp_path / "raw", "bgr")
    assert raw.test_is_labelled == test_labelled
    assert [len(raw.entries(s)) for s in ("train", "unpaired_images", "val", "test")] == [3, 3, 3, 3]
    assert all((entry.mask_id is not None) == test_labelled for entry in raw.entries("test"))
    entry = raw.entries("val")[2]
    assert entry.box == (1.5, 2.0, 30.0, 30.0)
    assert np.array_equal(raw.pictures.image(entry), a_picture(40, 32, 2))
    assert np.array_equal(raw.pictures.labels(entry.mask_id), some_labels(40, 32, 2))


def test_the_map_grows_with_what_is_written(tmp_path: Path):
    big = b"\x89PNG" + os.urandom(30 << 20)
    with RawDatasetWriter(tmp_path / "raw") as writer:
        for k in range(4):
            frame = a_frame("unpaired_image", k, labelled=False)
            writer.add_frame(dataclasses.replace(frame, image=big))
    values = read_lmdb(tmp_path / "raw" / "interhand.lmdb")
    assert len(values) == 4
    assert all(value == big for value in values.values())


def test_a_failing_writer_leaves_nothing(tmp_path: Path):
    def fail_midway():
        with RawDatasetWriter(tmp_path / "raw") as writer:
            writer.add_frame(a_frame("val", 0, labelled=True))
            raise RuntimeError("midway")

    with pytest.raises(RuntimeError, match="midway"):
        fail_midway()
    assert list(tmp_path.iterdir()) == []


def test_a_killed_writer_leaves_nothing_that_passes_for_whole(tmp_path: Path):
    def write_and_die():
        with RawDatasetWriter(tmp_path / "raw") as writer:
            writer.add_frame(a_frame("val", 0, labelled=True))
            os.kill(os.getpid(), signal.SIGKILL)

    assert forked(write_and_die) == -signal.SIGKILL
    assert not (tmp_path / "raw").exists()
    assert [path.name for path in tmp_path.iterdir()] == [".raw.partial"]
    with pytest.raises(InvalidInput, match="has no"):
        RawDataset(tmp_path / ".raw.partial" / "content", "bgr")
    write_all(tmp_path / "raw", test_labelled=False)
    assert [path.name for path in tmp_path.iterdir()] == ["raw"]


def test_refuses_an_occupied_folder(tmp_path: Path):
    (tmp_path / "file").touch()
    with pytest.raises(InvalidInput, match="already holds files"):
        write_all(tmp_path, test_labelled=False)


@pytest.mark.parametrize(
    "change",
    [
        {"role": "extra"},
        {"split": "test"},
        {"path": "val/../../etc/passwd"},
        {"path": "train/x"},
        {"hand_type": "both"},
        {"image": None},
        {"labels_l": None},
        {"labels_l": None, "labels_r": None},
    ],
)
def test_the_writer_refuses_frames_that_do_not_fit(tmp_path: Path, change: dict):
    frame = dataclasses.replace(a_frame("val", 0, labelled=True), **change)
    with (
        RawDatasetWriter(tmp_path / "raw") as writer,
        pytest.raises(ValueError, match="|".join(["role", "path", "hand", "label"])),
    ):
        writer.add_frame(frame)


def test_the_writer_refuses_one_path_twice(tmp_path: Path):
    with RawDatasetWriter(tmp_path / "raw") as writer:
        writer.add_frame(a_frame("val", 0, labelled=True))
        with pytest.raises(ValueError, match="added before"):
            writer.add_frame(a_frame("val", 0, labelled=True))


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
