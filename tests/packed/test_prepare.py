"""Raw data set to packed set: what lands where, and what is refused."""

import dataclasses
import json
import multiprocessing
from pathlib import Path

import cv2
import numpy as np
import pytest

from hands.errors import InvalidInput
from hands.files.decoding import BrokenEntry
from hands.packed import prepare
from hands.packed.manifest import Manifest
from hands.packed.packed_set import PackedSet
from hands.packed.prepare import PackConfig, pack
from hands.parts import HAND_TYPES
from hands.raw.layout import RawDataset
from tests.files.loader_grid import loader_matrix
from tests.full_disk import files_up_to
from tests.raw.independent_layout import PREFIX, RawFiles, a_picture, png, small_set, some_labels

COUNTS = {"train": 5, "unpaired_images": 4, "unpaired_masks": 3, "val": 4, "test": 4}
CONFIG = PackConfig(size=32, max_broken=0.0, workers=1)
MARGIN = 4


def pack_files(files: RawFiles, tmp_path: Path, config: PackConfig) -> Manifest:
    raw = RawDataset(files.write(tmp_path / "raw"), "bgr")
    return pack(raw, tmp_path / "packed", config)


def test_all_subsets_are_packed_in_list_order(tmp_path: Path):
    files = small_set(COUNTS)
    manifest = pack_files(files, tmp_path, CONFIG)
    packed = PackedSet.open(tmp_path / "packed")
    assert packed.manifest == manifest
    assert {name: (s.count, s.listed, s.channels, s.dropped) for name, s in manifest.subsets.items()} == {
        "train": (5, 5, 5, {}),
        "unpaired_images": (4, 4, 3, {}),
        "unpaired_masks": (3, 3, 2, {}),
        "val": (4, 4, 5, {}),
        "test": (4, 4, 3, {}),
    }
    names = {"train": "datalist_train_mp.pt", "val": "datalist_val_mp.pt", "test": "datalist_stud_test.pt"}
    for subset, name in names.items():
        paths = [entry["img_path"].removeprefix(PREFIX).removesuffix(".jpg") for entry in files.lists[name]]
        assert packed.subset(subset).paths == paths
        assert packed.subset(subset).hand_types.tolist() == [k % 3 for k in range(len(paths))]
    paired = set(packed.subset("train").paths)
    complete = [e["img_path"].removeprefix(PREFIX)[:-4] for e in files.lists["datalist_train_complete.pt"]]
    assert packed.subset("unpaired_images").paths == [path for path in complete if path not in paired]
    assert packed.subset("unpaired_masks").paths == files.lists["unpaired_segm_ids.pt"]


def test_records_hold_the_box_warped_as_opencv_warps_it(tmp_path: Path):
    files = small_set(COUNTS)
    for entry in files.lists["datalist_val_mp.pt"]:
        entry["bbox"] = np.array([-3.4, 2.3, 36.0, 36.0], np.float32)
    pack_files(files, tmp_path, CONFIG)
    records = PackedSet.open(tmp_path / "packed").subset("val").read(range(4), None).numpy()
    box = (-3.4, 2.3, 36.0, 36.0)  # no coordinate half way between two pixels, where OpenCV's versions differ
    matrix = loader_matrix(box, 32)
    for k in (0, 1, 2):  # PNGs
        h, width = (40, 32) if k % 2 == 0 else (32, 40)
        centre = records[k, :, MARGIN:-MARGIN, MARGIN:-MARGIN]
        for hand, labels in zip(centre[3:], some_labels(h, width, k), strict=True):
            assert np.array_equal(hand, cv2.warpAffine(labels, matrix, (32, 32), flags=cv2.INTER_NEAREST))
        warped = cv2.warpAffine(a_picture(h, width, k), matrix, (32, 32), flags=cv2.INTER_LINEAR)
        inner = slice(5, 26)  # away from the picture's edges, where the slightly wider filter differs
        assert np.abs(centre[:3, inner, inner].transpose(1, 2, 0).astype(int) - warped[inner, inner]).mean() < 2


def test_class_pixels_are_those_of_the_central_crops(tmp_path: Path):
    manifest = pack_files(small_set(COUNTS), tmp_path, CONFIG)
    for name, channels in (("train", 5), ("unpaired_masks", 2)):
        subset = PackedSet.open(tmp_path / "packed").subset(name)
        labels = subset.read(range(len(subset)), None).numpy()[:, channels - 2 :, MARGIN:-MARGIN, MARGIN:-MARGIN]
        expected = [[int((labels[:, hand] == part).sum()) for part in range(17)] for hand in range(2)]
        assert [list(hand) for hand in manifest.subsets[name].class_pixels] == expected


