"""The benchmark's line of lists: what it reads is a list of the release's form, and memory is projected by two lists."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from hands.benchmark import lists
from hands.benchmark.growth import Cost
from hands.raw.entries import READ, read_entry
from hands.raw.pt_lists import read_list


@pytest.mark.parametrize("n", [3, 1000, 2001])
def test_the_file_is_one_of_torch_save(tmp_path: Path, n: int):
    lists.write_list(tmp_path / "list.pt", n)
    content = torch.load(tmp_path / "list.pt", weights_only=False)
    assert len(content) == n
    assert {"joint", "cam_param", "abs_depth", "bbox", "hand_type_valid"} <= content[-1].keys()
    entries = [read_entry(entry, "list", {}) for entry in read_list(tmp_path / "list.pt", READ)]
    assert [entry.frame for entry in entries] == [entry["frame"] for entry in content]
    assert entries[-1].box == tuple(content[-1]["bbox"].tolist())


def test_time_and_memory(tmp_path: Path):
    """25 seconds and 300 MiB for 100,000 entries, 150 for a quarter: 2 KiB each."""
    setting = SimpleNamespace(growth_frames=1000, rounds=3)
    costs = {25_000: Cost(1.0, 150.0), 100_000: Cost(25.0, 300.0)}
    calls = []

    def call(function, setting, n: int) -> Cost:
        calls.append(n)
        return costs[n]

    rate, memory = lists.list_rows(setting, call)
    assert calls == 3 * [25_000, 100_000]
    assert (rate.measured, rate.ratio) == (4000, pytest.approx(4000 / (1.36e6 / 180)))
    assert memory.measured == pytest.approx(300 + 1.26e6 * 150 / 75_000)
    assert memory.ratio == pytest.approx(memory.measured * 2**20 / 2e9)
    assert not rate.reached and not memory.reached
