"""No picture and no labels stand in two splits: what lists share is refused, or left out and counted."""

import dataclasses
import random
from pathlib import Path

import pytest

from hands.errors import InvalidInput
from hands.packed.disjoint import Copies, LeftOut, left_out
from hands.packed.manifest import Manifest
from hands.packed.packed_set import PackedSet
from hands.packed.prepare import PackConfig, pack
from hands.raw.entries import read_entry
from hands.raw.layout import RawDataset
from tests.project import invoke, newest_run
from tests.raw.independent_layout import RawFiles, an_entry, small_set

COUNTS = {"train": 5, "unpaired_images": 4, "unpaired_masks": 3, "val": 4, "test": 4}
CONFIG = PackConfig(size=32, max_broken=0.0, workers=1)
COMPLETE, TRAIN, VAL, TEST = (
    "datalist_train_complete.pt", "datalist_train_mp.pt", "datalist_val_mp.pt", "datalist_stud_test.pt",
)  # fmt: skip


def path_of(entry: dict) -> str:
    return entry["img_path"].removeprefix("./data/InterHand2.6M/images/").rpartition(".")[0]


def packed(files: RawFiles, tmp_path: Path, config: PackConfig = CONFIG) -> Manifest:
    return pack(RawDataset(files.write(tmp_path / "raw"), "bgr"), tmp_path / "packed", config)


def dropped(manifest: Manifest) -> dict[str, dict[str, int]]:
    """What was dropped, of subsets of which something was."""
    for subset in manifest.subsets.values():
        assert subset.count + sum(subset.dropped.values()) == subset.listed
    return {name: subset.dropped for name, subset in manifest.subsets.items() if subset.dropped}


def paths(tmp_path: Path, subset: str) -> list[str]:
    return PackedSet.open(tmp_path / "packed").subset(subset).paths


def test_lists_that_share_nothing_are_packed_whole(tmp_path: Path, capsys):
    assert dropped(packed(small_set(COUNTS), tmp_path)) == {}
    assert "dropped" not in capsys.readouterr().out


# Refused


def val_in_train(files: RawFiles) -> None:
    files.lists[TRAIN] += files.lists[VAL][:3]


def all_of_test_in_train(files: RawFiles) -> None:
    files.lists[TRAIN] += files.lists[TEST]


def one_of_test_in_val(files: RawFiles) -> None:
    files.lists[VAL].append(files.lists[TEST][1])


def val_in_train_as_png(files: RawFiles) -> None:
    """Another file under the path of val's, but for the extension: path2id takes both for one picture."""
    entry = dict(files.lists[VAL][0])
    entry["img_path"] = entry["img_path"].replace(".jpg", ".png")
    files.put_image(entry, files.images["data/InterHand2.6M/images/train/Capture1/train/cam400123/image0.jpg"])
    files.lists[TRAIN].append(entry)


def labels_of_val_in_train(files: RawFiles) -> None:
    files.lists["path2id_train.pt"][path_of(files.lists[TRAIN][4])] = "val1"


REFUSED = {
    val_in_train: f"{TRAIN} and {VAL} share 3 pictures, such as val/Capture1/val/cam400123/image0, val/.*image1, val/.*image2",
    all_of_test_in_train: f"{TRAIN} and {TEST} share 4 pictures, such as test/.*image0, test/.*image1, test/.*image2. Each",
    one_of_test_in_val: f"{VAL} and {TEST} share 1 pictures, such as test/Capture1/test/cam400123/image1",
    val_in_train_as_png: f"{TRAIN} and {VAL} share 1 pictures, such as val/Capture1/val/cam400123/image0",
    labels_of_val_in_train: f"{TRAIN} and {VAL} share 1 labels' ids, such as val1",
}


@pytest.mark.parametrize("max_broken", [0.0, 1.0])
@pytest.mark.parametrize("change", REFUSED, ids=lambda change: change.__name__)
def test_what_is_trained_on_is_not_scored_on(tmp_path: Path, change, max_broken: float):
    files = small_set(COUNTS)
    change(files)
    with pytest.raises(InvalidInput, match=REFUSED[change]):
        packed(files, tmp_path, dataclasses.replace(CONFIG, max_broken=max_broken))
    assert not (tmp_path / "packed").exists()


