"""Servers that tests start: a process group on a free port, ready when it answers."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

from tests.project import wait_until


def free_port() -> int:
    """Of this machine's loopback address; nothing keeps another process from taking it."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


class Server:
    """Started by `words` in a folder, where its log lies; it is ready when http://127.0.0.1:<port>/<health> answers."""

    def __init__(self, words: list[str], folder: Path, variables: dict[str, str], port: int, health: str):
        self.words, self.folder, self.variables, self.health, self.port = words, folder, variables, health, port
        self.uri = f"http://127.0.0.1:{port}"
        self.process: subprocess.Popen | None = None

    def start(self) -> None:
        with (self.folder / "log").open("a") as log:
            self.process = subprocess.Popen(
                self.words, cwd=self.folder, env=self.variables, stdout=log, stderr=log, start_new_session=True
            )
        wait_until(self.answers, self.process, (self.folder / "log").read_text)

    def answers(self) -> bool:
        with contextlib.suppress(OSError), urllib.request.urlopen(f"{self.uri}/{self.health}", timeout=1):
            return True
        return False

    def stop(self) -> None:
        """At once, as a machine that goes down."""
        if self.process is not None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            self.process = None


class TrackingServer(Server):
    """`mlflow server` on a database and a folder that outlive it; template: a database with MLflow's tables."""

    def __init__(self, folder: Path, template: Path):
        shutil.copy(template, folder / "mlflow.db")
        port = free_port()
        store = ["--backend-store-uri", f"sqlite:///{folder}/mlflow.db", "--artifacts-destination", str(folder)]
        words = [sys.executable, "-m", "mlflow", "server", "--workers", "1", "--port", str(port), *store]
        variables = os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}  # four processes that nothing here needs
        super().__init__(words, folder, variables, port, "health")
