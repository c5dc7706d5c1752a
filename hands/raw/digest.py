"""What a raw data set holds, as one digest: the same for the same bytes, whatever their place and times. Free of torch."""

import hashlib
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import lmdb
from tqdm import tqdm

from hands.errors import InvalidInput
from hands.files.cache import cache_folder
from hands.files.lmdb_files import environment
from hands.raw.names import LIST_COMPLETE, LISTS, MASK_IDS, UNPAIRED_IDS
from hands.raw.pictures import IMAGES, LABELS

SAMPLE = 256  # records of a store that are read whole
WORTH_REMEMBERING = 64 << 20  # bytes; smaller files are read faster than one can look


def content_digest(folder: str | Path) -> str:
    """32 hex characters that change with every list, with each picture's or mask's key and number of bytes, with the bytes of
    a sample of them, and with each LMDB transaction that wrote.

    So that a record written over is noticed; one of a store that was made anew only where it has another length (it nearly
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
    count = handle.stat()["entries"]
    whole = hashlib.sha256(f"{count} {handle.info()['last_txnid']}".encode())
    between = max(1, count // SAMPLE)
    try:
        with handle.begin(buffers=True) as transaction:
            records = tqdm(transaction.cursor(), f"look at {file.parent.name}", count, unit="record", delay=5, leave=False)
            for position, (key, value) in enumerate(records):
                whole.update(key)
                whole.update(b" %d\n" % len(value))
                if position % between == 0:
                    whole.update(value)
    except lmdb.Error as error:
        raise InvalidInput(f"{file.parent} is damaged ({error}); copy or make it again.") from error
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
