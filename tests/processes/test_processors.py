"""Processes are counted by what this one may use, not by the machine."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from hands.processes import processors
from hands.processes.processors import allowed_processors
from hands.tracking import ROOT

COUNT = "from hands.processes.processors import allowed_processors; print(allowed_processors())"


@pytest.fixture
def eight(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A process that may run on eight processors, without Slurm or a quota; the folder of its control groups."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)))
    monkeypatch.delenv("SLURM_CPUS_PER_TASK", raising=False)
    monkeypatch.setattr(processors, "CGROUPS", tmp_path)
    return tmp_path


def in_group(monkeypatch: pytest.MonkeyPatch, line: str) -> None:
    read = Path.read_text
    monkeypatch.setattr(Path, "read_text", lambda path: line if str(path) == "/proc/self/cgroup" else read(path))


def test_what_taskset_leaves_counts():
    one = str(min(os.sched_getaffinity(0)))
    environment = {name: value for name, value in os.environ.items() if name != "SLURM_CPUS_PER_TASK"}
    said = subprocess.run(["taskset", "-c", one, sys.executable, "-c", COUNT], cwd=ROOT, env=environment, capture_output=True)
    assert said.stdout == b"1\n", said.stderr


def test_the_machine_does_not_count(eight, monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    assert allowed_processors() == 8


@pytest.mark.parametrize(("asked", "expected"), [("3", 3), ("64", 8), ("", 8), ("0", 8), ("many", 8)])
def test_slurm_says_how_many_a_task_has(eight, monkeypatch, asked, expected):
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", asked)
    assert allowed_processors() == expected


@pytest.mark.parametrize(
    ("quota", "expected"), [("200000 100000", 2), ("250000 100000", 2), ("50000 100000", 1), ("max 100000", 8)]
)
def test_a_container_says_how_much_time_it_has(eight, monkeypatch, quota, expected):
    in_group(monkeypatch, "0::/job/step\n")
    (eight / "job" / "step").mkdir(parents=True)
    (eight / "job" / "step" / "cpu.max").write_text("max 100000\n")
    (eight / "job" / "cpu.max").write_text(quota + "\n")  # a group has no more than the one above it
    assert allowed_processors() == expected


@pytest.mark.parametrize(("quota", "expected"), [("300000", 3), ("-1", 8)])
def test_a_container_of_the_first_version_says_so_too(eight, monkeypatch, quota, expected):
    in_group(monkeypatch, "5:memory:/docker/abc\n4:cpu,cpuacct:/docker/abc\n")
    (eight / "cpu,cpuacct").mkdir()  # within the container its own group is the root
    (eight / "cpu,cpuacct" / "cpu.cfs_quota_us").write_text(quota + "\n")
    (eight / "cpu,cpuacct" / "cpu.cfs_period_us").write_text("100000\n")
    assert allowed_processors() == expected


def test_nobody_counts_the_machine():
    counting = [
        path.relative_to(ROOT)
        for folder in ("entrypoints", "hands", "sweeps")
        for path in (ROOT / folder).rglob("*.py")
        if "cpu_count()" in path.read_text()
    ]
    assert counting == []
