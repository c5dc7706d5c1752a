"""Checkpoints of a training step in progress: killed at any moment, it goes on where it was.

A checkpoint is one file of tensors, numbers and texts, `last.pt`, written to a temporary file beside it, flushed to the
disk and renamed: at every moment the folder holds a whole checkpoint, the previous one until the new one is there.
"""

import os
import shutil
import signal
import time
import warnings
from contextlib import suppress
from pathlib import Path

import torch

from hands.errors import InvalidInput
from hands.files.torch_files import check_state
from hands.processes.folders import flush
from hands.processes.signals import STOP_SIGNALS
from hands.training.claim import FILE, claim

FORMAT = 1


class TrainingCheckpoint:
    """The checkpoint of one training run.

    Args:
        folder: where last.pt lies; created with the first checkpoint. None keeps none.
        minutes: time between checkpoints within an epoch.
        fingerprint: what a run must have in common with the one that it continues (parameters and data).
    """

    def __init__(self, folder: Path | None, minutes: float, fingerprint: str):
        self.folder = folder
        self.minutes = minutes
        self.fingerprint = fingerprint
        self.outdated = False  # whether the last one could not be written
        self._written = time.monotonic()
        self._untrained = False
        self._lock = None

    def claim(self) -> None:
        """Makes this process the one that trains the run, to its end. Before that nothing of the run may be touched.

        Raises:
            InvalidInput: another process is training it, or the folder cannot be written.
        """
        self._lock = claim(self.folder)

    def release(self) -> None:
        """Others may train the run."""
        if self._lock is not None:
            self._lock.close()

    def begin(self) -> None:
        """From here on the run can be resumed: a first checkpoint says that nothing is trained yet.

        Raises:
            InvalidInput: it cannot be written.
        """
        try:
            self._write({})
        except (OSError, RuntimeError) as error:
            place = self.folder.parent
            raise InvalidInput(f"checkpoint_dir {place} takes no checkpoint ({error}); make room, or give another.") from error
        self._untrained = True

    def due(self) -> bool:
        return self.folder is not None and time.monotonic() - self._written >= 60 * self.minutes

    def save(self, state: dict) -> None:
        """Writes a checkpoint. One that cannot be written (a full disk, say) leaves the previous one and is warned about."""
        if self.folder is None:
            return
        self._written = time.monotonic()
        self._untrained = False
        try:
            self._write(state)
            self.outdated = False
        except (OSError, RuntimeError) as error:  # torch reports a full disk as RuntimeError
            self.outdated = True
            warnings.warn(
                f"the checkpoint {self.folder / FILE} cannot be written ({error}); the previous one stays, training goes on",
                stacklevel=2,
            )

    def _write(self, state: dict) -> None:
        partial = self.folder / f".{FILE}.partial"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with partial.open("wb") as file:
                torch.save({"format": FORMAT, "fingerprint": self.fingerprint, **state}, file)
                file.flush()
                os.fsync(file.fileno())
            os.replace(partial, self.folder / FILE)
            flush(self.folder)
        except (OSError, RuntimeError):
            with suppress(OSError):
                partial.unlink()
            raise

    def load(self) -> dict | None:
        """The last checkpoint's state; None where nothing is trained yet.

        Raises:
            InvalidInput: the file is damaged, or of a run with other parameters or data.
        """
        path = None if self.folder is None else self.folder / FILE
        if path is None or not path.exists():
            return None
        try:
            check_state(path)
            state = torch.load(path, map_location="cpu", weights_only=True)
        except Exception as error:  # the unpickler raises whatever a damaged stream leads it to
            reason = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
            raise InvalidInput(
                f"the checkpoint {path} cannot be read ({reason}); delete it to start the step anew."
            ) from error
        if not isinstance(state, dict) or state.get("format") != FORMAT:
            raise InvalidInput(f"{path} is no checkpoint of format {FORMAT}; delete it to start the step anew.")
        if state.get("fingerprint") != self.fingerprint:
            raise InvalidInput(
                f"the checkpoint {path} is of a run with other parameters or data; resume with the same ones, or start anew."
            )
        return state if "step" in state else None

    def remove_if_untrained(self) -> None:
        """A run that failed before its first step is none to go on with."""
        if self._untrained:
            self.remove()

    def remove(self) -> None:
        """The step is finished: its result is a logged model."""
        if self.folder is not None:
            shutil.rmtree(self.folder, ignore_errors=True)


class Stopped(KeyboardInterrupt):
    """A signal asked for the end, and the checkpoint was written."""


class StopSignals:
    """Notes SIGTERM, SIGINT and SIGUSR1 instead of breaking off in the middle of a step; inactive, it changes nothing.

    Once one was noted, further ones are ignored to the end of the process: they must not disturb the ending of its run.
    """

    def __init__(self, active: bool):
        self.active = active
        self.received = None
        self._before = {}

    def __enter__(self) -> "StopSignals":
        if self.active:
            self._before = {number: signal.signal(number, self._note) for number in STOP_SIGNALS}
        return self

    def __exit__(self, kind, error, trace) -> None:
        for number, handler in self._before.items():
            signal.signal(number, signal.SIG_IGN if self.received else handler)

    def _note(self, number: int, frame) -> None:
        self.received = self.received or signal.Signals(number).name

    def stop(self) -> None:
        """Raises Stopped, for a signal to this process or to another that trains with it."""
        self.received = self.received or "a signal to another process"
        raise Stopped(f"{self.received} received; the checkpoint holds the last finished step")
