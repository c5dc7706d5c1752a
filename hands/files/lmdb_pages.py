"""LMDB's pages of keys, read past LMDB: py-lmdb reads a record whole even where its length alone is asked for.

The format of LMDB 0.9 (lmdb.h, mdb.c), which all readers of its files share, in the order of bytes of this machine.
"""

import os
import struct
from collections.abc import Iterator
from pathlib import Path

HEADER = struct.Struct("=QHHHH")  # number, padding, flags, end of the places, begin of the nodes
META = struct.Struct("=IIQQ")  # magic, version, address, size of the map; at the header's end
DATABASE = struct.Struct("=IHHQQQQQ")  # page size, flags, depth, pages of three kinds, entries, root; twice after META
LAST = struct.Struct("=QQ")  # page, transaction; after those
CHILD = struct.Struct("=HHH")  # low, middle and high part of a page's number; a node of a branch begins so
BRANCH, LEAF = 1, 2
NO_ROOT = (1 << 64) - 1


def leaf_pages(file: Path) -> Iterator[bytes]:
    """The pages that hold all keys of an environment's data.mdb, each with its record, or, where that is longer than about
    half a page, with its length and place; in the order of the file.

    Raises:
        ValueError: it is no such file, or a damaged one.
    """
    descriptor = os.open(file, os.O_RDONLY)
    try:
        size, root = _root(descriptor)
        level, seen = [] if root == NO_ROOT else [root], set()
        while level:
            below = []
            for number in sorted(level):
                if number in seen:
                    raise ValueError(f"page {number} is there twice")
                seen.add(number)
                page = os.pread(descriptor, size, number * size)
                if len(page) < size:
                    raise ValueError(f"page {number} is missing")
                found, _, flags, end, _ = HEADER.unpack_from(page)
                if found != number or not flags & (BRANCH | LEAF):
                    raise ValueError(f"page {number} is not one of keys")
                if flags & LEAF:
                    yield page
                else:
                    below += _children(page, end)
            level = below
    finally:
        os.close(descriptor)


def _root(descriptor: int) -> tuple[int, int]:
    """Bytes of a page, and the number of the tree's first one, as the newer of the two descriptions at the begin has them."""
    first = os.pread(descriptor, 4096, 0)
    size = DATABASE.unpack_from(first, HEADER.size + META.size)[0]
    newest = max((first, os.pread(descriptor, 4096, size)), key=_transaction)
    return size, DATABASE.unpack_from(newest, HEADER.size + META.size + DATABASE.size)[7]


def _transaction(description: bytes) -> int:
    if len(description) < 4096 or META.unpack_from(description, HEADER.size)[0] != 0xBEEFC0DE:
        raise ValueError("it does not begin as LMDB's files do")
    return LAST.unpack_from(description, HEADER.size + META.size + 2 * DATABASE.size)[1]


def _children(page: bytes, end: int) -> list[int]:
    places = struct.unpack_from(f"={(end - HEADER.size) // 2}H", page, HEADER.size)
    parts = (CHILD.unpack_from(page, place) for place in places)
    return [low | middle << 16 | high << 32 for low, middle, high in parts]
