"""Runs entry points as MLproject does, against a tracking store of their own."""

import importlib
import itertools
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import click
import mlflow
import psutil
import pytest
import torch
import yaml
from click.testing import CliRunner, Result
from mlflow import MlflowClient
from mlflow.entities import Run

from hands.networks.discriminator import Discriminator
from hands.networks.hands_network import HandsNetwork, network_spec
from hands.processes.signals import STOP_SIGNALS
from hands.tracking import ROOT
from hands.tracking.models import log_network

EXPERIMENT = "tests"
ENTRY_POINTS = yaml.safe_load((ROOT / "MLproject").read_text())["entry_points"]
PIPELINE_STEPS = [
    "synthesize", "prepare", "phase1", "round 1 init", "round 1 paired", "round 2 init", "round 2 paired",
    "evaluate test", "predict test",
]  # fmt: skip
TINY_RECIPE = {
    "level": 1, "width": 64, "height": 96, "size": 64, "n_paired": 16, "n_unpaired_images": 16, "n_unpaired_masks": 4,
    "n_val": 6, "n_test": 6, "paired_subjects": 1, "unpaired_subjects": 2, "eval_subjects": 1, "workers": 1,
    "batch_size": 8, "eval_every": 1, "encoder_weights": "none", "phase1_epochs": 2, "round1_init_epochs": 1,
    "round1_paired_epochs": 1, "round2_init_epochs": 1, "round2_paired_epochs": 1,
}  # fmt: skip


def new_store(folder: Path, template: Path) -> str:
    """A tracking URI whose database and artifacts lie in `folder`; template: a database with MLflow's tables."""
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(template, folder / "mlflow.db")
    uri = f"sqlite:///{folder}/mlflow.db"
    MlflowClient(uri).create_experiment(EXPERIMENT, artifact_location=str(folder / "artifacts"))
    return uri


def arguments(entry_point: str, **overrides: object) -> list[str]:
    """An entry point's arguments: MLproject's defaults and these values."""
    values = {name: field.get("default", "") for name, field in ENTRY_POINTS[entry_point]["parameters"].items()}
    assert set(overrides) <= set(values)
    return [f"--{name}={value}" for name, value in (values | overrides).items()]


@contextmanager
def handlers_kept() -> Iterator[None]:
    """What is done with STOP_SIGNALS afterwards is what was done before."""
    handlers = {number: signal.getsignal(number) for number in STOP_SIGNALS}
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


def invoke(entry_point: str, **overrides: object) -> Result:
    """Runs an entry point in this process, as its command line does."""
    with handlers_kept():
        return CliRunner().invoke(command_of(entry_point), arguments(entry_point, **overrides))


def command_of(entry_point: str) -> click.Command:
    """What MLproject calls."""
    module = re.match(r"HANDS_LAUNCHER=\$PPID python -m (entrypoints\.\w+) ", ENTRY_POINTS[entry_point]["command"])[1]
    return importlib.import_module(module).main


def newest_run(client: MlflowClient) -> Run:
    experiment = client.get_experiment_by_name(EXPERIMENT).experiment_id
    return client.search_runs([experiment], order_by=["attributes.start_time DESC"], max_results=1)[0]


def artifact_paths(client: MlflowClient, run: Run, folder: str | None = None) -> set[str]:
    return {item.path for item in client.list_artifacts(run.info.run_id, folder)}


def pictures_logged(client: MlflowClient, run_id: str) -> list[int]:
    """Epochs of the pictures of validation frames; 0 is of the network that training starts from."""
    names = [item.path for item in client.list_artifacts(run_id, "images")]
    return sorted(int(name.split("+")[2]) for name in names if name.endswith(".png"))


def command(module: str, *arguments: str) -> list[str]:
    return [sys.executable, "-m", f"entrypoints.{module}", *arguments]


def mlflow_run(entry_point: str, *arguments: str, **overrides: object) -> list[str]:
    """`mlflow run . -e entry_point` with these parameters, in this Python."""
    given = [word for name, value in overrides.items() for word in ("-P", f"{name}={value}")]
    return [sys.executable, "-m", "mlflow", "run", str(ROOT), "-e", entry_point, "--env-manager", "local", *arguments, *given]


def environment(uri: str, **more: str) -> dict[str, str]:
    """The environment for a subprocess that tracks to `uri`."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return os.environ | {"MLFLOW_TRACKING_URI": uri, "MLFLOW_EXPERIMENT_NAME": EXPERIMENT, "PATH": path} | more


def wait_until(
    met: Callable[[], bool], process: subprocess.Popen | None = None, explain: Callable[[], str] = str, seconds: float = 300
) -> None:
    """Waits for a condition, which must be met while the process lives; explain: what to say where it is not."""
    deadline = time.monotonic() + seconds
    while not met():
        assert process is None or process.poll() is None, f"the process has ended: {explain()}"
        assert time.monotonic() < deadline, f"nothing happened for {seconds} s: {explain()}"
        time.sleep(0.1)


def forked(function: Callable[[], object]) -> int:
    """The exit code of a copy of this process that calls it and ends: 0, or 1 where it raised."""
    child = os.fork()
    if child == 0:
        try:
            torch.set_num_threads(1)  # the parent's threads are not here
            function()
            os._exit(0)
        finally:
            os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def living(session: int) -> list[psutil.Process]:
    """Processes of a session that still run."""

    def belongs(process: psutil.Process) -> bool:
        try:
            return os.getsid(process.pid) == session and process.status() != psutil.STATUS_ZOMBIE
        except (psutil.Error, ProcessLookupError):
            return False

    return [process for process in psutil.process_iter() if belongs(process)]


def track_to(uri: str, patch: pytest.MonkeyPatch) -> None:
    """What this process logs goes to `uri`, as long as the patch holds."""
    patch.setenv("MLFLOW_TRACKING_URI", uri)
    patch.setenv("MLFLOW_EXPERIMENT_NAME", EXPERIMENT)


def log_toys(size: int) -> SimpleNamespace:
    """Logs a small network and a discriminator with random weights: g2, d, g2_uri, d_uri."""
    torch.manual_seed(0)
    g2, d = HandsNetwork(network_spec("light"), None).eval(), Discriminator().eval()
    with mlflow.start_run(run_name="toys"):
        return SimpleNamespace(g2=g2, d=d, g2_uri=log_toy(g2, "g2", size), d_uri=log_toy(d, "discriminator", size))


def log_toy(network: torch.nn.Module, name: str, size: int) -> str:
    """Logs a network in the active run; returns its URI."""
    model = mlflow.initialize_logged_model(name=name, source_run_id=mlflow.active_run().info.run_id, model_type="pyfunc")
    return log_network(network, name, size, model.model_id)


class Clock:
    """In the time module's place: a second passes with each look at it, and where a test says so."""

    def __init__(self):
        self._seconds = itertools.count()

    def perf_counter(self) -> int:
        return next(self._seconds)

    def pass_second(self) -> None:
        next(self._seconds)