def test_unpaired_masks_fill_four_fifths_of_the_crop(tmp_path: Path):
    files = small_set({"unpaired_masks": 1, "val": 1}, height=200, width=160)
    labels = np.zeros((2, 200, 160), np.uint8)
    labels[0, 50:90, 30:110] = 3  # 80 wide, 40 high
    files.put_labels("unpaired_masks0", labels)
    pack_files(files, tmp_path, CONFIG)
    subset = PackedSet.open(tmp_path / "packed").subset("unpaired_masks")
    left, right = subset.read([0], None)[0].numpy()
    rows, columns = np.nonzero(left)
    assert subset.hand_types.tolist() == [0]
    assert right.max() == 0
    # 80 pixels of a box of 100 at 32: 25.6 pixels, about pixel 20 of 40, where loaders put a box's middle
    assert (columns.min(), columns.max()) == (8, 32)
    assert (rows.min(), rows.max()) == (14, 26)


def test_a_labelled_test_split_is_packed_with_its_labels(tmp_path: Path):
    files = small_set({"val": 1, "test": 2})
    files.lists["path2id_test.pt"] = {}
    for k in range(2):
        files.put_labels(f"test{k}", some_labels(*((40, 32) if k == 0 else (32, 40)), k))
        files.lists["path2id_test.pt"][f"test/Capture1/test/cam400123/image{k}"] = f"test{k}"
    assert pack_files(files, tmp_path, CONFIG).subsets["test"].channels == 5


def test_without_labels_a_hand_type_that_is_not_valid_rules_no_hand_out(tmp_path: Path):
    files = small_set(COUNTS)
    for name in ("datalist_train_complete.pt", "datalist_train_mp.pt"):
        for entry in files.lists[name]:
            entry["hand_type_valid"] = np.array(0, np.float32)
    pack_files(files, tmp_path, CONFIG)
    packed = PackedSet.open(tmp_path / "packed")
    assert packed.subset("unpaired_images").hand_types.tolist() == 4 * [HAND_TYPES.index("interacting")]
    assert packed.subset("train").hand_types.tolist() == [k % 3 for k in range(len(packed.subset("train")))]


@pytest.mark.parametrize("workers", [2, 3])
def test_the_bytes_do_not_depend_on_the_workers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, workers: int):
    raw = RawDataset(small_set({"train": 70, "val": 40}).write(tmp_path / "raw"), "bgr")
    alone = pack(raw, tmp_path / "alone", CONFIG)
    monkeypatch.setattr(prepare, "_SERIAL_BELOW", 0)
    together = pack(raw, tmp_path / "together", dataclasses.replace(CONFIG, workers=workers))
    assert alone == together
    files = ["manifest.json", "records.lmdb/data.mdb", "index/train.tsv"]
    assert all((tmp_path / "alone" / f).read_bytes() == (tmp_path / "together" / f).read_bytes() for f in files)
    assert not multiprocessing.active_children()


def test_refuses_a_broken_entry_from_a_worker_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(prepare, "_SERIAL_BELOW", 0)
    files = small_set({"train": 70, "val": 1})
    files.put_image(files.lists["datalist_train_mp.pt"][40], b"no picture")
    with pytest.raises(BrokenEntry, match="image40.jpg cannot be decoded") as caught:
        pack_files(files, tmp_path, dataclasses.replace(CONFIG, workers=2))
    assert caught.value.reason == "unreadable picture"
    assert not (tmp_path / "packed").exists()
    assert not multiprocessing.active_children()


def lose_image(files: RawFiles) -> None:
    del files.images["data/InterHand2.6M/images/train/Capture1/train/cam400123/image2.jpg"]


def lose_labels(files: RawFiles) -> None:
    del files.labels["train2__l"]


def lose_id(files: RawFiles) -> None:
    del files.lists["path2id_train.pt"]["train/Capture1/train/cam400123/image2"]


def cut_picture(files: RawFiles) -> None:
    key = "data/InterHand2.6M/images/train/Capture1/train/cam400123/image2.jpg"
    files.images[key] = files.images[key][:-20]


def resize_labels(files: RawFiles) -> None:
    files.put_labels("train2", some_labels(32, 40, 2))


def spoil_labels(files: RawFiles) -> None:
    files.labels["train2__r"] = png(np.full((40, 32, 3), 33, np.uint8))


def spoil_box(files: RawFiles) -> None:
    files.lists["datalist_train_mp.pt"][2]["bbox"] = np.full(4, np.inf, np.float32)


def lose_key(files: RawFiles) -> None:
    files.lists["datalist_train_mp.pt"][2] = {"img_path": files.lists["datalist_train_mp.pt"][2]["img_path"]}


