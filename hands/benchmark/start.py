"""Line 7: seconds from the command to the first training step, in an environment that exists."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

from hands.benchmark.measure import Row, compare
from hands.benchmark.setting import BenchSetting
from hands.errors import InvalidInput
from hands.processes.progress import Progress

ROOT = Path(__file__).resolve().parent.parent.parent
FIRST_STEP = re.compile(rb"training: 0 of ")  # hands.training.loop.fit says so before its first step
TIMEOUT_S = 300
IMPORTS = "import mlflow, torch"
MLFLOW = f"""
import runpy, sys
sys.path.append({str(ROOT)!r})
from hands.processes.parents import end_with_parent
end_with_parent(0)
runpy.run_module("mlflow", run_name="__main__", alter_sys=True)
"""  # `python -m mlflow`, which ends with this process


def start_rows(setting: BenchSetting) -> list[Row]:
    """`mlflow run -e phase1` against a Python that imports MLflow and torch and does nothing; once unmeasured, which makes
    the tracking store."""
    environment = own_environment(Path(setting.folder) / "start")
    command = phase1_command(setting)
    started, imported = [], []
    with Progress("7 start", setting.rounds + 1, "rounds") as progress:
        for number in range(setting.rounds + 1):
            seconds = seconds_to_first_step(command, environment, setting.folder), seconds_of_imports(environment)
            if number:
                started.append(seconds[0])
                imported.append(seconds[1])
            progress.update(1)
    on = f"mlflow run . -e phase1 --env-manager local, {setting.network} {setting.size}x{setting.size}"
    return [compare(7, "start of phase1", "s", started, f"python -c '{IMPORTS}'", imported, None, on, lower_is_better=True)]


def phase1_command(setting: BenchSetting) -> list[str]:
    values = {
        "packed_dir": setting.packed,
        "g1": setting.network,
        "encoder_weights": "none",
        "batch_size": setting.batch_size,
        "checkpoint_dir": str(Path(setting.folder) / "checkpoints"),
        "accelerator": setting.device.accelerator,
        "precision": setting.device.precision,
        "memory_format": setting.device.memory_format,
        "data_residency": setting.device.data_residency,
    }
    given = [word for name, value in values.items() for word in ("-P", f"{name}={value}")]
    return [sys.executable, "-c", MLFLOW, "run", str(ROOT), "-e", "phase1", "--env-manager", "local", *given]


def own_environment(folder: Path) -> dict[str, str]:
    """A tracking store of its own, and this Python first on the path; without the run that this process belongs to."""
    folder.mkdir(parents=True)
    kept = {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_")}
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return kept | {"PATH": path, "MLFLOW_TRACKING_URI": f"sqlite:///{folder}/mlflow.db"}


def seconds_to_first_step(command: list[str], environment: dict[str, str], folder: str) -> float:
    """Starts the command, waits for its first training step, and stops it.

    Raises:
        InvalidInput: it ended, or five minutes passed, before a step.
    """
    started = time.perf_counter()
    process = subprocess.Popen(
        command, env=environment, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True
    )
    output = b""
    try:
        os.set_blocking(process.stdout.fileno(), False)
        while not FIRST_STEP.search(output):
            output += process.stdout.read() or b""
            if process.poll() is not None or time.perf_counter() - started > TIMEOUT_S:
                said = output.decode(errors="replace")[-2000:]
                raise InvalidInput(f"the measured command took no training step ({' '.join(command)}); it said: {said}")
            time.sleep(0.01)
        return time.perf_counter() - started
    finally:
        _end(process)


def _end(process: subprocess.Popen) -> None:
    """Ends the command with all that it started."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, number)
            process.communicate(timeout=30)
        except ProcessLookupError:
            break
        except subprocess.TimeoutExpired:
            continue
    process.wait()


def seconds_of_imports(environment: dict[str, str]) -> float:
    started = time.perf_counter()
    subprocess.run([sys.executable, "-c", IMPORTS], env=environment, check=True)
    return time.perf_counter() - started
