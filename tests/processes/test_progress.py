"""Bars on a terminal; plain lines, without carriage returns, elsewhere and where TQDM_DISABLE is set."""

import io
import sys

import pytest

from hands.processes import progress
from hands.processes.progress import LINE_S, STEP, Progress, duration, say, silenced


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time, in seconds, to be set."""
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


def at_terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """What stderr then is; pytest puts its own there between a fixture and a test."""
    monkeypatch.delenv("TQDM_DISABLE", raising=False)
    monkeypatch.setattr(sys, "stderr", Terminal())
    return sys.stderr


def work(clock: list[float]) -> None:
    with Progress("prepare", 400, "frames", done=100) as shown:
        for _ in range(30):
            clock[0] += 2.5
            shown.update(10)


LINES = """\
prepare: 220 of 400 frames, 4 frames/s, 45 s left
prepare: 340 of 400 frames, 4 frames/s, 15 s left
"""


def test_lines_where_there_is_no_terminal(clock, capsys):
    work(clock)
    assert capsys.readouterr().err == LINES


def test_lines_where_bars_are_switched_off(clock, monkeypatch):
    terminal = at_terminal(monkeypatch)
    monkeypatch.setenv("TQDM_DISABLE", "1")
    work(clock)
    assert terminal.getvalue() == LINES


def test_no_line_for_what_is_done_soon(clock, capsys):
    with Progress("prepare", 3, "frames") as shown:
        clock[0] += LINE_S - 1
        shown.update(3)
    assert capsys.readouterr().err == ""


def test_what_is_told_at_once(clock, capsys):
    with Progress("training", 400, "images") as shown:
        shown.tell()
        shown.title = "epoch 1 of 4"
        clock[0] += 10
        shown.update(100)
        shown.note = "val/miou 0.172"
        shown.tell()
    assert capsys.readouterr().err.splitlines() == [
        "training: 0 of 400 images", "epoch 1 of 4: val/miou 0.172, 10 images/s, 30 s left",
    ]  # fmt: skip


def test_a_bar_on_a_terminal(clock, monkeypatch):
    terminal = at_terminal(monkeypatch)
    work(clock)
    said = terminal.getvalue()
    assert "\r" in said and "prepare |" in said and said.endswith("400 of 400 frames, 4 frames/s\n")


@pytest.mark.parametrize("bars", [True, False])
def test_nothing_where_another_process_tells_of_the_work(clock, bars, monkeypatch):
    terminal = at_terminal(monkeypatch)
    terminal.isatty = lambda: bars
    with silenced():
        work(clock)
    with Progress("prepare", 400, "frames", shown=False) as shown:
        shown.tell()
    assert terminal.getvalue() == ""


def test_a_line_does_not_run_into_a_bar(monkeypatch):
    at_terminal(monkeypatch)
    monkeypatch.setattr(sys, "stdout", Terminal())
    say("a worker has stopped")
    assert sys.stdout.getvalue() == "\r\033[Ka worker has stopped\n"
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    say("a worker has stopped")
    assert sys.stdout.getvalue() == "a worker has stopped\n"


@pytest.mark.parametrize(("seconds", "words"), [
    (0.4, "0 s"), (99, "99 s"), (100, "1 min 40 s"), (456, "7 min 36 s"), (1199, "20 min"),
    (5940, "99 min"), (7500, "2 h 5 min"), (360000, "100 h 0 min"),
])  # fmt: skip
def test_duration(seconds: float, words: str):
    assert duration(seconds) == words


@pytest.mark.parametrize("terminal", [True, False])
@pytest.mark.parametrize(("step", "heading"), [
    ("step 2 of 9, prepare", "step 2 of 9, prepare"),
    ("step 3 of 9, phase1", "step 3 of 9, phase1, prepare"),
])  # fmt: skip
def test_a_pipeline_s_step_says_which_one_it_is(clock, monkeypatch, capsys, terminal, step, heading):
    monkeypatch.setenv(STEP, step)
    stream = at_terminal(monkeypatch) if terminal else None
    work(clock)
    said = stream.getvalue() if stream else capsys.readouterr().err
    assert f"{heading}: 220 of" in said or f"{heading} |" in said
    assert said.endswith("\r") if terminal else said.count("\n") == 2  # of a bar nothing is left beside the step's own line
