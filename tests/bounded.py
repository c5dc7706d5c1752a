"""Runs what must end soon and small in a child process with limits, so that a failure costs a test and not the machine."""

import faulthandler
import os
import resource
import traceback
from collections.abc import Callable
from pathlib import Path

import torch

from hands.errors import InvalidInput

RETURNED = "it returned"


def bounded(read: Callable[[], object], seconds: int = 10, mib: int = 300) -> str:
    """The message of the InvalidInput that `read` raises, or RETURNED; within so much processor time and memory more than now.

    Raises:
        AssertionError: anything else happened; the message says what.
    """
    receive, send = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(receive)
        try:
            faulthandler.disable()
            torch.set_num_threads(1)  # the parent's threads are not here
            taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
            resource.setrlimit(resource.RLIMIT_AS, (taken + (mib << 20), resource.RLIM_INFINITY))
            used = int(sum(resource.getrusage(resource.RUSAGE_SELF)[:2]))
            resource.setrlimit(resource.RLIMIT_CPU, (used + seconds, resource.RLIM_INFINITY))
            os.write(send, _ended(read).encode(errors="replace")[:60_000])
        finally:
            os._exit(0)
    os.close(send)
    with os.fdopen(receive, "rb") as stream:
        said = stream.read().decode()
    status = os.waitpid(child, 0)[1]
    assert status == 0, f"ended by signal {os.WTERMSIG(status)}"
    assert said.startswith("ok "), said
    return said[3:]


def _ended(read: Callable[[], object]) -> str:
    try:
        read()
    except InvalidInput as error:
        return f"ok {error}"
    except BaseException:
        return traceback.format_exc()
    return f"ok {RETURNED}"
