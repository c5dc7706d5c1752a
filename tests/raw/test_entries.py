"""Entries of the lists: what is read, and every refusal."""

from pathlib import Path

import numpy as np
import pytest

from hands.errors import InvalidInput
from tests.raw.independent_layout import PREFIX, an_entry
from tests.raw.single_lists import one_entry


def test_extra_keys_numbers_as_text_and_numpy_scalars_are_read(tmp_path: Path):
    box = [-500.0, -2.5, 3000.0, 3000.0]
    more = {"joints": np.zeros((42, 3)), "capture": np.int64(4), "cam": " 7".strip(), "frame": "00012", "note": None}
    entry = one_entry(tmp_path, an_entry("val/Capture4/s/cam7/image12", box, **more, hand_type_valid=np.float32(1)))
    assert (entry.capture, entry.cam, entry.frame, entry.hand_type_valid) == (4, 7, 12, True)
    assert entry.box == tuple(box)


@pytest.mark.parametrize("missing", ["img_path", "bbox", "hand_type"])
def test_names_missing_keys(tmp_path: Path, missing: str):
    entry = an_entry("val/a", [0, 0, 1, 1])
    del entry[missing]
    with pytest.raises(InvalidInput, match=rf"datalist_val_mp.pt: entry 0.* has no {missing};"):
        one_entry(tmp_path, entry)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"bbox": np.array([0, 0, np.nan, 1], np.float32)}, "the box 0, 0, "),
        ({"bbox": np.array([0, 0, 0, 1], np.float32)}, "positive"),
        ({"bbox": np.array([0, 0, 1, -1], np.float32)}, "positive"),
        ({"bbox": np.array([0, 0, 1e30, 1], np.float32)}, "the box 0, 0, "),
        ({"bbox": np.zeros(3, np.float32)}, "four numbers"),
        ({"bbox": "0123"}, "four numbers"),
        ({"bbox": None}, "four numbers"),
        ({"hand_type": "both"}, "hand_type 'both'"),
        ({"hand_type": ["left"]}, "hand_type"),
        ({"img_path": "elsewhere/a.jpg"}, "img_path"),
        ({"img_path": PREFIX + "val/../../a.jpg"}, "img_path"),
        ({"img_path": PREFIX + "val/a.exe"}, "img_path"),
        ({"img_path": PREFIX + "val/a\n.jpg"}, "img_path"),
        ({"img_path": PREFIX + "x" * 600 + ".jpg"}, "511 bytes"),
        ({"img_path": 7}, "img_path"),
    ],
)
def test_refuses_entries_it_cannot_use(tmp_path: Path, change: dict, message: str):
    with pytest.raises(InvalidInput, match=message):
        one_entry(tmp_path, {**an_entry("val/a", [0, 0, 1, 1]), **change})
