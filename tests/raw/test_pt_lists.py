"""Lists that are refused, and run nothing."""

import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from hands.errors import InvalidInput
from hands.raw.layout import RawDataset
from tests.hostile_input import Attack
from tests.raw.independent_layout import an_entry, small_set
from tests.raw.single_lists import one_entry


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("protocol", [2, 4])
def test_a_list_that_would_run_a_command_is_refused_and_runs_nothing(tmp_path: Path, protocol: int):
    folder = small_set({"val": 1}).write(tmp_path / "raw")
    torch.save([Attack(tmp_path / "flag")], folder / "datalist_val_mp.pt", pickle_protocol=protocol)
    (folder / "path2id_train.pt").write_bytes(pickle.dumps({"a": Attack(tmp_path / "flag")}, protocol=protocol))
    raw = RawDataset(folder, "bgr")
    for subset, message in (("val", "entry 0 is a posix.mkdir, not a dict"), ("train", "not a readable list")):
        with pytest.raises(InvalidInput, match=message):
            raw.entries(subset)
    assert not (tmp_path / "flag").exists()


@pytest.mark.parametrize("content", [{"a": 1}, "text", None, 3])
def test_refuses_a_list_that_is_none(tmp_path: Path, content):
    raw = small_set({"val": 1})
    raw.lists["datalist_val_mp.pt"] = content
    with pytest.raises(InvalidInput, match="a list was expected"):
        RawDataset(raw.write(tmp_path / "raw"), "bgr").entries("val")


@pytest.mark.parametrize("content", [np.array([None, 1], dtype=object), np.zeros(2, dtype=[("a", "f4")]), np.zeros(2, "M8[s]")])
def test_refuses_numpy_arrays_of_other_things_than_numbers(tmp_path: Path, content: np.ndarray):
    with pytest.raises(InvalidInput, match="bbox an array .*; expected four numbers"):
        one_entry(tmp_path, an_entry("val/a", [0, 0, 1, 1]) | {"bbox": content})


def test_refuses_a_list_cut_short(tmp_path: Path):
    folder = small_set({"val": 4}).write(tmp_path / "raw")
    file = folder / "datalist_val_mp.pt"
    os.truncate(file, file.stat().st_size - 100)
    with pytest.raises(InvalidInput, match="datalist_val_mp.pt"):
        RawDataset(folder, "bgr").entries("val")
