"""The digest of a raw data set: the same for the same bytes, another one for anything that training could notice."""

import os
import shutil
from pathlib import Path

import lmdb
import pytest

from hands.raw import digest
from hands.raw.digest import SAMPLE, content_digest
from hands.raw.layout import RawDataset
from hands.raw.names import LIST_COMPLETE, LISTS, MASK_IDS, UNPAIRED_IDS
from hands.raw.pictures import IMAGES, LABELS


def write_store(folder: Path, records: dict[bytes, bytes]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with lmdb.open(str(folder), map_size=1 << 25, lock=False) as handle, handle.begin(write=True) as transaction:
        for key, value in records.items():
            transaction.put(key, value)


LENGTH = 3000  # bytes of a picture: LMDB keeps it apart from the keys
RECORDS = {f"picture{number:05d}".encode(): bytes([number % 256]) * LENGTH for number in range(4 * SAMPLE)}


def write_set(folder: Path, records: dict[bytes, bytes] = RECORDS, right: bytes = b"right") -> Path:
    """A data set as far as its digest goes: lists that nobody reads, and two stores."""
    folder.mkdir()
    for name in (LIST_COMPLETE, *LISTS.values(), MASK_IDS["train"], MASK_IDS["val"], UNPAIRED_IDS):
        (folder / name).write_bytes(name.encode())
    write_store(folder / IMAGES, records)
    write_store(folder / LABELS, {b"1__l": b"left", b"1__r": right})
    return folder


@pytest.fixture
def made(tmp_path: Path) -> Path:
    return write_set(tmp_path / "made")


def test_place_and_times_do_not_matter(made, tmp_path):
    before = content_digest(made)
    copied = shutil.copytree(made, tmp_path / "copied")
    for file in copied.rglob("*"):
        os.utime(file, (1, 1))
    assert len(before) == 32
    assert content_digest(copied) == before
    assert content_digest(write_set(tmp_path / "made in the same way")) == before


def test_files_that_the_layout_does_not_know_do_not_matter(made):
    before = content_digest(made)
    (made / "notes.txt").write_text("mine")
    (made / IMAGES / "lock.mdb").write_bytes(b"a reader was here")
    assert content_digest(made) == before


@pytest.mark.parametrize("name", [LIST_COMPLETE, *LISTS.values(), *MASK_IDS.values(), UNPAIRED_IDS])
def test_every_list_matters(made, name):
    before = content_digest(made)
    (made / name).write_bytes(b"another list")  # path2id_test.pt was not there at all
    assert content_digest(made) != before


@pytest.mark.parametrize("value", [b"x" * LENGTH, RECORDS[b"picture00002"]], ids=["of the same length", "the very same"])
def test_a_record_that_is_written_over_matters(made, tmp_path, value):
    """Not one of the sample: the transaction tells."""
    before = content_digest(made)
    changed = shutil.copytree(made, tmp_path / "changed")  # LMDB takes no second handle on one file
    write_store(changed / IMAGES, {b"picture00002": value})
    assert content_digest(changed) != before


@pytest.mark.parametrize("changed", [
    {b"picture00002": b"x" * (LENGTH + 1)},
    {b"picture00004": b"x" * LENGTH},  # the sample takes every fourth
    {b"picture99999": b""},
], ids=["another length", "in the sample", "one more"])  # fmt: skip
def test_a_store_made_anew_with_other_records_matters(made, tmp_path, changed):
    assert content_digest(write_set(tmp_path / "anew", RECORDS | changed)) != content_digest(made)


def test_every_byte_of_a_mask_matters(made, tmp_path):
    assert content_digest(write_set(tmp_path / "anew", right=b"rigHt")) != content_digest(made)


def test_large_files_are_looked_at_once(made, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(digest, "WORTH_REMEMBERING", 0)
    before = content_digest(made)
    with monkeypatch.context() as blind:
        blind.setattr(digest.hashlib, "file_digest", None)
        blind.setattr(digest, "environment", None)
        assert content_digest(made) == before
    os.utime(made / IMAGES / "data.mdb", (1, 1))
    with monkeypatch.context() as blind, pytest.raises(TypeError):
        blind.setattr(digest, "environment", None)
        content_digest(made)
    assert content_digest(made) == before


def test_a_cache_that_cannot_be_written_is_done_without(made, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    expected = content_digest(made)
    monkeypatch.setattr(digest, "WORTH_REMEMBERING", 0)
    assert content_digest(made) == expected


def test_how_pictures_are_read_is_part_of_a_dataset(made):
    assert RawDataset(made, "bgr").digest != RawDataset(made, "rgb").digest
