"""A tracking server that is stopped and started while a step trains: every epoch arrives, in order and once."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import mlflow
import pytest
from mlflow import MlflowClient
from mlflow.entities import Metric
from PIL import Image

from hands.packed.packed_set import PackedSet
from hands.tracking.outbox import Outbox
from tests.project import EXPERIMENT, arguments, command, environment, newest_run, wait_until

EPOCHS = 12
PATIENCE_S = 240


class Server:
    """`mlflow server` on a database and folder that outlive it."""

    def __init__(self, folder: Path, template: Path):
        self.folder = folder
        shutil.copy(template, folder / "mlflow.db")
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.uri = f"http://127.0.0.1:{self.port}"
        self.process = None

    def start(self) -> None:
        store = ["--backend-store-uri", f"sqlite:///{self.folder}/mlflow.db", "--artifacts-destination", str(self.folder)]
        with open(self.folder / "log", "a") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "mlflow", "server", "--workers", "1", "--port", str(self.port), *store],
                env=os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},  # four processes that nothing here needs
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        wait_until(self.answers, self.process, (self.folder / "log").read_text)

    def answers(self) -> bool:
        with contextlib.suppress(OSError), urllib.request.urlopen(f"{self.uri}/health", timeout=1):
            return True
        return False

    def stop(self) -> None:
        if self.process is not None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            self.process = None


@pytest.fixture
def server(tmp_path: Path, store_template: Path):
    (tmp_path / "server").mkdir()
    server = Server(tmp_path / "server", store_template)
    server.start()
    yield server
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


def pictures_logged(client: MlflowClient, run_id: str) -> list[int]:
    names = [item.path for item in client.list_artifacts(run_id, "images")]
    return sorted(int(name.split("+")[2]) for name in names if name.endswith(".png"))


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
    assert pictures_logged(client, run_id) == everything
    run = client.get_run(run_id)
    assert run.info.status == "FINISHED"
    assert mlflow.get_logged_model(run.data.tags["hands.output.g1_model"].removeprefix("models:/")).status == "READY"


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


def test_what_was_sent_before_a_crash_is_not_there_twice(store, tmp_path: Path):
    """The server has the entries, the step died before it deleted them."""
    with mlflow.start_run() as active:
        run_id = active.info.run_id
        for _ in range(2):
            outbox = Outbox(tmp_path, run_id)
            outbox.add_metrics(3, [Metric("val/miou", 0.5, 1000, 3), Metric("train/loss_ce", 1.25, 1000, 3)])
            outbox.add_picture(3, "val_frames", Image.new("RGB", (4, 4)))
            assert outbox.last_epoch() == 3
            outbox.send()
            assert outbox.last_epoch() == 0 and not list(tmp_path.iterdir())
    assert [(point.step, point.value) for point in store.get_metric_history(run_id, "val/miou")] == [(3, 0.5)]
    assert pictures_logged(store, run_id) == [3]


def test_a_picture_that_has_arrived_in_part_is_sent_whole_under_its_name(store, tmp_path: Path):
    """The connection broke within the picture, before its thumbnail and the tag by which the UI finds pictures."""
    with mlflow.start_run() as active:
        run_id = active.info.run_id
        store.log_image(run_id, Image.new("RGB", (4, 4)), key="val_frames", step=3)
        store.delete_tag(run_id, "mlflow.loggedImages")
        arrived = Path(mlflow.artifacts.download_artifacts(f"{active.info.artifact_uri}/images"))
        (picture,), (thumbnail,) = arrived.glob("*.png"), arrived.glob("*.webp")
        picture.write_bytes(picture.read_bytes()[:20])
        thumbnail.unlink()
        outbox = Outbox(tmp_path / "outbox", run_id)
        outbox.add_picture(3, "val_frames", Image.new("RGB", (4, 4), "red"))
        outbox.send()
    assert sorted(arrived.iterdir()) == sorted([picture, thumbnail])
    assert Image.open(picture).getpixel((0, 0)) == (255, 0, 0) and Image.open(thumbnail).format == "WEBP"
    assert store.get_run(run_id).data.tags["mlflow.loggedImages"] == "True"