def test_all_that_is_shared_is_said_at_once(tmp_path: Path):
    files = small_set(COUNTS)
    val_in_train(files)
    one_of_test_in_val(files)
    with pytest.raises(InvalidInput, match=f"{TRAIN} and {VAL} share 3 .*; {VAL} and {TEST} share 1 "):
        packed(files, tmp_path)


def test_a_broken_entry_shares_nothing(tmp_path: Path):
    files = small_set(COUNTS)
    files.lists[TRAIN].append(files.lists[VAL][0] | {"bbox": "none"})
    manifest = packed(files, tmp_path, dataclasses.replace(CONFIG, max_broken=1.0))
    assert dropped(manifest) == {"train": {"invalid entry": 1}}


# Left out and counted


@pytest.mark.parametrize(("name", "subset"), [(TRAIN, "train"), (VAL, "val"), (TEST, "test")])
def test_of_entries_with_one_path_the_first_is_packed(tmp_path: Path, name: str, subset: str, capsys):
    files = small_set(COUNTS)
    before = list(map(path_of, files.lists[name]))
    files.lists[name] = [*files.lists[name], files.lists[name][1], files.lists[name][0], files.lists[name][1]]
    assert dropped(packed(files, tmp_path)) == {subset: {"listed twice": 3}}
    assert paths(tmp_path, subset) == before
    assert f"== {subset}: 3 dropped, listed twice; the first: {before[1]}" in capsys.readouterr().out.splitlines()


def test_unpaired_pictures_and_masks_that_are_listed_twice(tmp_path: Path):
    files = small_set(COUNTS)
    unpaired = [entry for entry in files.lists[COMPLETE] if "unpaired_images" in entry["img_path"]]
    files.lists[COMPLETE].append(unpaired[2])
    files.lists["unpaired_segm_ids.pt"].append("unpaired_masks0")
    assert dropped(packed(files, tmp_path)) == {"unpaired_images": {"listed twice": 1}, "unpaired_masks": {"listed twice": 1}}
    assert paths(tmp_path, "unpaired_images") == list(map(path_of, unpaired))


def test_pictures_of_other_splits_are_not_unpaired(tmp_path: Path, capsys):
    files = small_set(COUNTS)
    files.lists[COMPLETE] += [*files.lists[VAL], *files.lists[TEST][:2]]
    before = {entry["img_path"] for entry in files.lists[COMPLETE][:9]} - {entry["img_path"] for entry in files.lists[TRAIN]}
    assert dropped(packed(files, tmp_path)) == {"unpaired_images": {"in val": 4, "in test": 2}}
    assert len(paths(tmp_path, "unpaired_images")) == len(before) == 4
    assert {path.split("/")[0] for path in paths(tmp_path, "unpaired_images")} == {"train"}
    said = capsys.readouterr().out
    assert "== unpaired_images: 4 dropped, in val; the first: val/Capture1/val/cam400123/image0\n" in said


def test_a_pair_under_another_extension_is_not_unpaired(tmp_path: Path):
    files = small_set(COUNTS)
    entry = dict(files.lists[TRAIN][2])
    entry["img_path"] = entry["img_path"].replace(".jpg", ".PNG")
    files.put_image(entry, b"is not looked at")
    files.lists[COMPLETE].append(entry)
    assert dropped(packed(files, tmp_path)) == {"unpaired_images": {"in train": 1}}


def test_labels_of_other_splits_are_not_unpaired(tmp_path: Path):
    files = small_set(COUNTS)
    files.lists["path2id_test.pt"] = {}
    for k, entry in enumerate(files.lists[TEST]):
        files.labels |= {f"test{k}__{hand}": files.labels[f"val{k}__{hand}"] for hand in "lr"}
        files.lists["path2id_test.pt"][path_of(entry)] = f"test{k}"
    files.lists["unpaired_segm_ids.pt"] += ["val0", "val3", "train1", "test2"]
    manifest = packed(files, tmp_path)
    assert dropped(manifest) == {"unpaired_masks": {"labels of val": 2, "labels of train": 1, "labels of test": 1}}
    assert paths(tmp_path, "unpaired_masks") == [f"unpaired_masks{k}" for k in range(3)]


def test_ids_that_are_numbers_are_the_same_as_texts(tmp_path: Path):
    files = small_set(COUNTS)
    files.labels |= {f"7__{hand}": files.labels[f"val0__{hand}"] for hand in "lr"}
    files.lists["path2id_val.pt"][path_of(files.lists[VAL][0])] = "7"
    files.lists["unpaired_segm_ids.pt"].append(7)
    assert dropped(packed(files, tmp_path)) == {"unpaired_masks": {"labels of val": 1}}


