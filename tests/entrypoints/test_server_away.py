"""A tracking server that is stopped and started while a step trains: every epoch arrives, in order and once."""

import subprocess
from pathlib import Path

import mlflow
import pytest
from mlflow import MlflowClient

from hands.packed.packed_set import PackedSet
from tests.project import EXPERIMENT, arguments, command, environment, newest_run, pictures_logged, wait_until
from tests.servers import Server, TrackingServer

EPOCHS = 12
PATIENCE_S = 240


@pytest.fixture
def server(tmp_path: Path, store_template: Path):
    (tmp_path / "server").mkdir()
    server = TrackingServer(tmp_path / "server", store_template)
    try:
        server.start()
        yield server
    finally:
        server.stop()


def start_phase1(server: Server, packed: PackedSet, folder: Path, retries: int, **overrides: object) -> subprocess.Popen:
    options = arguments(
        "phase1", packed_dir=packed.folder, epochs=EPOCHS, batch_size=4, eval_every=1, unpaired="none",
        g1="light", encoder_weights="none", checkpoint_dir=folder / "checkpoints", **overrides,
    )  # fmt: skip
    return subprocess.Popen(
        command("phase1", *options),
        env=environment(server.uri, MLFLOW_HTTP_REQUEST_MAX_RETRIES=str(retries)),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def epochs_logged(client: MlflowClient, run_id: str) -> list[int]:
    """Epochs in the order in which the server got them."""
    return [metric.step for metric in client.get_metric_history(run_id, "val/miou")]


def waiting(folder: Path) -> int:
    return len(list(folder.glob("checkpoints/*/outbox/*-metrics.json")))


def has_begun(client: MlflowClient, process: subprocess.Popen) -> bool:
    assert process.poll() is None, process.communicate()[0]
    if client.get_experiment_by_name(EXPERIMENT) is None:
        return False
    experiment = client.get_experiment_by_name(EXPERIMENT).experiment_id
    return any(len(epochs_logged(client, run.info.run_id)) >= 2 for run in client.search_runs([experiment]))


def assert_complete(client: MlflowClient, run_id: str) -> None:
    everything = list(range(1, EPOCHS + 1))
    assert epochs_logged(client, run_id) == everything
    assert pictures_logged(client, run_id) == [0, *everything]
    run = client.get_run(run_id)
    assert run.info.status == "FINISHED"
    assert mlflow.get_logged_model(run.data.tags["hands.output.g1_model"].removeprefix("models:/")).status == "READY"


@pytest.mark.slow
def test_epochs_wait_for_the_server(server: Server, tiny_packed: PackedSet, tmp_path: Path, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.uri)
    client = MlflowClient(server.uri)
    process = start_phase1(server, tiny_packed, tmp_path, retries=7)
    wait_until(lambda: has_begun(client, process))
    server.stop()
    wait_until(lambda: waiting(tmp_path) >= 2)
    server.start()
    output, _ = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0, output
    assert "training goes on, metrics and pictures wait in" in output
    assert_complete(client, newest_run(client).info.run_id)


@pytest.mark.slow
def test_a_step_that_ends_without_the_server_is_finished_by_a_resume(
    server: Server, tiny_packed: PackedSet, tmp_path: Path, monkeypatch
):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.uri)
    client = MlflowClient(server.uri)
    process = start_phase1(server, tiny_packed, tmp_path, retries=1)
    wait_until(lambda: has_begun(client, process))
    run_id = newest_run(client).info.run_id
    server.stop()
    output, _ = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 1, output
    assert f"run the step again with resume={run_id}" in output and "Traceback" not in output
    assert 0 < waiting(tmp_path) < EPOCHS

    server.start()
    resumed = start_phase1(server, tiny_packed, tmp_path, retries=7, resume=run_id)
    output, _ = resumed.communicate(timeout=PATIENCE_S)
    assert resumed.returncode == 0, output
    assert_complete(client, run_id)
    assert not (tmp_path / "checkpoints" / run_id).exists()
