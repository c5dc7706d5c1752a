"""How far work has come, on stderr: a bar on a terminal, plain lines elsewhere (a file, CI) and where TQDM_DISABLE is set."""

import os
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType

from tqdm import tqdm

STEP = "HANDS_STEP"  # variable: the step of a pipeline that this process is, for people
LINE_S = 30  # seconds between plain lines
REDRAW_S = 0.5
SETTLED_S = 2  # from the beginning on, until a rate tells something
CLEAR = "\r\033[K"  # a terminal's line, of whichever process's bar stands there

_silent = False


@contextmanager
def silenced() -> Iterator[None]:
    """Inside, this process shows nothing: another bar tells of its work."""
    global _silent
    before, _silent = _silent, True
    try:
        yield
    finally:
        _silent = before


def on_terminal() -> bool:
    return sys.stderr.isatty() and not os.environ.get("TQDM_DISABLE")


def say(text: str) -> None:
    """Prints a line where a bar may stand, another process's too."""
    print(f"{CLEAR if on_terminal() and sys.stdout.isatty() else ''}{text}", flush=True)


def duration(seconds: float) -> str:
    """In words, to about three figures: 40 s, 7 min 36 s, 40 min, 2 h 5 min."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 20:
        return f"{round(seconds) // 60} min {round(seconds) % 60} s"
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60} min"


class Progress:
    """A bar; elsewhere plain lines, one every LINE_S seconds (none for what is done sooner) and those that are asked for.

    Attributes:
        title: what is being done.
        total: how many `unit` of it, such as "images"; done: how many of these are.
        note: what is told instead of these numbers.

    Args:
        shown: whether anything is.
    """

    def __init__(self, title: str, total: int, unit: str, done: int = 0, shown: bool = True):
        self.title, self.total, self.unit, self.done = title, total, unit, done
        self._step = os.environ.get(STEP, "")
        self.note = ""
        self._began, self._before = time.monotonic(), done
        self._told = self._began
        self._shown = shown and not _silent
        self._every_s = REDRAW_S if on_terminal() else LINE_S
        self._bar: tqdm | None = None  # on a terminal, from the first time on

    def update(self, n: int) -> None:
        """n more are done."""
        self.done += n
        if time.monotonic() - self._told >= self._every_s:
            self.tell()

    def tell(self) -> None:
        """Shows it as it is now."""
        self._told = time.monotonic()
        if not self._shown:
            return
        if self._every_s == LINE_S:
            print(f"{self._headed()}: {self._state()}", file=sys.stderr, flush=True)
            return
        if self._bar is None:
            first = {"desc": self._headed(), "initial": self.done, "postfix": self._state(), "leave": not self._step}
            columns, lines = shutil.get_terminal_size()  # of one that says 0 by 0, as in a container, 80 by 24
            self._bar = tqdm(total=self.total, bar_format="{desc} |{bar}|{postfix}", ncols=columns, nrows=lines, **first)
        self._bar.n, self._bar.total = self.done, self.total
        self._bar.set_description_str(self._headed(), refresh=False)
        self._bar.set_postfix_str(self._state())

    def _headed(self) -> str:
        if not self._step or self._step.endswith(f", {self.title}"):
            return self._step or self.title
        return f"{self._step}, {self.title}"

    def _state(self) -> str:
        words = [self.note or f"{self.done:,} of {self.total:,} {self.unit}"]
        new, seconds = self.done - self._before, time.monotonic() - self._began
        if new and seconds >= SETTLED_S:
            rate = new / seconds
            if rate >= 1:
                words.append(f"{rate:,.0f} {self.unit}/s")
            if self.done < self.total:
                words.append(f"{duration((self.total - self.done) / rate)} left")
        return ", ".join(words)

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._bar is not None:
            self.tell()
            self._bar.close()
