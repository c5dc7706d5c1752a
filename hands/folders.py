"""Folders that appear whole or not at all."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hands.errors import InvalidInput


@contextmanager
def whole_folder(destination: str | Path) -> Iterator[Path]:
    """A new folder to write into, renamed to `destination` once the block ends without an error.

    Everything is flushed to disk before the rename, so a writer that dies at any moment leaves either nothing at
    `destination` or all of it. What a killed writer leaves is a sibling named `.<name>.partial-*`, which no reader
    takes for a data set.

    Raises:
        InvalidInput: `destination` exists and is not an empty folder, or cannot be created.
    """
    destination = Path(destination)
    refuse_occupied(destination)
    try:
        destination.parent.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(prefix=f".{destination.name}.partial-", dir=destination.parent))
    except OSError as error:
        raise InvalidInput(f"{destination} cannot be created ({error.strerror}); give a folder you may write.") from error
    try:
        yield partial
        partial.chmod(0o755)  # mkdtemp makes it private
        flush_to_disk(partial)
        refuse_occupied(destination)
        os.rename(partial, destination)
        flush(destination.parent)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise


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


def refuse_occupied(destination: Path) -> None:
    """Raise InvalidInput unless nothing, or an empty folder, is at `destination`."""
    if destination.is_symlink() or (destination.exists() and not destination.is_dir()):
        raise InvalidInput(f"{destination} is a file or a link, not a folder; give a new folder.")
    if destination.is_dir() and any(destination.iterdir()):
        raise InvalidInput(f"{destination} already holds files; give a new folder, or remove it first.")
