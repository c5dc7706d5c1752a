"""A raw data set whose validation list is one entry."""

from pathlib import Path

from hands.raw.entries import Entry
from hands.raw.layout import RawDataset
from tests.raw.independent_layout import small_set


def one_entry(tmp_path: Path, entry: dict) -> Entry:
    raw = small_set({"val": 1})
    raw.lists["datalist_val_mp.pt"] = [entry]
    return RawDataset(raw.write(tmp_path / "raw"), "bgr").entries("val")[0]
