"""What a process prints: without passwords, and whether or not the disk that it is printed to is full."""

import sys
from typing import TextIO

from hands.errors import masked
from hands.processes.folders import FULL


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
