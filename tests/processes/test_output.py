"""What a process prints: no passwords, and nothing that a full disk could break."""

import io
import logging
import subprocess
import sys
from contextlib import redirect_stderr, suppress
from pathlib import Path

import pytest

from hands.processes.output import Guarded
from tests.project import ROOT

SECRET = "http://ann:s3cret@host/x"
ENTRY_POINT = f"""
import warnings
from entrypoints.launch import command_line

command_line.declared = lambda name: {{{{}}}}

@command_line.entry_point()
def main(params):
    warnings.warn("nothing at {SECRET}")
    raise {{error}}("no answer from {SECRET}")

main()
"""


def test_a_stream_shows_no_password():
    shown = io.StringIO()
    with redirect_stderr(Guarded(shown)):
        print("at", SECRET, file=sys.stderr)
        logging.StreamHandler(sys.stderr).handle(logging.makeLogRecord({"msg": f"logged {SECRET}"}))
    assert shown.getvalue() == "at http://***@host/x\nlogged http://***@host/x\n"


@pytest.mark.parametrize("error", ["ValueError", "SystemExit"])
def test_an_entry_points_warnings_and_the_error_that_ends_it_show_no_password(error: str):
    done = subprocess.run([sys.executable, "-c", ENTRY_POINT.format(error=error)], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 1 and "s3cret" not in done.stderr
    assert "Warning: nothing at http://***@host/x" in done.stderr and "no answer from http://***@host/x" in done.stderr


def test_a_stream_drops_what_a_full_disk_does_not_take(tmp_path: Path):
    full = open("/dev/full", "w")
    for _ in range(3):
        print("x" * 100_000, file=Guarded(full), flush=True)
    with suppress(OSError):
        full.close()
    with (tmp_path / "log").open("w") as file:
        print("kept", file=Guarded(file), flush=True)
        assert (tmp_path / "log").read_text() == "kept\n" and Guarded(file).fileno() == file.fileno()
