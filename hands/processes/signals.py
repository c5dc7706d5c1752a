"""The signals that ask a process to stop; imports nothing slow, so that they can be looked after from the first moment."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)


@contextmanager
def stop_signals_held() -> Iterator[None]:
    """Inside, STOP_SIGNALS are remembered; at the end they do what they would have done.

    For the start of a process or thread: an exception in the middle of it would leave one that nobody ends. Handlers run in
    the main thread alone, so that there is nothing to hold in others.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    arrived: list[int] = []
    before = {number: signal.signal(number, lambda number, frame: arrived.append(number)) for number in STOP_SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        for number in arrived:
            signal.raise_signal(number)
