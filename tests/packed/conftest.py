"""A packed set of random records in a folder of its own."""

from pathlib import Path

import pytest

from tests.packed.made_records import COUNTS, write_packed


@pytest.fixture
def packed_folder(tmp_path: Path) -> Path:
    write_packed(tmp_path / "packed", COUNTS)
    return tmp_path / "packed"
