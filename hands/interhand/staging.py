"""The folder of an unfinished import, with which it goes on after an interruption at any moment.

`.<name>.importing` beside the destination holds the LMDBs so far and a journal: the inputs' key, then one line for every
finished chunk, written only after its pictures are on disk. What was written of a chunk without a line is written again. It
has no lists until the very end, so that no reader takes it for a data set; then it is renamed to the destination.
"""

import json
import os
import shutil
from pathlib import Path
from types import TracebackType

from hands.errors import InvalidInput
from hands.processes.folders import flush, flush_to_disk, refuse_occupied
from hands.processes.locks import hold

_JOURNAL, _LOCK = "journal.jsonl", "lock"


class Staging:
    """A context in which chunks are recorded. `finished` holds the lines of an earlier, interrupted import.

    Args:
        destination: where the data set shall be.
        key: stands for the inputs; only an import with the same key goes on.

    Raises:
        InvalidInput: the destination is occupied, cannot be written, or another import is at it or was interrupted there.
    """

    def __init__(self, destination: Path, key: str):
        self.folder = destination.parent / f".{destination.name}.importing"
        self.finished: list[dict] = []
        self._destination, self._key = destination, key

    def __enter__(self) -> "Staging":
        refuse_occupied(self._destination)
        taken = f"Another import is writing {self._destination}; wait for it or give another out_dir."
        try:
            self._lock = hold(self.folder / _LOCK, taken, wait_s=0)
        except OSError as error:
            raise InvalidInput(f"{self.folder} cannot be written ({error.strerror}); give a folder you may write.") from error
        try:
            self._open_journal()
        except BaseException:
            self._lock.close()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._journal.close()
        self._lock.close()

    def record(self, line: dict) -> None:
        """Note a finished chunk, whose pictures are on disk."""
        self._journal.write(json.dumps(line).encode() + b"\n")
        self._journal.flush()
        os.fsync(self._journal.fileno())

    def publish(self) -> None:
        """Make the folder the destination."""
        for name in (_JOURNAL, _LOCK):
            (self.folder / name).unlink()
        flush_to_disk(self.folder)
        refuse_occupied(self._destination)
        os.rename(self.folder, self._destination)
        flush(self._destination.parent)

    def _open_journal(self) -> None:
        file = self.folder / _JOURNAL
        lines, whole_bytes = _whole_lines(file.read_bytes()) if file.exists() else ([], 0)
        if len(lines) > 1 and lines[0] == {"key": self._key}:
            self.finished = lines[1:]
            self._journal = file.open("r+b")
            self._journal.truncate(whole_bytes)
            self._journal.seek(whole_bytes)
            return
        if len(lines) > 1:
            raise InvalidInput(
                f"{self.folder} holds an unfinished import with other parameters, inputs or code; repeat that one to finish it,"
                " remove the folder to start over, or give another out_dir."
            )
        for entry in self.folder.iterdir():
            if entry.is_dir():
                shutil.rmtree(entry)
            elif entry.name != _LOCK:
                entry.unlink()
        self._journal = file.open("wb")
        self.record({"key": self._key})


def _whole_lines(content: bytes) -> tuple[list[dict], int]:
    """The lines up to the first that was cut short, and how many bytes they take."""
    lines, size = [], 0
    for line in content.splitlines(keepends=True):
        try:
            read = json.loads(line)
        except (ValueError, RecursionError):
            break
        if not line.endswith(b"\n") or not isinstance(read, dict):
            break
        lines.append(read)
        size += len(line)
    return lines, size
