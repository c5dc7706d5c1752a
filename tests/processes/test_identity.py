"""Which processes others may take for gone: those of this start of the machine, this PID namespace and this user."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from hands.processes import identity
from hands.processes.identity import UNKNOWN, is_gone, this_place, this_process
from tests.project import ROOT, wait_until

NAME_ITSELF = "from hands.processes.identity import this_process; print(this_process(), flush=True); input()"


def named(*before: str) -> tuple[subprocess.Popen, str]:
    """A process that waits, and its name."""
    words = [*before, sys.executable, "-c", NAME_ITSELF]
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    process = subprocess.Popen(words, cwd=ROOT, text=True, **pipes)
    return process, process.stdout.readline().strip()


def end(process: subprocess.Popen) -> None:
    process.kill()
    process.communicate()


def test_a_name_holds_the_boot_the_namespace_the_user_and_when_the_process_started():
    """No time of day, which may be set, and no host name, which others may have too."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    started = Path("/proc/self/stat").read_text().rsplit(")", 1)[1].split()[19]
    namespace = os.readlink("/proc/self/ns/pid").strip("pid:[]")
    assert this_process() == f"{boot} {namespace} {os.getuid()} {os.getpid()} {started}"


def test_a_living_process_is_not_gone():
    process, name = named()
    assert name.startswith(f"{this_place()} {process.pid} ")
    assert not is_gone(name)
    end(process)
    assert is_gone(name)


def test_a_killed_process_that_nobody_has_reaped_is_gone():
    """As in containers whose first process reaps nothing."""
    process, name = named()
    process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert Path(f"/proc/{process.pid}/stat").exists() and is_gone(name)
    end(process)


def test_another_process_of_the_same_number_is_not_it():
    place, pid, started = this_process().rsplit(" ", 2)
    assert is_gone(f"{place} {pid} {int(started) - 1}")


def test_processes_of_another_pid_namespace_cannot_be_judged():
    """A container with the same host name: its processes have numbers that are free, or others', here."""
    try:
        process, name = named("unshare", "--pid", "--fork", "--mount-proc")
    except FileNotFoundError:
        pytest.skip("there is no unshare")
    if not name:
        pytest.skip(f"no namespaces for this user: {process.communicate()[1]}")
    assert name.split()[0] == this_place().split()[0] and name.split()[3] != str(process.pid)
    assert not is_gone(name)
    end(process)
    assert not is_gone(name)


@pytest.mark.parametrize("name", ["", UNKNOWN, "host 12 1732500000.5", f"{UNKNOWN} 999999999 1"])
def test_what_is_no_name_of_a_process_here_is_not_gone(name: str):
    assert not is_gone(name)


@pytest.mark.parametrize("number", [0, 1, 2])
def test_another_boot_namespace_or_user_cannot_be_judged(number: int):
    words = f"{this_place()} 999999999 1".split()
    assert is_gone(" ".join(words))
    words[number] += "1"
    assert not is_gone(" ".join(words))


def test_where_the_system_says_too_little_nobody_is_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    dead = f"{this_place()} 999999999 1"
    monkeypatch.setattr(identity, "_PROC", tmp_path)
    assert this_process() == this_place() == UNKNOWN
    assert not is_gone(dead)


def test_a_proc_that_shows_another_namespace_is_not_believed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "self").symlink_to("1" if os.getpid() != 1 else "2")
    monkeypatch.setattr(identity, "_PROC", tmp_path)
    assert this_place() == UNKNOWN


def test_the_name_of_a_program_may_hold_anything(tmp_path: Path):
    """The system writes it into the same line as the rest."""
    program = tmp_path / ") Z 1 2 ("
    program.symlink_to("/bin/sleep")
    process = subprocess.Popen([str(program), "600"])
    wait_until(lambda: "Z 1 2" in Path(f"/proc/{process.pid}/stat").read_text())
    assert identity._start_ticks(process.pid) > 0
    end(process)
