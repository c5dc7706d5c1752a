"""What a raw data set holds, as one digest: the same for the same bytes, whatever their place and times. Free of torch."""

import hashlib
import os
import struct
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from hands.errors import InvalidInput
from hands.files.cache import cache_folder
from hands.files.lmdb_files import environment
from hands.files.lmdb_pages import leaf_pages
from hands.processes.progress import Progress
from hands.raw.names import LIST_COMPLETE, LISTS, MASK_IDS, UNPAIRED_IDS
from hands.raw.pictures import IMAGES, LABELS

SAMPLE, BLOCK = 256, 1 << 16  # places of a store that are read whatever lies there, and bytes at each
WORTH_REMEMBERING = 64 << 20  # bytes; smaller files are read faster than one can look


def content_digest(folder: str | Path) -> str:
    """32 hex characters that change with every byte of the lists and of small records (below about 2,000 bytes, as most masks
    are), with each key, and, of larger records, with their lengths, with a sample, and with each transaction that wrote.

    So that a picture written over is noticed; one of a store that was made anew only where it has another length (it nearly
    always has, being compressed) or is in the sample. Digests of large files are remembered by the files' times.

    Raises:
        InvalidInput: an LMDB is missing or damaged.
    """
    whole = hashlib.sha256()
    for name in (LIST_COMPLETE, *LISTS.values(), *MASK_IDS.values(), UNPAIRED_IDS):
        file = Path(folder, name)
        whole.update(f"{name} {_remembered(file, _of_file) if file.exists() else 'missing'}\n".encode())
    for name in (IMAGES, LABELS):
        whole.update(f"{name} {_remembered(Path(folder, name, 'data.mdb'), _of_store)}\n".encode())
    return whole.hexdigest()[:32]


def raw_digest(folder: str | Path, channel_order: str) -> str:
    """32 hex characters of what a data set holds and how its pictures are read; raises as content_digest."""
    return hashlib.sha256(f"{channel_order} {content_digest(folder)}".encode()).hexdigest()[:32]


def _of_file(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def _of_store(file: Path) -> str:
    handle = environment(file.parent)
    pages = handle.stat()
    whole = hashlib.sha256(f"{pages} {handle.info()['last_txnid']}".encode())
    try:
        with Progress(f"looking at {file.parent.name}", pages["leaf_pages"], "pages") as progress:
            for page in leaf_pages(file):
                whole.update(page)
                progress.update(1)
        with file.open("rb") as content:
            for place in range(0, file.stat().st_size, max(BLOCK, file.stat().st_size // SAMPLE)):
                content.seek(place)
                whole.update(content.read(BLOCK))
    except (ValueError, struct.error) as error:
        raise InvalidInput(f"{file} is damaged ({error}); copy or make it again.") from error
    return whole.hexdigest()


def _remembered(file: Path, digest: Callable[[Path], str]) -> str:
    """digest(file), or what it was when the file had the same place on disk, size and time."""
    try:
        status = file.stat()
    except OSError:
        return digest(file)
    if status.st_size < WORTH_REMEMBERING:
        return digest(file)
    state = f"{digest.__name__} {status.st_dev} {status.st_ino} {status.st_size} {status.st_mtime_ns}"
    memory = cache_folder("digests") / hashlib.sha256(state.encode()).hexdigest()[:32]
    with suppress(OSError):
        return memory.read_text()
    found = digest(file)
    with suppress(OSError):  # a cache that cannot be written costs time alone
        memory.parent.mkdir(parents=True, exist_ok=True)
        partial = memory.with_name(f".{memory.name}.{os.getpid()}")
        partial.write_text(found)
        partial.rename(memory)
    return found