# Copies under another name


def put_copy(files: RawFiles, name: str, position: int, original: dict) -> str:
    """Another entry's picture in the place of this one's; its path."""
    entry = files.lists[name][position]
    files.put_image(entry, files.images[original["img_path"].removeprefix("./")])
    return path_of(entry)


def test_copies_stay_in_the_split_that_is_scored(tmp_path: Path):
    files = small_set(COUNTS)
    same_size = 2  # as the first picture of each list
    of_val = put_copy(files, TRAIN, same_size, files.lists[VAL][0])
    of_test = put_copy(files, VAL, same_size, files.lists[TEST][0])
    unpaired = [k for k, entry in enumerate(files.lists[COMPLETE]) if "unpaired_images" in entry["img_path"]]
    of_train = put_copy(files, COMPLETE, unpaired[0], files.lists[TRAIN][0])
    assert dropped(packed(files, tmp_path)) == {
        "train": {"the same picture as in val": 1},
        "val": {"the same picture as in test": 1},
        "unpaired_images": {"the same picture as in train": 1},
    }
    assert of_val not in paths(tmp_path, "train") and len(paths(tmp_path, "train")) == 4
    assert of_test not in paths(tmp_path, "val") and len(paths(tmp_path, "val")) == 3
    assert of_train not in paths(tmp_path, "unpaired_images")


def test_copies_within_a_split_stay(tmp_path: Path):
    files = small_set(COUNTS)
    put_copy(files, TRAIN, 2, files.lists[TRAIN][0])
    assert dropped(packed(files, tmp_path)) == {}


def test_the_split_that_comes_first_keeps_a_picture():
    copies = Copies()
    order = [("test", b"1"), ("val", b"2"), ("val", b"1"), ("train", b"2"), ("train", b"3"), ("unpaired_images", b"3"),
             ("unpaired_images", b"4"), ("unpaired_images", b"4")]  # fmt: skip
    found = [copies.find(subset, "path", digest) for subset, digest in order]
    assert [result and result.reason.rpartition(" ")[2] for result in found] == [
        None, None, "test", "val", None, "train", None, None,
    ]  # fmt: skip


# The published sample


def test_of_entries_with_one_path_the_one_that_mini_samples_is_kept():
    """So that a mini split stays the published sample of the list as it is, whatever is left out of it."""
    n = 1500
    r = random.Random(1)
    r.randint(0, 100)
    sample = set(r.sample(range(n), 1000))
    sampled, other = sorted(sample)[500], min(set(range(n)) - sample)
    assert other < sampled
    names = [f"val/{position}" for position in range(n)]
    names[other] = names[sampled]
    entries = [read_entry(an_entry(name, [0, 0, 9, 9]) | {"bbox": [0, 0, 9, 9]}, "list", {}) for name in names]
    listed = {"train": [], "unpaired_images": [], "unpaired_masks": [], "val": entries, "test": []}
    assert left_out(listed)["val"] == {other: LeftOut("listed twice", names[sampled])}


# What the run says


def test_the_run_counts_what_was_dropped(tmp_path: Path, store):
    files = small_set(COUNTS)
    files.lists[COMPLETE] += files.lists[VAL]
    files.lists[TRAIN].append(files.lists[TRAIN][0])
    raw = files.write(tmp_path / "raw")
    result = invoke("prepare", data_dir=raw, out_dir=tmp_path / "packed", size=32, workers=1)
    assert result.exit_code == 0, result.output
    metrics = newest_run(store).data.metrics
    assert (metrics["dropped/unpaired_images"], metrics["dropped/unpaired_images/in val"]) == (4, 4)
    assert (metrics["dropped/train"], metrics["dropped/train/listed twice"]) == (1, 1)
    assert metrics["dropped/val"] == 0


def test_a_shared_picture_fails_the_run(tmp_path: Path, store):
    files = small_set(COUNTS)
    val_in_train(files)
    result = invoke("prepare", data_dir=files.write(tmp_path / "raw"), out_dir=tmp_path / "packed", size=32, workers=1)
    assert result.exit_code == 1 and "share 3 pictures" in result.output and "Traceback" not in result.output
    assert newest_run(store).info.status == "FAILED"
