"""kill -9 of whatever started other processes: none of its session survives, whoever forked them."""

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import pytest
from mlflow import MlflowClient

from tests.project import ROOT, TINY_RECIPE, arguments, command, environment, living, new_store, wait_until
from tests.sweeps.sweeping import begun_trial, sweep_arguments

ENDLESS = 100_000  # epochs, frames
IN_ORDER = "import time; from hands.processes.workers import in_order; list(in_order(time.sleep, iter([3600, 3600]), 2))"
CALL = "import time; from entrypoints.launch.processes import call; call(time.sleep, 3600)"


@pytest.fixture
def uri(tmp_path: Path, store_template: Path) -> str:
    return new_store(tmp_path / "store", store_template)


@contextmanager
def started(words: list[str], uri: str, log: Path) -> Iterator[subprocess.Popen]:
    """A command in a session of its own, of which nothing is left afterwards."""
    with log.open("w") as output:
        process = subprocess.Popen(
            words, cwd=ROOT, env=environment(uri), stdout=output, stderr=output, start_new_session=True
        )
    try:
        yield process
    finally:
        for left in living(process.pid):
            left.kill()
        process.wait()


def kill_and_count(process: subprocess.Popen, seconds: float) -> None:
    """Kills the command and waits until its session is empty."""
    process.send_signal(signal.SIGKILL)
    process.wait()
    wait_until(lambda: not living(process.pid), explain=lambda: str(living(process.pid)), seconds=seconds)


@pytest.mark.parametrize(
    "after_s", [pytest.param(0, marks=pytest.mark.slow), 4], ids=["as they start", "while they work"]
)
@pytest.mark.parametrize(
    ("words", "processes"),
    [
        ([sys.executable, "-c", IN_ORDER], 4),  # with the tracker of multiprocessing's resources
        ([sys.executable, "-c", CALL], 4),  # with the fork server, and the tracker
        pytest.param(
            command("synthesize", *arguments("synthesize", n_paired=ENDLESS, workers=2, out_dir="OUT")), 4,
            marks=pytest.mark.slow,
        ),
    ],
    ids=["workers in order, of prepare and import_interhand", "a call", "workers of synthesize"],
)
def test_workers(uri: str, tmp_path: Path, words: list[str], processes: int, after_s: float):
    log = tmp_path / "log"
    with started([word.replace("OUT", str(tmp_path / "out")) for word in words], uri, log) as process:
        wait_until(lambda: len(living(process.pid)) >= processes, process, log.read_text)
        time.sleep(after_s)
        kill_and_count(process, seconds=60)


def main_words(folder: Path, **overrides: object) -> list[str]:
    values = {"g1": "light", "g2": "light", "work_dir": folder / "data", "checkpoint_dir": folder / "checkpoints"}
    return command("pipeline", *arguments("main", **TINY_RECIPE | values | overrides))


def has_trained(client: MlflowClient) -> bool:
    return any("train/loss_total" in run.data.metrics for run in client.search_runs([1]))


@pytest.mark.slow
def test_main_with_a_step_that_trains(uri: str, tmp_path: Path):
    """The step stops as on SIGTERM: it writes its checkpoint and ends its run."""
    client, log = MlflowClient(uri), tmp_path / "log"
    with started(main_words(tmp_path, phase1_epochs=ENDLESS), uri, log) as process:
        wait_until(lambda: has_trained(client), process, log.read_text)
        kill_and_count(process, seconds=60)
    (step,) = client.search_runs([1], "attributes.run_name = 'phase1'")
    assert step.info.status == "KILLED" and "SIGTERM" in step.data.tags["hands.failure"]
    assert (tmp_path / "checkpoints" / step.info.run_id / "last.pt").exists()


@pytest.mark.slow
def test_main_with_a_step_that_has_workers(uri: str, tmp_path: Path):
    """main, its fork server and tracker of resources, the step, two workers."""
    log = tmp_path / "log"
    with started(main_words(tmp_path, n_paired=ENDLESS, workers=2), uri, log) as process:
        wait_until(lambda: len(living(process.pid)) >= 6, process, log.read_text)
        kill_and_count(process, seconds=60)


@pytest.mark.slow
def test_a_sweep_in_the_middle_of_trials(tiny_packed, logged, session_store: str, tmp_path: Path):
    log, storage = tmp_path / "log", f"sqlite:///{tmp_path}/optuna.db"
    words = command("sweep", *sweep_arguments(tiny_packed, logged, storage, init_epochs=0, paired_epochs=ENDLESS))
    with started(words, session_store, log) as process:
        begun_trial(process, log, 300)
        kill_and_count(process, seconds=60)


@pytest.mark.slow
def test_processes_that_train_together(tiny_packed, uri: str, tmp_path: Path):
    client, log = MlflowClient(uri), tmp_path / "log"
    words = command("phase1", *arguments(
        "phase1", packed_dir=tiny_packed.folder, g1="light", encoder_weights="none", batch_size=4, epochs=ENDLESS,
        accelerator="cpu", devices=2, strategy="ddp", checkpoint_dir=tmp_path / "checkpoints",
    ))  # fmt: skip
    with started(words, uri, log) as process:
        wait_until(lambda: has_trained(client), process, log.read_text)
        kill_and_count(process, seconds=60)


def launched(process: subprocess.Popen) -> list[psutil.Process]:
    children = psutil.Process(process.pid).children(recursive=True)
    return [child for child in children if {"run", "phase1"} <= set(words_of(child))]


def words_of(process: psutil.Process) -> list[str]:
    """Its command line; none where it has ended meanwhile."""
    with suppress(psutil.Error):
        return process.cmdline()
    return []


@pytest.mark.slow
def test_the_benchmark_as_it_waits_for_a_start(uri: str, tmp_path: Path):
    """`mlflow run` and what it has started are in a session of their own."""
    log = tmp_path / "log"
    words = command("bench", *arguments("bench", lines=7, rounds=1, width=64, height=96))
    with started(words, uri, log) as process:
        wait_until(lambda: launched(process), process, log.read_text)
        (mlflow_run,) = launched(process)
        wait_until(lambda: len(living(mlflow_run.pid)) >= 2, process, log.read_text)
        kill_and_count(process, seconds=60)
        wait_until(lambda: not living(mlflow_run.pid), seconds=60)
