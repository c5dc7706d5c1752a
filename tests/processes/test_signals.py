"""A signal that asks for the end, whenever it comes, leaves no process behind."""

import multiprocessing
import signal
import threading
import time
from collections.abc import Callable, Iterator

import mlflow
import pytest

from entrypoints.launch.processes import call, run_step, start_server
from entrypoints.launch.stopping import Terminated, terminate_on_signals
from hands.processes.signals import STOP_SIGNALS, stop_signals_held
from hands.processes.workers import in_order
from tests.project import handlers_kept


@pytest.fixture(autouse=True)
def terminated_by_signals() -> Iterator[None]:
    with handlers_kept():
        terminate_on_signals()
        yield


@pytest.fixture
def on_start(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], None]], None]:
    """What happens in this thread when a process has been started, still in the middle of whatever starts it."""
    start = multiprocessing.process.BaseProcess.start

    def install(then: Callable[[], None]) -> None:
        def start_and_then(process: multiprocessing.process.BaseProcess) -> None:
            start(process)
            then()

        monkeypatch.setattr(multiprocessing.process.BaseProcess, "start", start_and_then)

    return install


def terminate() -> None:
    signal.pthread_kill(threading.main_thread().ident, signal.SIGTERM)


@pytest.mark.parametrize("number", STOP_SIGNALS, ids=lambda number: number.name)
def test_a_held_signal_takes_effect_at_the_end(number: int):
    done = []
    with pytest.raises(Terminated, match=number.name), stop_signals_held():
        signal.raise_signal(number)
        done.append("what was begun")
    assert done


def test_without_a_signal_handlers_are_what_they_were():
    before = [signal.getsignal(number) for number in STOP_SIGNALS]
    with stop_signals_held():
        pass
    assert [signal.getsignal(number) for number in STOP_SIGNALS] == before


def test_a_signal_that_was_ignored_still_is():
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    with stop_signals_held():
        signal.raise_signal(signal.SIGTERM)


def test_a_thread_holds_nothing():
    def work() -> None:
        with stop_signals_held():
            done.append([signal.getsignal(number) for number in STOP_SIGNALS])

    done = []
    before = [signal.getsignal(number) for number in STOP_SIGNALS]
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert done == [before]


@pytest.mark.parametrize("delay_s", [0, 2], ids=["as it starts", "while it works"])
def test_a_call_ends_when_its_caller_is_told_to_stop(on_start, delay_s: float):
    start_server()  # as entry points do: who starts it first says what it imports, for later tests, too
    on_start(terminate if not delay_s else threading.Timer(delay_s, terminate).start)
    began = time.monotonic()
    with pytest.raises(Terminated):
        call(time.sleep, 240)
    assert time.monotonic() - began < 120
    assert not multiprocessing.active_children()


def test_a_step_ends_and_is_killed_when_a_signal_comes_as_it_starts(store, on_start):
    start_server()
    on_start(terminate)
    with mlflow.start_run() as run, pytest.raises(Terminated):
        run_step("prepare", "prepare", "step 1 of 1", {}, "of no other step")
    assert not multiprocessing.active_children()
    (step,) = store.search_runs([run.info.experiment_id], f"tags.`mlflow.parentRunId` = '{run.info.run_id}'")
    assert step.info.status == "KILLED"


def test_workers_end_when_a_signal_comes_as_they_start(on_start):
    on_start(terminate)
    with pytest.raises(Terminated):
        list(in_order(abs, iter(range(4)), 2))
    assert not multiprocessing.active_children()
