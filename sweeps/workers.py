"""The workers of one machine: started, replaced where they are killed, and stopped together."""

import multiprocessing
import multiprocessing.connection
import multiprocessing.forkserver
import multiprocessing.resource_tracker
import os
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from types import SimpleNamespace
from typing import TYPE_CHECKING

from hands.errors import InvalidInput
from hands.processes.output import guard_output
from hands.processes.parents import end_with_parent
from hands.processes.progress import say
from hands.processes.signals import STOP_SIGNALS
from sweeps.errors import GivenUp, cause
from sweeps.job import Job

if TYPE_CHECKING:
    from sweeps.setting import Setting

STOP_TIMEOUT_S = 30

_server = multiprocessing.get_context("forkserver")


def start_server() -> None:
    """Begins importing what workers need, while the caller goes on."""
    _server.set_forkserver_preload(["sweeps.worker", "sweeps.setting"])
    # a cluster signals every process of a job: the server must outlive the workers, whose end it tells us
    multiprocessing.resource_tracker.ensure_running()  # it would unblock them again if the next lines started it
    before = signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
    multiprocessing.forkserver.ensure_running()
    signal.pthread_sigmask(signal.SIG_SETMASK, before)


def threads_per_worker(n_workers: int) -> int:
    """An equal share of the cores that this process may use, at least 1."""
    return max(1, len(os.sched_getaffinity(0)) // n_workers)


@dataclass(frozen=True)
class Worker:
    """A process, and the end of a pipe on which it says why it stops early."""

    process: multiprocessing.Process
    said: Connection

    def end(self) -> str | None:
        """How it ended, in words; None while it runs."""
        code = self.process.exitcode
        if code is None:
            return None
        try:
            return self.said.recv()
        except EOFError:
            return f"killed by signal {-code}" if code < 0 else f"exit code {code}"


def run_workers(job: Job, n_workers: int, gpus: int, watch: Callable[[], None], poll_s: float) -> list[str]:
    """Runs workers until all have ended; returns how each one did, killed ones included.

    A killed worker (out of memory, kill -9) is replaced; its trial is repeated by whoever finds it first. On an exception
    in this process (Ctrl-C, say) the workers are told to stop and waited for.

    Args:
        job: what they do; its device is set for each of them.
        n_workers: how many at a time.
        gpus: of this machine, which workers take in turn.
        watch: called every poll_s seconds meanwhile.
    """
    workers = {index: _start(job, index, gpus) for index in range(n_workers)}
    replacements = job.study.n_trials  # what kills as many workers as there are trials kills the next one, too
    ends = []
    try:
        while workers:
            multiprocessing.connection.wait([worker.process.sentinel for worker in workers.values()], timeout=poll_s)
            for index, worker in list(workers.items()):
                end = worker.end()
                if end is None:
                    continue
                ends.append(end)
                del workers[index]
                if worker.process.exitcode < 0 and replacements:
                    say(f"== worker {index} was {end}; another one takes its place")
                    replacements -= 1
                    workers[index] = _start(job, index, gpus)
                elif worker.process.exitcode:
                    say(f"== worker {index} has stopped: {end}")
            watch()
    finally:
        _stop([worker.process for worker in workers.values()])
    return ends


def _start(job: Job, index: int, gpus: int) -> Worker:
    said, say = _server.Pipe(duplex=False)
    process = _server.Process(target=_work, args=(replace(job, device=index % gpus if gpus else None), say))
    process.start()
    say.close()  # the process has its own
    return Worker(process, said)


def find_setting(params: SimpleNamespace) -> "Setting":
    """sweeps.setting.find_setting, for a process that has imported neither it nor torch."""
    from sweeps.setting import find_setting

    return find_setting(params)


def _work(job: Job, say: Connection) -> None:
    guard_output()
    end_with_parent(STOP_TIMEOUT_S)
    from sweeps.worker import work  # torch and the rest: imported in the fork server alone

    try:
        work(job)
    except Exception as error:
        in_words = isinstance(error, (GivenUp, InvalidInput))
        say.send(str(error) if in_words else cause(error))
        if in_words:
            sys.exit(1)
        raise


def _stop(processes: list[multiprocessing.Process]) -> None:
    for process in processes:
        process.terminate()
    deadline = time.monotonic() + STOP_TIMEOUT_S
    for process in processes:
        process.join(max(0, deadline - time.monotonic()))
        if process.exitcode is None:
            process.kill()
            process.join()
