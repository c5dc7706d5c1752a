"""The submission archive of the test split: an LMDB folder of label PNGs, and the same folder as .tar.gz.

test.lmdb/data.mdb     "<split>/CaptureN/.../imageF__l" and "__r" -> PNG, three equal channels, 0..16 for both hands
test.lmdb/im_path.pt   list of "<split>/CaptureN/.../imageF.jpg"
test.lmdb.tar.gz       of that folder
"""

import gzip
import tarfile
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType

import numpy as np
import torch

from hands.errors import InvalidInput
from hands.files.encoding import encode_labels
from hands.files.lmdb_files import MAX_KEY_BYTES, LmdbWriter
from hands.parts import HAND_SUFFIXES, HANDS, NUM_CLASSES
from hands.processes.folders import whole_folder
from hands.processes.processors import allowed_processors
from hands.raw.entries import is_plain_path

FOLDER_NAME = "test.lmdb"
ARCHIVE_NAME = "test.lmdb.tar.gz"
_LEVEL = 1
_CHUNK = 32  # pictures a thread encodes at a time
_BLOCK = 1 << 20


class SubmissionWriter:
    """Writes test.lmdb and test.lmdb.tar.gz into `folder`, which appears, whole, when the block ends without an error.

        with SubmissionWriter(folder) as writer:
            for paths, labels in predictions:
                writer.add(paths, labels)

    The same predictions give the same archive contents in the same order, without times or owners.

    Raises:
        InvalidInput: `folder` already holds files, or cannot be created.
    """

    def __init__(self, folder: str | Path):
        self._folder = Path(folder)
        self._paths: dict[str, None] = {}

    def __enter__(self) -> "SubmissionWriter":
        with ExitStack() as opening:
            self._partial = opening.enter_context(whole_folder(self._folder))
            self._masks = LmdbWriter(self._partial / FOLDER_NAME, ascending=False)
            self._threads = opening.enter_context(ThreadPoolExecutor(allowed_processors()))
            self._encoding: deque[tuple[list[str], Future]] = deque()
            self._open = opening.pop_all()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if error is not None:
            self._masks.abandon()
            self._open.__exit__(kind, error, trace)
            return
        with self._open:  # ends the threads, then renames the folder
            self._finish()

    def add(self, paths: Sequence[str], labels: torch.Tensor) -> None:
        """Add predictions.

        Args:
            paths: N paths after images/, no extension.
            labels: (N, 2, S, S) uint8 part ids 0..16 on the CPU, left hand first.

        Raises:
            InvalidInput: a path that leaves the archive, is too long for a key or was added before.
            ValueError: labels of another shape or kind, or above 16.
        """
        if labels.ndim != 4 or labels.shape[:2] != (len(paths), len(HANDS)) or labels.dtype != torch.uint8:
            raise ValueError(f"labels must be uint8 ({len(paths)}, 2, S, S), got {labels.dtype} {tuple(labels.shape)}")
        pictures = labels.numpy().copy()  # the caller may reuse its tensor while threads encode
        if pictures.size and pictures.max() >= NUM_CLASSES:
            raise ValueError(f"labels must be below {NUM_CLASSES}, got {pictures.max()}")
        for path in paths:
            self._check_path(path)
            self._paths[path] = None
        for start in range(0, len(paths), _CHUNK):
            part = list(paths[start : start + _CHUNK])
            self._encoding.append((part, self._threads.submit(_encode, pictures[start : start + _CHUNK])))
        self._store(waiting=4 * allowed_processors())

    def _check_path(self, path: str) -> None:
        if not is_plain_path(path):
            raise InvalidInput(f"{path!r} cannot stand in a submission; expected a path like test/Capture0/.../image1.")
        if len(path.encode()) > MAX_KEY_BYTES - 3:
            raise InvalidInput(f"{path[:60]}... is longer than the {MAX_KEY_BYTES} bytes of a key; shorten it.")
        if path in self._paths:
            raise InvalidInput(f"{path} was predicted twice; every test picture is to be predicted once.")

    def _store(self, waiting: int) -> None:
        """Store what is encoded, until no more than `waiting` chunks are left in the threads."""
        while len(self._encoding) > waiting:
            paths, encoded = self._encoding.popleft()
            for path, hands in zip(paths, encoded.result(), strict=True):
                for suffix, png in zip(HAND_SUFFIXES, hands, strict=True):
                    self._masks.put(f"{path}__{suffix}".encode(), png)

    def _finish(self) -> None:
        self._store(waiting=0)
        self._masks.close()
        folder = self._partial / FOLDER_NAME
        torch.save([f"{path}.jpg" for path in self._paths], folder / "im_path.pt")
        _archive(folder, self._partial / ARCHIVE_NAME)


def _encode(labels: np.ndarray) -> list[list[bytes]]:
    """(n, 2, S, S) -> for each picture the PNGs of both hands."""
    return [[encode_labels(hand) for hand in hands] for hands in labels]


def _archive(folder: Path, archive: Path) -> None:
    """tar.gz of `folder` under its own name; files sorted, without times and owners, so equal contents give equal bytes."""
    with (
        archive.open("wb") as raw,
        gzip.GzipFile("", "wb", _LEVEL, raw, mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w|", bufsize=_BLOCK) as tar,
    ):
        tar.add(folder, arcname=folder.name, recursive=False, filter=_anonymous)
        for file in sorted(folder.iterdir()):
            tar.add(file, arcname=f"{folder.name}/{file.name}", filter=_anonymous)


def _anonymous(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.uid = member.gid = member.mtime = 0
    member.uname = member.gname = ""
    member.mode = 0o755 if member.isdir() else 0o644
    return member
