"""Pictures and labels of entries that are missing or do not fit."""

from pathlib import Path

import numpy as np
import pytest

from hands.files.decoding import BrokenEntry
from hands.raw.layout import RawDataset
from tests.raw.independent_layout import RawFiles, png, small_set


def broken(raw: RawFiles, tmp_path: Path) -> BrokenEntry:
    dataset = RawDataset(raw.write(tmp_path / "raw"), "bgr")
    entry = dataset.entries("val")[0]
    with pytest.raises(BrokenEntry) as caught:
        [dataset.pictures.image(entry), dataset.pictures.labels(entry.mask_id)]
    return caught.value


def test_names_an_image_that_is_missing(tmp_path: Path):
    raw = small_set({"val": 1})
    raw.images.clear()
    raw.images["other"] = b"x"
    error = broken(raw, tmp_path)
    assert error.reason == "image missing"
    assert "image0.jpg" in str(error)


@pytest.mark.parametrize("suffix", ["l", "r"])
def test_names_labels_that_are_missing(tmp_path: Path, suffix: str):
    raw = small_set({"val": 1})
    del raw.labels[f"val0__{suffix}"]
    error = broken(raw, tmp_path)
    assert error.reason == "labels missing"
    assert f"val0__{suffix}" in str(error)


@pytest.mark.parametrize(
    ("suffix", "value"), [("l", 1), ("l", 16), ("l", 33), ("l", 254), ("r", 17), ("r", 32), ("r", 33), ("r", 254)]
)
def test_refuses_values_of_the_other_hand_and_beyond(tmp_path: Path, suffix: str, value: int):
    raw = small_set({"val": 1})
    labels = np.zeros((40, 32, 3), np.uint8)
    labels[5, 6] = value
    raw.labels[f"val0__{suffix}"] = png(labels)
    error = broken(raw, tmp_path)
    assert error.reason == "labels out of range"
    assert f"val0__{suffix} holds the value {value}" in str(error)


def test_refuses_hands_of_two_sizes(tmp_path: Path):
    raw = small_set({"val": 1})
    raw.labels["val0__l"] = png(np.zeros((41, 32, 3), np.uint8))
    assert broken(raw, tmp_path).reason == "labels of another size"
