"""What an entry point prints, where the disk that it is printed to is full."""

import sys
from typing import TextIO

from hands.processes.folders import FULL


class Lenient:
    """A text stream that drops what a full disk does not take: a day's work must not end for a line of its log."""

    def __init__(self, stream: TextIO):
        self.stream = stream

    def write(self, text: str) -> int:
        try:
            return self.stream.write(text)
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


def forgive_full_disks() -> None:
    """From now on this process's standard streams are lenient."""
    sys.stdout, sys.stderr = Lenient(sys.stdout), Lenient(sys.stderr)
