"""Work by several processes, its results in order."""

import contextlib
import multiprocessing
import os
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

from hands.errors import InvalidInput
from hands.processes.parents import end_with_parent
from hands.processes.signals import stop_signals_held

_TASKS_AHEAD = 3  # per worker: bounds what waits in memory

Task = TypeVar("Task")
Result = TypeVar("Result")


def in_order(work: Callable[[Task], Result], tasks: Iterator[Task], workers: int) -> Iterator[tuple[Task, Result]]:
    """(task, work(task)) for each task in order, by `workers` processes; no more than a few tasks wait at any time.

    Raises:
        InvalidInput: a process was killed. What `work` raises comes through.
    """
    if workers <= 1:
        yield from ((task, work(task)) for task in tasks)
        return
    pool = ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), initializer=end_with_parent, initargs=(0,))
    waiting: deque = deque()
    try:
        for task in tasks:
            with stop_signals_held():
                waiting.append((task, pool.submit(work, task)))
            if len(waiting) > workers * _TASKS_AHEAD:
                done, future = waiting.popleft()
                yield done, future.result()
        while waiting:
            done, future = waiting.popleft()
            yield done, future.result()
    except BrokenProcessPool as error:
        raise InvalidInput("A worker process was killed, most likely for want of memory; give fewer workers.") from error
    finally:
        pool.shutdown(cancel_futures=True)


@contextlib.contextmanager
def single_threaded_children() -> Iterator[None]:
    """Processes started within use one thread each: faster together, and sums are added up in one order everywhere."""
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    before = {name: os.environ.get(name) for name in names}
    os.environ.update(dict.fromkeys(names, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