def move_box(files: RawFiles) -> None:
    files.lists["datalist_train_mp.pt"][2]["bbox"] = np.array([900, 0, 10, 10], np.float32)


BREAKAGES = {
    lose_image: ("image missing", "image2.jpg"),
    lose_labels: ("labels missing", "train2__l"),
    lose_id: ("labels missing", "image2 has no id"),
    cut_picture: ("unreadable picture", "image2.jpg"),
    resize_labels: ("labels of another size", "image2 is 32 x 40 pixels but its labels train2 are 40 x 32"),
    spoil_labels: ("labels out of range", "train2__r holds the value 33"),
    spoil_box: ("invalid entry", "entry 2 .*image2"),
    lose_key: ("invalid entry", "entry 2 has no bbox, hand_type"),
    move_box: ("box outside", "image2.*lies outside"),
}


@pytest.mark.parametrize("damage", BREAKAGES, ids=lambda damage: damage.__name__)
def test_names_the_broken_entry_or_drops_and_counts_it(tmp_path: Path, damage):
    files = small_set(COUNTS)
    damage(files)
    reason, message = BREAKAGES[damage]
    with pytest.raises(InvalidInput, match=message):
        pack_files(files, tmp_path, CONFIG)
    assert not (tmp_path / "packed").exists()
    raw = RawDataset(tmp_path / "raw", "bgr")
    manifest = pack(raw, tmp_path / "packed", dataclasses.replace(CONFIG, max_broken=1.0))
    train = manifest.subsets["train"]
    assert (train.count, train.listed, train.dropped[reason]) == (4, 5, 1)
    paths = PackedSet.open(tmp_path / "packed").subset("train").paths
    assert [path[-1] for path in paths] == ["0", "1", "3", "4"]
    first_column = [line.split("\t")[0] for line in (tmp_path / "packed" / "index" / "train.tsv").read_text().splitlines()]
    assert first_column == ["0", "1", "3", "4"]  # positions in the source list


def test_empty_unpaired_labels_are_a_broken_entry(tmp_path: Path):
    files = small_set({"unpaired_masks": 2, "val": 1})
    files.put_labels("unpaired_masks1", np.zeros((2, 40, 32), np.uint8))
    manifest = pack_files(files, tmp_path, dataclasses.replace(CONFIG, max_broken=1.0))
    assert manifest.subsets["unpaired_masks"].dropped == {"labels empty": 1}


def test_an_unreadable_list_is_refused_even_when_broken_entries_are_skipped(tmp_path: Path):
    folder = small_set(COUNTS).write(tmp_path / "raw")
    (folder / "datalist_val_mp.pt").write_bytes(b"garbage")
    with pytest.raises(InvalidInput, match="datalist_val_mp.pt is not a readable list"):
        pack(RawDataset(folder, "bgr"), tmp_path / "packed", dataclasses.replace(CONFIG, max_broken=1.0))


def test_refuses_an_occupied_destination_before_any_work(tmp_path: Path):
    raw = RawDataset(small_set(COUNTS).write(tmp_path / "raw"), "bgr")
    with pytest.raises(InvalidInput, match="already holds files"):
        pack(raw, tmp_path / "raw", CONFIG)


@pytest.mark.parametrize("limit", [3_000, 20_000, 100_000])
def test_a_full_disk_stops_prepare_and_leaves_nothing(tmp_path, limit):
    raw = RawDataset(small_set(COUNTS | {"train": 40}, 60, 40).write(tmp_path / "raw"), "bgr")
    config = PackConfig(64, 0.0, 1)
    with files_up_to(limit), pytest.raises(InvalidInput, match="cannot be written.*make room"):
        pack(raw, tmp_path / "packed", config)
    assert [path.name for path in tmp_path.iterdir()] == ["raw"]
    assert pack(raw, tmp_path / "packed", config).subsets["train"].count == 40


def test_digests_fit_mlflow_and_follow_the_content(tmp_path: Path):
    first = pack_files(small_set(COUNTS), tmp_path / "a", CONFIG)
    same = pack_files(small_set(COUNTS), tmp_path / "b", CONFIG)
    files = small_set(COUNTS)
    key = next(iter(files.images))
    files.images[key] = png(a_picture(40, 32, 99))
    other = pack_files(files, tmp_path / "c", CONFIG)
    assert first.digest == same.digest != other.digest
    assert first.source_digest == same.source_digest
    assert len(first.digest) == len(first.source_digest) == 32
    assert json.loads((tmp_path / "a" / "packed" / "manifest.json").read_text())["digest"] == first.digest
