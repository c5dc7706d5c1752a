"""The workers of one machine: started, replaced where they are killed, and stopped together."""

import multiprocessing
import multiprocessing.connection
import multiprocessing.forkserver
import multiprocessing.resource_tracker
import os
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import TYPE_CHECKING

from hands.processes.parents import end_with_parent
from hands.processes.signals import STOP_SIGNALS
from sweeps.job import Job

if TYPE_CHECKING:
    from sweeps.setting import Setting

STOP_TIMEOUT_S = 30

_server = multiprocessing.get_context("forkserver")


def start_server() -> None:
    """Begins importing what workers need, while the caller goes on."""
    os.environ["TQDM_DISABLE"] = "1"  # bars of several workers would run through each other
    _server.set_forkserver_preload(["sweeps.worker", "sweeps.setting"])
    # a cluster signals every process of a job: the server must outlive the workers, whose end it tells us
    multiprocessing.resource_tracker.ensure_running()  # it would unblock them again if the next lines started it
    before = signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
    multiprocessing.forkserver.ensure_running()
    signal.pthread_sigmask(signal.SIG_SETMASK, before)


def threads_per_worker(n_workers: int) -> int:
    """An equal share of the cores that this process may use, at least 1."""
    return max(1, len(os.sched_getaffinity(0)) // n_workers)


def run_workers(job: Job, n_workers: int, gpus: int, watch: Callable[[], None], poll_s: float) -> list[int]:
    """Runs workers until all have ended; returns their exit codes, those of killed ones (-signal) included.

    A killed worker (out of memory, kill -9) is replaced; its trial is repeated by whoever finds it first. On an exception
    in this process (Ctrl-C, say) the workers are told to stop and waited for.

    Args:
        job: what they do; its device is set for each of them.
        n_workers: how many at a time.
        gpus: of this machine, which workers take in turn.
        watch: called every poll_s seconds meanwhile.
    """
    processes = {index: _start(job, index, gpus) for index in range(n_workers)}
    replacements = job.study.n_trials  # a trial whose worker dies twice is given up, so that this is not reached in sense
    codes = []
    try:
        while processes:
            multiprocessing.connection.wait([process.sentinel for process in processes.values()], timeout=poll_s)
            for index, process in list(processes.items()):
                if process.exitcode is None:
                    continue
                codes.append(process.exitcode)
                del processes[index]
                if process.exitcode < 0 and replacements:
                    print(f"== worker {index} was killed (signal {-process.exitcode}); another one takes its place", flush=True)
                    replacements -= 1
                    processes[index] = _start(job, index, gpus)
            watch()
    finally:
        _stop(list(processes.values()))
    return codes


def _start(job: Job, index: int, gpus: int) -> multiprocessing.Process:
    process = _server.Process(target=_work, args=(replace(job, device=index % gpus if gpus else None),))
    process.start()
    return process


def find_setting(params: SimpleNamespace) -> "Setting":
    """sweeps.setting.find_setting, for a process that has imported neither it nor torch."""
    from sweeps.setting import find_setting

    return find_setting(params)


def _work(job: Job) -> None:
    end_with_parent(STOP_TIMEOUT_S)
    from sweeps.worker import work  # torch and the rest: imported in the fork server alone

    work(job)


def _stop(processes: list[multiprocessing.Process]) -> None:
    for process in processes:
        process.terminate()
    deadline = time.monotonic() + STOP_TIMEOUT_S
    for process in processes:
        process.join(max(0, deadline - time.monotonic()))
        if process.exitcode is None:
            process.kill()
            process.join()
