"""Entry points that `mlflow run` has started: however a signal reaches them, their runs end as KILLED."""

import os
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import mlflow
import psutil
import pytest
from mlflow import MlflowClient

from entrypoints.launch import afterwards, stopping
from hands.tracking import PROCESS_TAG
from hands.tracking.experiments import SHOWN_BY
from tests.project import ROOT, environment, living, mlflow_run, new_store, wait_until

TRAINING, IMPORTING = "while it trains", "while it imports"


@pytest.fixture
def launcher():
    """A process in `mlflow run`'s place, which ends when its input does, and the descriptor of it."""
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE) as process:
        process.descriptor = os.pidfd_open(process.pid)
        yield process
        os.close(process.descriptor)


@pytest.fixture
def run_id(store):
    with mlflow.start_run(tags={PROCESS_TAG: "an entry point"}) as run:
        pass
    yield run.info.run_id
    store.set_terminated(run.info.run_id)  # other tests share the store


def state(client: MlflowClient, run_id: str) -> str:
    return client.get_run(run_id).info.status


def test_what_the_launcher_writes_over_killed_is_put_right(store, run_id, launcher, monkeypatch):
    """While the launcher goes on, as a script does that calls mlflow.projects.run."""
    store.set_terminated(run_id, "KILLED")
    waits = []

    def wait(*arguments):
        waits.append(arguments)
        if len(waits) == 2:
            store.set_terminated(run_id, "FAILED")
        return [], [], []

    monkeypatch.setattr(afterwards.select, "select", wait)
    afterwards.main(run_id, launcher.descriptor, stopped=True)
    assert state(store, run_id) == "KILLED"
    assert launcher.poll() is None


@pytest.mark.parametrize(
    ("began", "status", "left"),
    [
        (True, "KILLED", "KILLED"),
        (True, "FAILED", "KILLED"),
        (False, "RUNNING", "KILLED"),  # ended before it could say anything about its run
        (False, "FINISHED", "KILLED"),  # a run that only points to the one that was resumed
        (True, "RUNNING", "RUNNING"),  # resumed by another process meanwhile
    ],
)
def test_once_the_launcher_has_ended(store, run_id, launcher, began, status, left):
    if not began:
        store.delete_tag(run_id, PROCESS_TAG)
    store.update_run(run_id, status=status)
    launcher.stdin.close()
    afterwards.main(run_id, launcher.descriptor, stopped=True)
    assert state(store, run_id) == left


@pytest.mark.parametrize("stopped", [True, False])
@pytest.mark.parametrize("points", [True, False])
def test_a_run_that_another_took_the_place_of_goes_once_it_has_ended(store, run_id, launcher, monkeypatch, points, stopped):
    monkeypatch.setattr(afterwards, "PATIENCE_S", 0.3)
    if points:
        store.set_tag(run_id, SHOWN_BY, "another")
    store.update_run(run_id, status="RUNNING")
    afterwards.main(run_id, launcher.descriptor, stopped)
    assert store.get_run(run_id).info.lifecycle_stage == "active"  # `mlflow run` will still write its state
    store.set_terminated(run_id, "FINISHED")
    afterwards.main(run_id, launcher.descriptor, stopped)
    assert store.get_run(run_id).info.lifecycle_stage == ("deleted" if points else "active")
    if points:
        store.restore_run(run_id)


def test_what_it_cannot_say_is_said_without_a_password(launcher):
    words = [sys.executable, "-m", "entrypoints.launch.afterwards", "0" * 32, str(launcher.descriptor), "stopped"]
    away = os.environ | {"MLFLOW_TRACKING_URI": "http://ann:s3cret@127.0.0.1:9"}  # port 9: nobody listens
    done = subprocess.run(words, cwd=ROOT, env=away, pass_fds=[launcher.descriptor], capture_output=True, text=True)
    assert done.returncode == 1 and "may show another state than KILLED" in done.stderr
    assert "s3cret" not in done.stdout + done.stderr


