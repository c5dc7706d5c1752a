"""LMDB environments: written in batches, read by any number of processes.

LMDB refuses a second handle on one file within a process, and a handle must not cross a fork. Readers therefore
take theirs from here, at each use: one per file and process, opened when first asked for.
"""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

import lmdb

from hands.errors import InvalidInput

MAX_KEY_BYTES = 511  # LMDB's own limit
_BATCH_BYTES = 16 << 20
_FIRST_MAP_BYTES = 64 << 20

_handles: dict[tuple[int, int], lmdb.Environment] = {}  # by device and inode
_opening = threading.Lock()


def _forget_inherited() -> None:
    """In a forked child: let go of the parent's handles, so that each file is opened afresh when next needed."""
    global _opening
    _opening = threading.Lock()  # the inherited one may be held by a thread that the child does not have
    for handle in _handles.values():
        handle.close()  # frees the child's copy only: there is no lock file to disturb
    _handles.clear()


os.register_at_fork(after_in_child=_forget_inherited)


def environment(folder: str | Path) -> lmdb.Environment:
    """This process's read-only handle on the LMDB environment in `folder`.

    Raises:
        InvalidInput: no environment there, or its file is damaged or cut short (reading past a file's end would
            kill the process).
    """
    file = Path(folder, "data.mdb")
    try:
        status = file.stat()
    except OSError as error:
        raise InvalidInput(f"{file} cannot be read ({error.strerror}); an LMDB environment was expected there.") from error
    key = (status.st_dev, status.st_ino)
    with _opening:
        if key not in _handles:
            _handles[key] = _open(Path(folder), status.st_size)
        return _handles[key]


def _open(folder: Path, file_bytes: int) -> lmdb.Environment:
    try:
        handle = lmdb.open(
            str(folder), readonly=True, lock=False, create=False, readahead=False, max_readers=1, max_spare_txns=4
        )
    except lmdb.Error as error:
        raise InvalidInput(f"{folder} is not a readable LMDB environment ({error}); copy or make it again.") from error
    needed = (handle.info()["last_pgno"] + 1) * handle.stat()["psize"]
    if file_bytes < needed:
        handle.close()
        raise InvalidInput(f"{folder}/data.mdb has {file_bytes} of {needed} bytes: it was cut short; copy or make it again.")
    return handle


class LmdbWriter:
    """Writes an LMDB environment in batches; the map grows as needed. Close (or leave the block) to finish.

    Every method raises InvalidInput where the disk is full.

    Args:
        folder: created; records of an environment that it holds stay.
        ascending: keys come in ascending order, which packs pages full and writes faster.
    """

    def __init__(self, folder: str | Path, ascending: bool):
        Path(folder).mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._ascending = ascending
        self._waiting: list[tuple[bytes, bytes]] = []
        self._waiting_bytes = 0
        with self._refusing():
            self._handle = lmdb.open(
                str(folder), map_size=_FIRST_MAP_BYTES, lock=False, sync=False, metasync=False, readahead=False
            )

    def put(self, key: bytes, value: bytes) -> None:
        """Add one record; of two with one key the later stays."""
        self._waiting.append((key, value))
        self._waiting_bytes += len(value)
        if self._waiting_bytes >= _BATCH_BYTES:
            self._write()

    def _write(self) -> None:
        while self._waiting:
            try:
                with self._refusing(), self._handle.begin(write=True) as transaction:
                    for key, value in self._waiting:
                        transaction.put(key, value, append=self._ascending)
            except lmdb.MapFullError:
                self._handle.set_mapsize(2 * self._handle.info()["map_size"])
            else:
                self._waiting, self._waiting_bytes = [], 0

    def flush(self) -> None:
        """Bring everything to disk; what is put afterwards may still be lost."""
        self._write()
        with self._refusing():
            self._handle.sync(True)

    @contextmanager
    def _refusing(self) -> Iterator[None]:
        try:
            yield
        except lmdb.MapFullError:
            raise
        except lmdb.Error as error:
            raise InvalidInput(f"{self._folder}/data.mdb cannot be written ({error}); make room and try again.") from error

    def close(self) -> None:
        self.flush()
        self._handle.close()

    def abandon(self) -> None:
        """Let go of the file without writing what waits."""
        self._handle.close()

    def __enter__(self) -> "LmdbWriter":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if kind is None:
            self.close()
        else:
            self.abandon()
