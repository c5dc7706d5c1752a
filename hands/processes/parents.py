"""Processes that end with the one that started them, however that ends, kill -9 included.

A fork server is the parent of what it forks for others, and lives as long as its children do: the system's own signal at a
parent's death (prctl) would tell of the wrong death, and of that of a thread.
"""

import multiprocessing
import os
import signal
import threading
import time
from contextlib import suppress

import psutil


def end_with_parent(grace_s: float) -> None:
    """From now on this process ends once the one that started it has ended: at once where grace_s is 0, otherwise by SIGTERM,
    and after grace_s seconds whatever it does with that. Its own children end likewise where they have called this."""
    threading.Thread(target=_follow, args=(grace_s,), daemon=True).start()


def _follow(grace_s: float) -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:  # where a fork server is between, the one that asked it for this process
        parent.join()
    else:
        with suppress(psutil.NoSuchProcess):
            psutil.Process(os.getppid()).wait()
    if grace_s:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(grace_s)
    os._exit(1)

