"""Folders that appear whole or not at all."""

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hands.errors import InvalidInput
from hands.processes.locks import hold

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_WAIT_S = 10  # for a writer that was told to stop


@contextmanager
def whole_folder(destination: str | Path) -> Iterator[Path]:
    """A new folder to write into, renamed to `destination` once the block ends without an error.

    Everything is flushed to disk before the rename, so a writer that dies at any moment leaves either nothing at
    `destination` or all of it. What a killed writer leaves is a sibling named `.<name>.partial`, which no reader
    takes for a data set and which the next writer of the same destination removes.

    Raises:
        InvalidInput: `destination` exists and is not an empty folder, or cannot be created; another process is
            writing it; the disk is full.
    """
    destination = Path(destination)
    refuse_occupied(destination)
    staging = destination.parent / f".{destination.name}.partial"
    taken = f"Another process is writing {destination}; wait for it or give another folder."
    try:
        lock = hold(staging / "lock", taken, _WAIT_S)
    except OSError as error:
        raise InvalidInput(f"{destination} cannot be created ({error.strerror}); give a folder you may write.") from error
    with lock:
        try:
            partial = _emptied(staging / "content")
            yield partial
            flush_to_disk(partial)
            refuse_occupied(destination)
            os.rename(partial, destination)
            flush(destination.parent)
        except OSError as error:
            if error.errno not in FULL:
                raise
            raise InvalidInput(f"{destination} cannot be written ({error.strerror}); make room and try again.") from error
        finally:
            shutil.rmtree(staging, ignore_errors=True)


def _emptied(folder: Path) -> Path:
    """A new folder in the place of what a killed writer left."""
    if folder.exists():
        shutil.rmtree(folder)
    folder.mkdir()
    return folder


def flush_to_disk(folder: Path) -> None:
    """fsync every file and folder below `folder`, and `folder` itself."""
    for parent, _, names in os.walk(folder):
        for name in names:
            flush(Path(parent, name))
        flush(Path(parent))


def flush(path: Path) -> None:
    """fsync one file or folder."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def refuse_occupied(destination: str | Path) -> None:
    """Raise InvalidInput unless nothing, or an empty folder, is at `destination`."""
    destination = Path(destination)
    if destination.is_symlink() or (destination.exists() and not destination.is_dir()):
        raise InvalidInput(f"{destination} is a file or a link, not a folder; give a new folder.")
    if destination.is_dir() and any(destination.iterdir()):
        raise InvalidInput(f"{destination} already holds files; give a new folder, or remove it first.")


def require_writable(folder: str | Path, name: str) -> None:
    """Raise InvalidInput unless `folder` can be written, or made where nothing is yet; name: the parameter that names it."""
    place = next(place for place in (Path(folder), *Path(folder).parents) if place.exists())
    if not place.is_dir():
        raise InvalidInput(f"{name} is {folder}, and {place} is a file; give a folder.")
    if not os.access(place, os.W_OK | os.X_OK):
        raise InvalidInput(f"{name} is {folder}, and {place} cannot be written; give a folder you may write.")
