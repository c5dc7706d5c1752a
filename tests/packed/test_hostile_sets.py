"""Damaged and hostile bytes as raw records and packed sets: each ends in a value or in InvalidInput, never in anything else."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hands.packed.packed_set import PackedSet
from hands.packed.prepare import PackConfig, pack
from hands.raw.layout import RawDataset
from tests.hostile_input import any_value, ends_well, examples, mutated, put_back
from tests.packed.made_records import COUNTS, write_packed
from tests.raw.independent_layout import RawFiles, small_set


@pytest.fixture(scope="module")
def raw_files() -> RawFiles:
    return small_set({"train": 1, "unpaired_images": 1, "unpaired_masks": 1, "val": 1, "test": 1}, 12, 9)


@examples(60)
@given(st.data())
def test_prepare_with_damaged_values(tmp_path_factory: pytest.TempPathFactory, raw_files: RawFiles, data: st.DataObject):
    folder = tmp_path_factory.mktemp("hostile")
    damaged = RawFiles()
    damaged.images, damaged.labels, damaged.lists = dict(raw_files.images), dict(raw_files.labels), raw_files.lists
    store = data.draw(st.sampled_from([damaged.images, damaged.labels]))
    key = data.draw(st.sampled_from(sorted(store)))
    store[key] = data.draw(mutated([store[key]])) or b"x"
    raw = RawDataset(damaged.write(folder / "raw"), "bgr")
    ends_well(lambda: pack(raw, folder / "refused", PackConfig(32, 0.0, 1)))
    manifest = pack(raw, folder / "skipped", PackConfig(32, 1.0, 1))
    assert sum(subset.count for subset in manifest.subsets.values()) >= 4  # at most the one is dropped


@pytest.fixture(scope="module")
def packed_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("packed") / "set"
    write_packed(folder, COUNTS)
    return folder


def read_all(folder: Path) -> None:
    packed = PackedSet.open(folder)
    for name in ("train", "minitrain", "trainval", "unpaired_images", "unpaired_masks", "minival", "test"):
        subset = packed.subset(name)
        subset.read(range(len(subset)), None)


@examples(300)
@given(st.data())
def test_manifests(packed_folder: Path, data: st.DataObject):
    file = packed_folder / "manifest.json"
    with put_back(file) as whole:
        file.write_bytes(data.draw(mutated([whole])))
        ends_well(lambda: read_all(packed_folder))


@examples(200)
@given(st.data())
def test_manifests_with_any_value_in_a_field(packed_folder: Path, data: st.DataObject):
    file = packed_folder / "manifest.json"
    with put_back(file) as whole:
        content = json.loads(whole)
        target = data.draw(st.sampled_from([content, content["subsets"], content["subsets"]["val"]]))
        target[data.draw(st.sampled_from(sorted(target)))] = data.draw(st.integers(0, 200) | any_value.filter(_is_json))
        file.write_text(json.dumps(content))
        ends_well(lambda: read_all(packed_folder))


def _is_json(value: object) -> bool:
    try:
        json.dumps(value)
    except (TypeError, ValueError):
        return False
    return True


@examples(150)
@given(st.data())
def test_indexes(packed_folder: Path, data: st.DataObject):
    file = packed_folder / "index" / "train.tsv"
    with put_back(file) as whole:
        file.write_bytes(data.draw(mutated([whole])))
        ends_well(lambda: read_all(packed_folder))
