"""A file that one process at a time holds; the system frees it with the process, however that ends."""

import fcntl
import os
import time
import warnings
from pathlib import Path
from typing import IO

from hands.errors import InvalidInput

_POLL_S = 0.2


def hold(file: Path, taken: str, wait_s: float) -> IO:
    """Creates `file` and its folder where needed and locks it until the returned file is closed or the process ends.

    Args:
        taken: what to say where another process keeps holding it.
        wait_s: how long to wait for that process to end, in seconds.

    Raises:
        InvalidInput: another process holds it.
        OSError: it cannot be created.
    """
    deadline = time.monotonic() + wait_s
    while True:
        file.parent.mkdir(parents=True, exist_ok=True)
        try:
            lock = file.open("w")
        except FileNotFoundError:  # its last holder has just removed the folder
            continue
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
            if time.monotonic() > deadline:
                raise InvalidInput(taken) from None
            time.sleep(_POLL_S)
            continue
        except OSError as error:  # Lustre without its flock option, say
            warnings.warn(f"{file.parent} takes no locks ({error.strerror}): let no two processes write it", stacklevel=2)
            return lock
        if _is_still_at(file, lock):
            return lock
        lock.close()


def _is_still_at(file: Path, lock: IO) -> bool:
    """Whether the open file is not one that its holder removed before it let go."""
    try:
        return os.path.samestat(file.stat(), os.fstat(lock.fileno()))
    except FileNotFoundError:
        return False
