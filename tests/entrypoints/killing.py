"""Processes of entry points that are killed at chosen moments, and what must come out the same all the same."""

import contextlib
import hashlib
import os
import signal
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import mlflow
import torch
from mlflow import MlflowClient
from mlflow.entities import LoggedModel, Run

from hands.tracking import PROCESS_TAG, ROOT
from tests.project import environment, wait_until

TIMED = ("train/images_per_s", "system/")  # metrics that no two runs share
NOTHING = "no checkpoint"
PATIENCE_S = 300


@dataclass(frozen=True)
class Kill:
    """What ended a process, when (seconds after its run began), and where its checkpoint stood then."""

    how: str
    after_s: float
    where: str


class Process:
    """An entry point at work, in a process group of its own."""

    started: list["Process"] = []

    def __init__(self, words: list[str], variables: dict[str, str], log: Path):
        self.log = log
        with log.open("a") as file:
            self.popen = subprocess.Popen(
                words, cwd=ROOT, env=variables, stdout=file, stderr=subprocess.STDOUT, process_group=0
            )
        self.started.append(self)

    def wait_until(self, met: Callable[[], bool]) -> bool:
        """Whether the condition was met before the process ended."""
        wait_until(lambda: met() or self.popen.poll() is not None, explain=self.log.read_text, seconds=PATIENCE_S)
        return met()

    def finish(self) -> None:
        code = self.popen.wait(PATIENCE_S)
        assert code == 0, f"exit code {code}:\n{self.log.read_text()[-4000:]}"

    def end(self, number: signal.Signals, whole_group: bool) -> bool:
        """Sends a signal, which must end the process, in order if it can be handled; False where that was done already."""
        (os.killpg if whole_group else os.kill)(self.popen.pid, number)
        code = self.popen.wait(PATIENCE_S)
        expected = -number if number == signal.SIGKILL else 130
        assert code in (0, expected), f"exit code {code} after {number.name}:\n{self.log.read_text()[-4000:]}"
        return code == expected

    def kill_group(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.popen.pid, signal.SIGKILL)
        self.popen.wait()


class Store:
    """An experiment of a tracking store, read while others write it."""

    def __init__(self, uri: str, experiment: str):
        self.uri, self.name = uri, experiment
        self.client = MlflowClient(uri)
        found = self.client.get_experiment_by_name(experiment)
        self.experiment = found.experiment_id if found else self.client.create_experiment(experiment)

    def variables(self) -> dict[str, str]:
        """The environment of a process that tracks to it."""
        return environment(self.uri, MLFLOW_EXPERIMENT_NAME=self.name)

    def runs(self, name: str = "") -> list[Run]:
        """All, or those of this name, newest first."""
        wanted = f"attributes.run_name = '{name}'" if name else ""
        return self.client.search_runs([self.experiment], wanted, order_by=["attributes.start_time DESC"])

    def processes(self, name: str = "") -> set[str]:
        """Processes that are or were the last to work on one of these runs."""
        return {run.data.tags[PROCESS_TAG] for run in self.runs(name) if PROCESS_TAG in run.data.tags}

    def epochs(self, run_id: str) -> int:
        points = self.client.get_metric_history(run_id, "train/loss_total")
        return max((point.step for point in points), default=0)

    def results(self, run: Run) -> dict[str, object]:
        """What a run has come to, without what depends on the clock or on names: equal for equal work."""
        names = [name for name in run.data.metrics if not name.startswith(TIMED)]
        models = [self.client.get_logged_model(output.model_id) for output in run.outputs.model_outputs]
        return {
            "metrics": {name: self._history(run.info.run_id, name) for name in sorted(names)},
            "models": {model.name: self._contents(model) for model in models},
            "artifacts": sorted(_timeless(path) for path in self._artifacts(run.info.run_id, None)),
            "dataset": [used.dataset.digest for used in run.inputs.dataset_inputs],
        }

    def _history(self, run_id: str, name: str) -> list[tuple[int, float]]:
        return [(point.step, point.value) for point in self.client.get_metric_history(run_id, name)]

    def _contents(self, model: LoggedModel) -> dict[str, object]:
        """Of the metrics, those of finished runs: an evaluation that is killed may have logged its scores and is repeated."""
        (file,) = Path(mlflow.artifacts.download_artifacts(model.artifact_location)).rglob("weights.safetensors")
        points = [point for point in model.metrics or () if not point.key.startswith(TIMED)]
        states = {run_id: self.client.get_run(run_id).info.status for run_id in {point.run_id for point in points}}
        return {
            "weights": hashlib.sha256(file.read_bytes()).hexdigest(),
            "metrics": sorted(
                (point.key, point.step, point.value) for point in points if states[point.run_id] == "FINISHED"
            ),
            "status": str(model.status),
        }

    def _artifacts(self, run_id: str, folder: str | None) -> list[str]:
        found = []
        for item in self.client.list_artifacts(run_id, folder):
            found += self._artifacts(run_id, item.path) if item.is_dir else [item.path]
        return found


def _timeless(path: str) -> str:
    """MLflow names pictures key+step+5+timestamp+...+uuid.png."""
    parts = path.split("+")
    return "+".join([*parts[:3], Path(path).suffix]) if "+step+" in path else path


def position(folder: Path) -> str:
    """Where the checkpoint of a run stands."""
    file = folder / "last.pt"
    if not file.exists():
        return NOTHING
    state = torch.load(file, map_location="cpu", weights_only=True)
    return f"epoch {state['epoch']}, step {state['step']}" if "step" in state else "start"


def differences(one: object, other: object, where: str = "") -> list[str]:
    """Where two results differ, in words; equal NaNs do not."""
    if isinstance(one, dict) and isinstance(other, dict) and one.keys() == other.keys():
        return [found for key in one for found in differences(one[key], other[key], f"{where}/{key}")]
    return [] if repr(one) == repr(other) else [f"{where}: {one!r} instead of {other!r}"[:600]]
