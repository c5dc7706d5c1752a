"""How many processors this process may use."""

import math
import os
from collections.abc import Iterable
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")


def allowed_processors() -> int:
    """At least 1: those that this process may run on (taskset, a cluster's job), and no more than Slurm's --cpus-per-task or
    the time that a container is given (docker --cpus) say."""
    limits = [len(os.sched_getaffinity(0)), *_slurm(), *_quotas()]
    return max(1, math.floor(min(limits)))


def _slurm() -> Iterable[float]:
    asked = os.environ.get("SLURM_CPUS_PER_TASK", "")
    return [int(asked)] if asked.isdecimal() and int(asked) else []


def _quotas() -> Iterable[float]:
    """Processor seconds a second, of every control group that this process is in."""
    try:
        lines = Path("/proc/self/cgroup").read_text().splitlines()
    except OSError:
        return []
    return [quota for line in lines for folder in _folders(line) if (quota := _quota(folder)) is not None]


def _folders(line: str) -> Iterable[Path]:
    """Of a line of /proc/self/cgroup: the group's folder and those above it. Within a container the path may be the host's,
    and the container's own group is the root."""
    _, controllers, path = line.split(":", 2)
    if controllers and "cpu" not in controllers.split(","):
        return []
    root = CGROUPS / controllers
    group = root / path.strip("/")
    return [group, *(parent for parent in group.parents if parent.is_relative_to(root))]


def _quota(folder: Path) -> float | None:
    try:
        if (folder / "cpu.max").exists():  # version 2
            quota, period = (folder / "cpu.max").read_text().split()
        else:
            quota, period = ((folder / f"cpu.cfs_{name}_us").read_text() for name in ("quota", "period"))
        return int(quota) / int(period) if int(quota) > 0 else None
    except (OSError, ValueError):  # ValueError: "max"
        return None
