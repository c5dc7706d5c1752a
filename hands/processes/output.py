"""What a process prints: what a user can do something about, without passwords, whether or not the disk for it is full."""

import os
import sys
import warnings
from typing import TextIO

from hands.errors import masked
from hands.processes.folders import FULL
from hands.processes.progress import on_terminal


class Guarded:
    """A text stream that masks what it is given, tracebacks and warnings of others too, and drops what a full disk does not
    take: a day's work must not end for a line of its log."""

    def __init__(self, stream: TextIO):
        self.stream = stream

    def write(self, text: str) -> int:
        try:
            self.stream.write(masked(text))
        except OSError as error:
            if error.errno not in FULL:
                raise
        return len(text)

    def flush(self) -> None:
        try:
            self.stream.flush()
        except OSError as error:
            if error.errno not in FULL:
                raise

    def __getattr__(self, name: str) -> object:
        return getattr(self.stream, name)


def guard_output() -> None:
    """From now on this process's standard streams are guarded."""
    sys.stdout, sys.stderr = Guarded(sys.stdout), Guarded(sys.stderr)


def quiet_libraries() -> None:
    """What they tell of their own accord is left out, unless the user has asked for it; they read this when imported."""
    os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")  # the making of its tables, step by step
    os.environ.setdefault("HF_HUB_VERBOSITY", "error")  # that nobody has logged in
    if not on_terminal():
        os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")


def plain_warnings() -> None:
    """Warnings for users are a sentence, without the place in the code; programmers' keep it."""
    before = warnings.showwarning

    def show(message: Warning | str, category: type[Warning], *place: object, **more: object) -> None:
        if category is UserWarning:
            print(f"Warning: {message}", file=sys.stderr, flush=True)
        else:
            before(message, category, *place, **more)

    warnings.showwarning = show
