"""Which process trains a run: the one that holds the lock beside the run's checkpoint. Free of torch."""

import time
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import IO

from hands.errors import InvalidInput
from hands.processes.locks import hold

FILE, LOCK = "last.pt", ".lock"
CLAIM_S = 30  # for a predecessor that is about to end


class Interrupted(KeyboardInterrupt):
    """A training step was told to stop. folder: of its checkpoint; None in a process of it that keeps none."""

    def __init__(self, reason: str, folder: Path | None):
        super().__init__(reason)
        self.folder = folder


def claim(folder: Path) -> IO:
    """Makes this process the one that trains the run of `folder`, until the returned file is closed or the process ends.

    Raises:
        InvalidInput: another process is training it, or the folder cannot be written.
    """
    taken = f"another process is training the run of {folder}; wait for it, or stop it first."
    try:
        return hold(folder / LOCK, taken, CLAIM_S)
    except OSError as error:
        raise InvalidInput(
            f"checkpoint_dir {folder.parent} cannot be written ({error.strerror}); give a folder that can be, with room in it."
        ) from error


def has_checkpoint(folder: Path) -> bool:
    return (folder / FILE).exists()


def first_free(folders: Iterable[Path]) -> Path | None:
    """The first of these folders with a checkpoint that no living process trains; None where there is none.

    A process that is about to end is waited for: CLAIM_S seconds for all of them together.
    """
    deadline = time.monotonic() + CLAIM_S
    for folder in filter(has_checkpoint, folders):
        try:
            hold(folder / LOCK, "another process is training it", max(0.0, deadline - time.monotonic())).close()
        except (InvalidInput, OSError) as error:
            warnings.warn(f"the run of {folder} is left alone: {error}", stacklevel=2)
            continue
        if has_checkpoint(folder):  # else it was finished meanwhile
            return folder
    return None
