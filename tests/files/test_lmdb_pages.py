"""Leaf pages against LMDB's own reading of the same file."""

import struct
from pathlib import Path

import lmdb
import numpy as np
import pytest

from hands.files.lmdb_pages import leaf_pages

NODE = struct.Struct("=HHHH")  # length of the record, low and high; flags; length of the key
LARGE = 1


def nodes(page: bytes) -> list[tuple[bytes, int, bytes | None]]:
    """(key, length of the record, the record where it lies there) of a leaf page."""
    end = struct.unpack_from("=H", page, 12)[0]
    found = []
    for place in struct.unpack_from(f"={(end - 16) // 2}H", page, 16):
        low, high, flags, key_length = NODE.unpack_from(page, place)
        length, begin = low | high << 16, place + NODE.size + key_length
        key = page[place + NODE.size : begin]
        found.append((key, length, None if flags & LARGE else page[begin : begin + length]))
    return found


def write(folder: Path, records: dict[bytes, bytes], transactions: int = 1) -> Path:
    items = list(records.items())
    with lmdb.open(str(folder), map_size=1 << 27, lock=False) as handle:
        for first in range(transactions):
            with handle.begin(write=True) as transaction:
                for key, value in items[first::transactions]:
                    transaction.put(key, value)
    return folder / "data.mdb"


@pytest.mark.parametrize("count", [0, 1, 50, 5000])
@pytest.mark.parametrize("transactions", [1, 3])
def test_every_key_and_length_is_there(tmp_path, count, transactions):
    generator = np.random.default_rng(count)
    lengths = generator.integers(0, 6000, count)
    records = {f"{n:05d}{'k' * (n % 90)}".encode(): generator.bytes(length) for n, length in enumerate(lengths)}
    file = write(tmp_path / "store", records, transactions)
    pages = list(leaf_pages(file))
    found = [node for page in pages for node in nodes(page)]
    assert sorted((key, length) for key, length, _ in found) == sorted((key, len(value)) for key, value in records.items())
    small = {key: value for key, _, value in found if value is not None}
    assert small == {key: value for key, value in records.items() if key in small}
    with lmdb.open(str(tmp_path / "store"), readonly=True, lock=False) as handle:
        assert len(pages) == handle.stat()["leaf_pages"]
    if count == 5000:
        assert len(small) > 1000 and len(found) - len(small) > 1000


def test_what_was_written_last_counts(tmp_path):
    file = write(tmp_path / "store", {b"a": b"1"})
    write(tmp_path / "store", {b"a": b"22"})
    assert [nodes(page) for page in leaf_pages(file)] == [[(b"a", 2, b"22")]]
    write(tmp_path / "store", {b"b": b"3"})
    assert [nodes(page) for page in leaf_pages(file)] == [[(b"a", 2, b"22"), (b"b", 1, b"3")]]


@pytest.mark.parametrize("damage", [b"", b"no LMDB at all" * 1000])
def test_another_file_is_refused(tmp_path, damage):
    file = tmp_path / "data.mdb"
    file.write_bytes(damage)
    with pytest.raises((ValueError, struct.error)):
        list(leaf_pages(file))


def test_a_damaged_tree_is_refused(tmp_path):
    file = write(tmp_path / "store", {f"{n:05d}".encode(): b"x" * 100 for n in range(2000)})
    content = bytearray(file.read_bytes())
    content[2 * 4096 :: 4096] = b"\xff" * len(content[2 * 4096 :: 4096])  # the pages' numbers
    file.write_bytes(content)
    with pytest.raises(ValueError, match="not one of keys"):
        list(leaf_pages(file))


def test_a_tree_that_goes_in_circles_is_refused(tmp_path):
    file = write(tmp_path / "store", {f"{n:05d}".encode(): b"x" * 100 for n in range(2000)})
    content = bytearray(file.read_bytes())
    for place in range(2 * 4096, len(content), 4096):
        number, _, flags, end, _ = struct.unpack_from("=QHHHH", content, place)
        if flags & 1:  # a branch: its children are itself
            for node in struct.unpack_from(f"={(end - 16) // 2}H", content, place + 16):
                struct.pack_into("=HHH", content, place + node, number, 0, 0)
    file.write_bytes(content)
    with pytest.raises(ValueError, match="there twice"):
        list(leaf_pages(file))
