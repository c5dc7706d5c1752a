"""Names of processes by which others can tell, later, whether they still run."""

import os
from pathlib import Path

UNKNOWN = "unknown"
_PROC = Path("/proc")


def this_process() -> str:
    """Names this process among all that ever were; UNKNOWN where the system does not say enough."""
    place = this_place()
    return UNKNOWN if place == UNKNOWN else f"{place} {os.getpid()} {_start_ticks(os.getpid())}"


def this_place() -> str:
    """Where a process id means what it means here: this start of the machine, this PID namespace, this user; or UNKNOWN.

    Host names are no help, since containers and machines share them, nor are times of day, which may be set. Another user's
    processes may be hidden by the system, and would look gone.
    """
    try:
        if os.readlink(_PROC / "self") != str(os.getpid()):
            return UNKNOWN  # /proc shows another namespace
        boot = (_PROC / "sys/kernel/random/boot_id").read_text().strip()
        namespace = (_PROC / "self/ns/pid").stat().st_ino
    except OSError:
        return UNKNOWN
    return f"{boot} {namespace} {os.getuid()}"


def is_gone(process: str) -> bool:
    """Whether a process that this_process named has ended; False where that cannot be told from here."""
    try:
        place, pid, started = process.rsplit(" ", 2)
    except ValueError:
        return False
    if place != this_place() or not pid.isdecimal():
        return False
    try:
        return str(_start_ticks(int(pid))) != started
    except (FileNotFoundError, ProcessLookupError):
        return True
    except OSError:
        return False


def _start_ticks(pid: int) -> int | None:
    """From the machine's start to the process's (proc(5), stat, field 22); None for one that only waits to be reaped."""
    fields = (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    return None if fields[0] in "ZX" else int(fields[19])
