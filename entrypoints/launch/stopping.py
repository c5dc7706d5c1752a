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
from entrypoints.launch.typed import launcher_command, own_command, resuming, shown
from hands.processes.origin import LAUNCHED, by_itself
from hands.processes.signals import STOP_SIGNALS
from hands.training.claim import Interrupted, has_checkpoint

STOPPED = 130  # exit code


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
        self.command = launcher_command(pid)

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
    print(f"stopped by {signal.Signals(number).name} before anything was begun", file=sys.stderr, flush=True)
    end_as_killed()
    os._exit(STOPPED)


def end_as_killed() -> None:
    """The last thing that a stopped entry point does: sees to it that `mlflow run` leaves the run KILLED."""
    if _launcher is not None:
        _launcher.let_it_end(stopped=True)


def forget_pointers(run_ids: set[str]) -> None:
    """Sees to it that the run that `mlflow run` has made goes, where it is one of these, whose place another took."""
    if _launcher is not None and _launcher.run_id in run_ids:
        _launcher.let_it_end(stopped=False)


def tell_how_to_go_on(interrupt: KeyboardInterrupt, goes_on: bool) -> None:
    """Says, on stderr, what stopped an entry point and which command goes on; nothing where a pipeline does.

    Args:
        goes_on: whether the same command goes on where it was.
    """
    if not by_itself():
        return
    print(f"stopped: {interrupt}", file=sys.stderr)
    sentence = how_to_go_on(interrupt, goes_on, own_command() if _launcher is None else _launcher.command)
    if sentence:
        print(sentence, file=sys.stderr, flush=True)


def how_to_go_on(interrupt: KeyboardInterrupt, goes_on: bool, command: list[str]) -> str:
    """One sentence; empty in a process of a training step that another one tells of.

    Args:
        command: that the user has typed; empty where it is not known.
    """
    if goes_on:
        return "the same command goes on where it was" + (f": {shown(command)}" if command else "")
    if isinstance(interrupt, Interrupted):
        if interrupt.folder is None:
            return ""
        if has_checkpoint(interrupt.folder):
            run_id = interrupt.folder.name
            return f"to go on where it was: {shown(resuming(command, run_id)) if command else f'start it with resume={run_id}'}"
    return "nothing was kept; the same command starts anew"
