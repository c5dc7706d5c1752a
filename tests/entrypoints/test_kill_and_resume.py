"""The script that kills and compares, with few kills; docs/resume.md has its table with many."""

import os
import subprocess
import sys

import pytest

from tests.project import ROOT


@pytest.mark.slow
@pytest.mark.parametrize("line", ["phase2_paired, D learning", "main"])
def test_killed_and_started_again_nothing_differs(line, tmp_path):
    words = [sys.executable, "-m", "tests.entrypoints.kill_and_resume", "--kills", "12", "--seed", "1", "--only", line]
    variables = os.environ | {"TMPDIR": str(tmp_path)}
    done = subprocess.run(words, cwd=ROOT, env=variables, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 differences" in done.stdout
