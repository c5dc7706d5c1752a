"""The raw layout as an independent writer writes it, read by us; folders that are none."""

import os
import pickle
from pathlib import Path

import cv2
import numpy as np
import pytest

from hands.errors import InvalidInput
from hands.raw.layout import RawDataset
from tests.project import forked
from tests.raw.independent_layout import a_picture, png, small_set, some_labels

COUNTS = {"train": 5, "unpaired_images": 4, "unpaired_masks": 3, "val": 4, "test": 4}


def test_we_read_what_an_independent_writer_writes(tmp_path: Path):
    files = small_set(COUNTS)
    raw = RawDataset(files.write(tmp_path / "raw"), "bgr")
    assert not raw.test_is_labelled
    assert sorted(entry.path[-1] for entry in raw.entries("unpaired_images")) == list("0123")
    assert raw.unpaired_mask_ids == ["unpaired_masks0", "unpaired_masks1", "unpaired_masks2"]
    for subset in ("train", "val"):
        for k, entry in enumerate(raw.entries(subset)):
            h, w = (40, 32) if k % 2 == 0 else (32, 40)
            image, labels = raw.pictures.image(entry), raw.pictures.labels(entry.mask_id)
            assert image.shape == (h, w, 3)
            theirs = cv2.imdecode(np.frombuffer(files.images[entry.key], np.uint8), cv2.IMREAD_COLOR)
            assert np.abs(image.astype(int) - theirs).max() <= (2 if k % 4 == 3 else 0)  # JPEG decoders may round apart
            assert np.abs(image.astype(int) - a_picture(h, w, k)).mean() < 3
            assert np.array_equal(labels, some_labels(h, w, k))
            assert entry.box == (-3.5, 2.25, 36.0, 36.0)
            assert (entry.capture, entry.cam, entry.frame, entry.seq_name) == (0, 400123, 17, "0000_seq")
            assert entry.key == f"data/InterHand2.6M/images/{entry.path}.jpg"


def test_foreign_data_keeps_its_channel_order(tmp_path: Path):
    raw = small_set({"val": 1})
    raw.put_image(raw.lists["datalist_val_mp.pt"][0], png(a_picture(40, 32, 0)[..., ::-1]))  # an ordinary RGB file
    dataset = RawDataset(raw.write(tmp_path / "raw"), "rgb")
    assert np.array_equal(dataset.pictures.image(dataset.entries("val")[0]), a_picture(40, 32, 0))
    with pytest.raises(InvalidInput, match="bgr or rgb"):
        RawDataset(tmp_path / "raw", "RGB")


def test_mask_ids_may_be_numbers(tmp_path: Path):
    raw = small_set({"val": 1})
    path = next(iter(raw.lists["path2id_val.pt"]))
    raw.lists["path2id_val.pt"][path] = np.int64(12)
    raw.lists["unpaired_segm_ids.pt"] = [12, np.str_("13"), "x"]
    dataset = RawDataset(raw.write(tmp_path / "raw"), "bgr")
    assert dataset.entries("val")[0].mask_id == "12"
    assert dataset.unpaired_mask_ids == ["12", "13", "x"]


def test_only_the_list_that_is_asked_for_is_read(tmp_path: Path):
    folder = small_set({"train": 1, "val": 1}).write(tmp_path / "raw")
    (folder / "datalist_val_mp.pt").write_bytes(b"garbage")
    raw = RawDataset(folder, "bgr")
    assert len(raw.entries("train")) == 1
    with pytest.raises(InvalidInput, match="no list of images"):
        raw.entries("minitrain")


def test_a_data_set_survives_pickling_and_forks(tmp_path: Path):
    raw = RawDataset(small_set(COUNTS).write(tmp_path / "raw"), "bgr")
    entry = raw.entries("train")[0]
    image = raw.pictures.image(entry)  # opens the handle
    assert np.array_equal(pickle.loads(pickle.dumps(raw)).pictures.image(entry), image)
    assert forked(lambda: np.testing.assert_array_equal(raw.pictures.image(entry), image)) == 0


def test_says_what_an_empty_folder_lacks(tmp_path: Path):
    with pytest.raises(InvalidInput, match=r"has no interhand.lmdb, .*unpaired_segm_ids.pt"):
        RawDataset(tmp_path, "bgr")
    with pytest.raises(InvalidInput, match="not a folder"):
        RawDataset(tmp_path / "nowhere", "bgr")


@pytest.mark.parametrize("damage", [b"", b"garbage" * 3000])
def test_refuses_a_damaged_lmdb(tmp_path: Path, damage: bytes):
    folder = small_set({"val": 1}).write(tmp_path / "raw")
    (folder / "interhand.lmdb" / "data.mdb").write_bytes(damage)
    with pytest.raises(InvalidInput, match="interhand.lmdb"):
        RawDataset(folder, "bgr")


def test_refuses_an_lmdb_cut_short(tmp_path: Path):
    folder = small_set({"val": 4}).write(tmp_path / "raw")
    file = folder / "interhand.lmdb" / "data.mdb"
    os.truncate(file, file.stat().st_size // 2)
    with pytest.raises(InvalidInput, match="cut short"):
        RawDataset(folder, "bgr")
