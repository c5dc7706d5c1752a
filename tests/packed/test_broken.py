"""A data set may have some broken entries, and no more than a stated share of each split."""

import json
from pathlib import Path

import pytest
from mlflow import MlflowClient

from hands.errors import InvalidInput
from hands.files.decoding import BrokenEntry
from hands.packed.broken import BrokenLimit
from hands.packed.prepare import PackConfig
from tests.project import invoke, newest_run
from tests.raw.independent_layout import RawFiles, small_set

COUNTS = {"train": 10, "unpaired_images": 4, "unpaired_masks": 3, "val": 4, "test": 4}
IMAGE_0 = "image0.jpg"


def without_pictures(files: RawFiles, subset: str, count: int) -> RawFiles:
    for number in range(count):
        split = "train" if subset == "unpaired_images" else subset
        del files.images[f"data/InterHand2.6M/images/{split}/Capture1/{subset}/cam400123/image{number}.jpg"]
    return files


def prepared(files: RawFiles, folder: Path, **parameters: object):
    return invoke("prepare", data_dir=files.write(folder / "raw"), out_dir=folder / "packed", size=32, workers=1, **parameters)


def test_a_split_that_is_lost_is_refused(store: MlflowClient, tmp_path: Path):
    result = prepared(without_pictures(small_set(COUNTS), "val", 4), tmp_path, skip_broken="true")
    assert result.exit_code == 1
    (said,) = [line for line in result.output.splitlines() if line.startswith("Error: ")]
    assert "val: more than 0.1 of its 4 entries are broken, so far 1 image missing; the last: interhand.lmdb has no" in said
    assert IMAGE_0 in said and "larger max_broken" in said
    assert newest_run(store).info.status == "FAILED"
    assert not (tmp_path / "packed").exists()


def test_what_is_dropped_is_said_by_split_and_reason(store: MlflowClient, tmp_path: Path):
    files = without_pictures(small_set(COUNTS), "train", 1)
    del files.labels["train5__l"]
    del files.labels["train6__r"]
    result = prepared(files, tmp_path, skip_broken="true", max_broken=0.3)
    assert result.exit_code == 0, result.output
    said = [line for line in result.stdout.splitlines() if "dropped" in line]
    assert [line.partition(";")[0] for line in said] == [
        "== train: 1 dropped, image missing", "== train: 2 dropped, labels missing"
    ]  # fmt: skip
    assert IMAGE_0 in said[0] and "train5__l" in said[1]
    dropped = json.loads((tmp_path / "packed" / "manifest.json").read_text())["subsets"]["train"]["dropped"]
    assert dropped == {"image missing": 1, "labels missing": 2}


def test_without_skip_broken_the_share_does_not_matter(store: MlflowClient, tmp_path: Path):
    result = prepared(without_pictures(small_set(COUNTS), "train", 1), tmp_path, skip_broken="false", max_broken=0.9)
    assert result.exit_code == 1 and f"{IMAGE_0}; add it or remove the entry" in result.output


@pytest.mark.parametrize(("share", "broken", "refused"), [(0.1, 1, False), (0.1, 2, True), (1, 10, False), (0.05, 1, True)])
def test_the_share_is_of_the_split(share: float, broken: int, refused: bool):
    limit = BrokenLimit({"train": 10, "val": 1000}, share)
    for _ in range(20):
        limit.count("val", BrokenEntry("image missing", "val."))
    for number in range(broken):
        error = BrokenEntry("labels missing" if number else "image missing", f"entry {number}.")
        if refused and number == broken - 1:
            with pytest.raises(InvalidInput, match=f"train: more than {share} of its 10 entries .*entry {number}"):
                limit.count("train", error)
        else:
            limit.count("train", error)


@pytest.mark.parametrize("share", [-0.1, 1.1, float("nan")])
def test_shares_that_are_none(share: float):
    with pytest.raises(InvalidInput, match="max_broken is .*; give a share from 0 to 1"):
        PackConfig(32, share, 1)


def test_the_pipeline_refuses_them_before_any_work(store: MlflowClient, tmp_path: Path):
    result = invoke("main", max_broken=2, work_dir=tmp_path)
    assert result.exit_code == 1 and "max_broken is 2.0" in result.output