def test_only_the_launchers_run_is_seen_to_and_only_where_another_took_its_place(monkeypatch):
    """Entry points that are called in one process leave nothing behind for each other's runs."""
    left = []
    launcher = SimpleNamespace(run_id="made by mlflow run", let_it_end=lambda stopped: left.append(stopped))
    monkeypatch.setattr(stopping, "_launcher", launcher)
    stopping.forget_pointers(set())
    stopping.forget_pointers({"another"})
    assert left == []
    stopping.forget_pointers({"another", "made by mlflow run"})
    assert left == [False]


def test_it_does_not_wait_forever(store, run_id, launcher, monkeypatch):
    monkeypatch.setattr(afterwards, "PATIENCE_S", 0.3)
    store.set_terminated(run_id, "KILLED")
    afterwards.main(run_id, launcher.descriptor, stopped=True)
    assert launcher.poll() is None and state(store, run_id) == "KILLED"


def to_all(mlflow_process: psutil.Process, entry_point: psutil.Process, number: signal.Signals) -> None:
    os.killpg(mlflow_process.pid, number)


def to_mlflow_run(mlflow_process: psutil.Process, entry_point: psutil.Process, number: signal.Signals) -> None:
    mlflow_process.send_signal(number)


def to_entry_point(mlflow_process: psutil.Process, entry_point: psutil.Process, number: signal.Signals) -> None:
    entry_point.send_signal(number)


@pytest.mark.parametrize(
    ("send", "number", "when"),
    [
        (to_mlflow_run, signal.SIGTERM, IMPORTING),
        pytest.param(to_mlflow_run, signal.SIGTERM, TRAINING, marks=pytest.mark.slow),
        pytest.param(to_mlflow_run, signal.SIGKILL, TRAINING, marks=pytest.mark.slow),
        pytest.param(to_all, signal.SIGINT, TRAINING, marks=pytest.mark.slow),
        pytest.param(to_all, signal.SIGTERM, TRAINING, marks=pytest.mark.slow),
        pytest.param(to_entry_point, signal.SIGTERM, TRAINING, marks=pytest.mark.slow),
        pytest.param(to_entry_point, signal.SIGUSR1, TRAINING, marks=pytest.mark.slow),
        pytest.param(to_all, signal.SIGINT, IMPORTING, marks=pytest.mark.slow),
        pytest.param(to_all, signal.SIGTERM, IMPORTING, marks=pytest.mark.slow),
        pytest.param(to_entry_point, signal.SIGTERM, IMPORTING, marks=pytest.mark.slow),
    ],
)
def test_a_step_under_mlflow_run_ends_as_killed(send, number, when, tiny_packed, tmp_path, store_template):
    uri = new_store(tmp_path / "store", store_template)
    client = MlflowClient(uri)
    words = mlflow_run(
        "phase1", packed_dir=tiny_packed.folder, g1="light", encoder_weights="none", batch_size=4, epochs=10_000,
        accelerator="cpu", checkpoint_dir=tmp_path / "checkpoints",
    )  # fmt: skip
    with (tmp_path / "log").open("w") as log:
        process = psutil.Popen(words, cwd=ROOT, env=environment(uri), stdout=log, stderr=log, start_new_session=True)

    def entry_point() -> psutil.Process | None:
        return next((child for child in process.children(recursive=True) if is_entry_point(child)), None)

    wait_until(lambda: entry_point() is not None, process)
    found = entry_point()
    if when == TRAINING:
        wait_until(lambda: any("train/loss_ce" in run.data.metrics for run in client.search_runs([1])), process)
    else:
        time.sleep(1)
    send(process, found, number)
    assert process.wait(60) != 0
    wait_until(lambda: not living(process.pid))
    (run,) = client.search_runs([1])
    assert run.info.status == "KILLED", (tmp_path / "log").read_text()
    assert "Traceback" not in (tmp_path / "log").read_text() or number == signal.SIGINT  # mlflow's own
    assert (tmp_path / "checkpoints" / run.info.run_id / "last.pt").exists() == (when == TRAINING)


def is_entry_point(process: psutil.Process) -> bool:
    try:
        words = process.cmdline()
    except psutil.Error:
        return False
    return "-m" in words and "entrypoints.phase1" in words
