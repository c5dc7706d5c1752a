"""Which command a stopped entry point says goes on: the one that was typed."""

import subprocess
import sys
from pathlib import Path

import pytest

from entrypoints.launch.stopping import how_to_go_on
from entrypoints.launch.typed import launcher_command, resuming, shown
from hands.training.claim import FILE, Interrupted

RUN = "0123abcd"
BY_MLFLOW = ["mlflow", "run", ".", "-e", "phase1", "-P", "lr=1e-3"]
BY_PYTHON = ["python", "-m", "entrypoints.phase1", "--lr=1e-3"]


@pytest.mark.parametrize(("given", "found"), [
    (["python", "/opt/bin/mlflow", "run", ".", "-P", "lr=1"], "mlflow run . -P lr=1"),
    (["python", "-m", "mlflow", "run", "."], None),
    (["python", "train.py"], ""),
])  # fmt: skip
def test_what_mlflow_run_was_called_by(given: list[str], found: str | None, monkeypatch):
    words = {1: given, 2: ["bash"]}
    monkeypatch.setattr("entrypoints.launch.typed._words", words.__getitem__)
    monkeypatch.setattr("entrypoints.launch.typed._parent", lambda pid: 2)
    assert shown(launcher_command(1)) == (shown(given) if found is None else found)


@pytest.mark.parametrize(("parent", "found"), [
    ("/opt/uv tool uvx mlflow@3.17.2", "uvx mlflow@3.17.2"),
    ("uv run --with torch mlflow", "uv run --with torch mlflow"),
    ("make", "mlflow"),
])  # fmt: skip
def test_uvx_before_mlflow_run(parent: str, found: str, monkeypatch):
    words = {1: ["python", "/cache/bin/mlflow", "run", ".", "-e", "phase1"], 2: [*parent.split(), "run", ".", "-e", "phase1"]}
    monkeypatch.setattr("entrypoints.launch.typed._words", words.__getitem__)
    monkeypatch.setattr("entrypoints.launch.typed._parent", lambda pid: 2)
    assert shown(launcher_command(1)) == f"{found} run . -e phase1"


def test_words_of_a_real_process():
    words = [sys.executable, "-c", "import os; print(os.getpid(), flush=True); input()", "mlflow", "run", "a b"]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        pid = int(process.stdout.readline())
        assert launcher_command(pid)[-2:] == ["run", "a b"]
        process.stdin.close()


@pytest.mark.parametrize(("before", "after"), [
    (BY_MLFLOW, [*BY_MLFLOW, "-P", f"resume={RUN}"]),
    ([*BY_MLFLOW[:5], "-P", "resume=latest", *BY_MLFLOW[5:]], [*BY_MLFLOW, "-P", f"resume={RUN}"]),
    ([*BY_MLFLOW, "-Presume="], [*BY_MLFLOW, "-P", f"resume={RUN}"]),
    ([*BY_MLFLOW, "--param-list", "resume=1"], [*BY_MLFLOW, "-P", f"resume={RUN}"]),
    (BY_PYTHON, [*BY_PYTHON, f"--resume={RUN}"]),
    ([*BY_PYTHON[:3], "--resume=", BY_PYTHON[3]], [*BY_PYTHON, f"--resume={RUN}"]),
    ([*BY_PYTHON[:3], "--resume", "", BY_PYTHON[3]], [*BY_PYTHON, f"--resume={RUN}"]),
])  # fmt: skip
def test_the_run_to_go_on_with_is_named_once(before: list[str], after: list[str]):
    assert resuming(before, RUN) == after


def test_passwords_are_not_shown():
    command = ["mlflow", "run", "https://me:secret@host/x", "-P", "storage=postgresql://me:pass/word@host/db"]
    assert shown(command) == "mlflow run https://***@host/x -P storage=postgresql://***@host/db"


def test_what_is_said(tmp_path: Path):
    stopped, folder = KeyboardInterrupt("SIGINT"), tmp_path / RUN
    assert how_to_go_on(stopped, True, ["mlflow", "run", "."]) == "the same command goes on where it was: mlflow run ."
    assert how_to_go_on(stopped, True, []) == "the same command goes on where it was"
    anew = "nothing was kept; the same command starts anew"
    assert how_to_go_on(stopped, False, BY_MLFLOW) == how_to_go_on(Interrupted("SIGINT", folder), False, BY_MLFLOW) == anew
    assert how_to_go_on(Interrupted("SIGINT", None), False, BY_MLFLOW) == ""  # the first process says it
    folder.mkdir()
    (folder / FILE).touch()
    on = how_to_go_on(Interrupted("SIGINT", folder), False, BY_MLFLOW)
    assert on == f"to go on where it was: mlflow run . -e phase1 -P lr=1e-3 -P resume={RUN}"
    assert how_to_go_on(Interrupted("SIGINT", folder), False, []) == f"to go on where it was: start it with resume={RUN}"
