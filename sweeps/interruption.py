"""How a sweep is stopped: training is broken off at once, bookkeeping is finished first."""

import multiprocessing
import signal
from collections.abc import Iterator
from contextlib import contextmanager

from hands.processes.signals import STOP_SIGNALS


class Interruption:
    """What a process of a sweep does when it is told to stop.

    Where it trains, STOP_SIGNALS raise KeyboardInterrupt; elsewhere they are remembered in `asked`. An exception in the
    middle of a transaction, of MLflow's or Optuna's database, would leave the database locked.
    """

    def __init__(self):
        self.asked = False
        self._breakable = False

    def install(self) -> None:
        for number in STOP_SIGNALS:
            signal.signal(number, self._arrived)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)  # the fork server has them blocked

    @contextmanager
    def breaks(self) -> Iterator[None]:
        """Inside, a signal raises KeyboardInterrupt; so does one that came before."""
        self._breakable = True
        try:
            self.check()
            yield
        finally:
            self._breakable = False

    @contextmanager
    def holds(self) -> Iterator[None]:
        """Inside, a signal is remembered; KeyboardInterrupt is raised at the end."""
        before, self._breakable = self._breakable, False
        try:
            yield
        finally:
            self._breakable = before
        self.check()

    def check(self) -> None:
        """Raises KeyboardInterrupt where a signal came, or where the process that started this one is gone."""
        parent = multiprocessing.parent_process()
        if self.asked or (parent is not None and not parent.is_alive()):
            self.asked = True
            raise KeyboardInterrupt("told to stop")

    def _arrived(self, signal_number, frame) -> None:
        first, self.asked = not self.asked, True
        if first and self._breakable:
            raise KeyboardInterrupt("told to stop")
