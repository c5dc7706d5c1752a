"""Folders that appear whole: dead writers' leftovers go, living writers keep theirs."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from hands.errors import InvalidInput
from hands.processes.folders import whole_folder
from tests.project import ROOT


def a_writer(destination: Path, then: str) -> subprocess.Popen:
    """A process that has begun to write `destination` when this returns, and then does what is said."""
    code = f"""
import os, signal, sys, time
sys.path.insert(0, {str(ROOT)!r})
from hands.processes.folders import whole_folder
with whole_folder({str(destination)!r}) as partial:
    (partial / "half").write_text("x")
    print("begun", flush=True)
    {then}
"""
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "begun\n"
    return process


def test_what_killed_writers_left_is_removed_by_the_next(tmp_path):
    for _ in range(2):
        killed = a_writer(tmp_path / "set", "os.kill(os.getpid(), signal.SIGKILL)")
        assert killed.communicate() == ("", None) and killed.returncode == -signal.SIGKILL
        assert [path.name for path in tmp_path.iterdir()] == [".set.partial"]
    with whole_folder(tmp_path / "set") as partial:
        assert list(partial.iterdir()) == []
        (partial / "whole").touch()
    assert [str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")] == ["set", "set/whole"]


def test_a_living_writer_is_left_alone(tmp_path, monkeypatch):
    monkeypatch.setattr("hands.processes.folders._WAIT_S", 0)
    living = a_writer(tmp_path / "set", "sys.stdin.readline()")
    with pytest.raises(InvalidInput, match="Another process is writing"), whole_folder(tmp_path / "set"):
        raise AssertionError("two writers of one folder")
    living.kill()
    living.communicate()


def test_a_writer_that_is_about_to_end_is_waited_for(tmp_path):
    ending = a_writer(tmp_path / "set", "time.sleep(1); os._exit(1)")
    with whole_folder(tmp_path / "set") as partial:
        (partial / "whole").touch()
    assert ending.communicate() == ("", None) and ending.returncode == 1
    assert [path.name for path in (tmp_path / "set").iterdir()] == ["whole"]
