"""LMDBs as they are written."""

import os

import pytest

from hands.errors import InvalidInput
from hands.files.lmdb_files import LmdbWriter, environment
from tests.full_disk import files_up_to
from tests.packed.made_records import a_record


def test_an_lmdb_that_does_not_fit_leaves_what_was_flushed(tmp_path):
    writer = LmdbWriter(tmp_path / "some.lmdb", ascending=True)
    writer.put(b"a", a_record(5, 0).tobytes())
    writer.flush()
    writer.put(b"b", bytes(1 << 20))
    with files_up_to(100_000), pytest.raises(InvalidInput, match="some.lmdb/data.mdb cannot be written"):
        writer.flush()
    writer.abandon()
    with environment(tmp_path / "some.lmdb").begin() as view:
        assert view.get(b"a") == a_record(5, 0).tobytes() and view.get(b"b") is None
    assert os.path.getsize(tmp_path / "some.lmdb" / "data.mdb") <= 100_000
