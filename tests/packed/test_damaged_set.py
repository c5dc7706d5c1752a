"""Packed sets that are damaged: each is refused by name."""

import json
import os
from pathlib import Path

import pytest

from hands.errors import InvalidInput
from hands.packed.packed_set import PackedSet


def edit_manifest(folder: Path, change) -> None:
    file = folder / "manifest.json"
    content = json.loads(file.read_text())
    change(content)
    file.write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: m.pop("size"), "no 'size'"),
        (lambda m: m.update(version=99), "version is 99"),
        (lambda m: m.update(version=1), "version is 1, .* another pixel grid; make the packed set again with `prepare`"),
        (lambda m: (m.update(version=1), m.pop("sources")), "version is 1"),
        (lambda m: m.update(size=48), "size is 48; expected a multiple of 32"),
        (lambda m: m.update(side=21), "side and margin are 21 and 4, which do not belong to size 32"),
        (lambda m: m.update(side=20.0), "side is 20.0, expected a whole number"),
        (lambda m: m.update(digest=7), "digest is 7, expected 1 to 64 letters"),
        (lambda m: m.update(subsets=[]), "subsets is a list of 0, expected a JSON object"),
        (lambda m: m["subsets"].update(other={}), "'other'"),
        (lambda m: m["subsets"]["train"].update(count=-1), "train.count is -1, expected a whole number"),
        (lambda m: m["subsets"]["train"].update(count=True), "train.count"),
        (lambda m: m["subsets"]["train"].update(channels=4), "train.channels is 4, expected 5"),
        (lambda m: m["subsets"]["train"].update(class_pixels=[[0] * 17]), "class_pixels is a list of 1, expected 2 rows"),
        (lambda m: m["subsets"]["train"].update(listed=70), "lists 70"),
    ],
)
def test_refuses_a_manifest_that_does_not_fit(packed_folder: Path, change, message: str):
    edit_manifest(packed_folder, change)
    with pytest.raises(InvalidInput, match=message):
        PackedSet.open(packed_folder)


def test_refuses_a_folder_that_is_no_packed_set(tmp_path: Path):
    with pytest.raises(InvalidInput, match="not a packed set"):
        PackedSet.open(tmp_path)
    (tmp_path / "manifest.json").write_text("[" * 100000)
    with pytest.raises(InvalidInput, match="not JSON"):
        PackedSet.open(tmp_path)


def test_refuses_records_cut_short(packed_folder: Path):
    file = packed_folder / "records.lmdb" / "data.mdb"
    os.truncate(file, file.stat().st_size - 4096)
    with pytest.raises(InvalidInput, match="cut short"):
        PackedSet.open(packed_folder)


def test_refuses_an_index_at_odds_with_the_manifest(packed_folder: Path):
    index = packed_folder / "index" / "val.tsv"
    lines = index.read_text().splitlines(keepends=True)
    index.write_text("".join(lines[:-1]))
    with pytest.raises(InvalidInput, match="2 lines"):
        PackedSet.open(packed_folder).subset("val")
    index.write_text("no tabs\n")
    with pytest.raises(InvalidInput, match="line 1"):
        PackedSet.open(packed_folder).subset("val")


def test_names_a_record_that_is_missing(packed_folder: Path):
    edit_manifest(packed_folder, lambda m: m["subsets"]["val"].update(count=4, listed=4))
    with (packed_folder / "index" / "val.tsv").open("a") as index:
        index.write("3\tleft\tval/extra\t0\t0\t0\t0\t0\t0\t0\n")
    with pytest.raises(InvalidInput, match="record 3 of val is missing"):
        PackedSet.open(packed_folder).subset("val").read([3], None)


def test_refuses_unknown_subsets(packed_folder: Path):
    with pytest.raises(InvalidInput, match="no subset 'minitest'"):
        PackedSet.open(packed_folder).subset("minitest")
