"""How a worker is stopped: a trial is broken off at once, the bookkeeping around it is finished first."""

import multiprocessing
import signal
from collections.abc import Iterator
from contextlib import contextmanager


class Interruption:
    """SIGINT and SIGTERM of a worker.

    In the middle of a trial they raise KeyboardInterrupt; elsewhere, where Optuna hands out a trial or writes down its end,
    they are remembered in `asked`.
    """

    def __init__(self):
        self.asked = False
        self._breakable = False

    def install(self) -> None:
        signal.signal(signal.SIGTERM, self._arrived)
        signal.signal(signal.SIGINT, self._arrived)

    @contextmanager
    def breaks(self) -> Iterator[None]:
        """Inside, a signal raises KeyboardInterrupt; so does one that came before."""
        self._breakable = True
        try:
            self.check()
            yield
        finally:
            self._breakable = False

    def check(self) -> None:
        """Raises KeyboardInterrupt where a signal came, or where the process that started this one is gone."""
        parent = multiprocessing.parent_process()
        if self.asked or (parent is not None and not parent.is_alive()):
            self.asked = True
            raise KeyboardInterrupt

    def _arrived(self, signal_number, frame) -> None:
        first, self.asked = not self.asked, True
        if first and self._breakable:
            raise KeyboardInterrupt
