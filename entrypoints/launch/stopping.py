"""How an entry point is stopped: by Ctrl-C, SIGTERM or SIGUSR1, or because the `mlflow run` that started it is gone.

Its run then ends as KILLED. `mlflow run` (3.17.2) alone would leave it RUNNING where the signal came before the run had begun
or ended `mlflow run`, too; write FAILED over KILLED where it lives to see the end; and let the entry point work on where
the signal reached `mlflow run` only. MLproject names the launcher, `mlflow run`, in HANDS_LAUNCHER.
"""

import os
import select
import signal
import subprocess
import sys
import threading

from entrypoints.launch.places import start_from
from hands.processes.signals import STOP_SIGNALS

STOPPED = 130  # exit code
LAUNCHED = "HANDS_LAUNCHED_RUN"  # as hands.tracking.experiments reads it


class Terminated(KeyboardInterrupt):
    """One of STOP_SIGNALS arrived; the run ends as KILLED."""


def terminate_on_signals() -> None:
    """From now on the first of STOP_SIGNALS raises Terminated; further ones change nothing."""
    for number in STOP_SIGNALS:
        signal.signal(number, _terminate)


def _terminate(number: int, frame) -> None:
    _ignore_signals()  # they must not disturb the ending of the run
    raise Terminated(signal.Signals(number).name)


def _ignore_signals() -> None:
    for number in STOP_SIGNALS:
        signal.signal(number, signal.SIG_IGN)


class Launcher:
    """The process that started this one, and the run that it has made for it."""

    def __init__(self, pid: int):
        self.process = os.pidfd_open(pid)  # readable once it has ended
        self.environment = dict(os.environ)  # the entry point may change its own

    def stop_with_it(self) -> None:
        """SIGTERM to this process when the launcher ends."""
        select.select([self.process], [], [])
        signal.pthread_kill(threading.main_thread().ident, signal.SIGTERM)

    @property
    def run_id(self) -> str:
        """Empty where it has made none."""
        return self.environment.get("MLFLOW_RUN_ID", "")

    def let_it_end(self, stopped: bool) -> None:
        """Leaves a process behind that looks after the launcher's run (afterwards.py) once the launcher has ended it.

        Of a run that was stopped returns when that process is ready: what kills this one may soon kill more.
        """
        _ignore_signals()  # which it inherits
        how = "stopped" if stopped else "moved"
        words = [sys.executable, "-m", "entrypoints.launch.afterwards", self.run_id, str(self.process), how]
        left = subprocess.Popen(
            words, env=self.environment, pass_fds=[self.process], stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE if stopped else subprocess.DEVNULL, stderr=None if stopped else subprocess.DEVNULL,
        )  # fmt: skip
        if stopped:
            left.stdout.readline()


_launcher: Launcher | None = None


def watch_launcher() -> None:
    """To be called before anything slow is imported: looks after signals and the launcher from here on, if there is one."""
    global _launcher
    pid = os.environ.pop("HANDS_LAUNCHER", "")  # what this process starts has not been launched
    if not pid:
        return
    start_from(int(pid))
    _launcher = Launcher(int(pid))
    os.environ[LAUNCHED] = _launcher.run_id
    for number in STOP_SIGNALS:
        signal.signal(number, _stop_at_once)
    threading.Thread(target=_launcher.stop_with_it, daemon=True).start()


def _stop_at_once(number: int, frame) -> None:
    """Before the entry point has begun: an exception would be lost among imports."""
    print(f"stopped by {signal.Signals(number).name}", file=sys.stderr, flush=True)
    end_as_killed()
    os._exit(STOPPED)


def end_as_killed() -> None:
    """The last thing that a stopped entry point does: sees to it that `mlflow run` leaves the run KILLED."""
    if _launcher is not None:
        _launcher.let_it_end(stopped=True)


def forget_pointer(run_id: str) -> None:
    """Sees to it that the run that `mlflow run` has made goes, where the one that was begun, with this id, took its place."""
    if _launcher is not None and _launcher.run_id not in ("", run_id):
        _launcher.let_it_end(stopped=False)
