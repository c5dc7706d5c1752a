"""Writes the raw InterHand2.6M layout (hands/raw/layout.py says what it is)."""

from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Protocol

import numpy as np

from hands.errors import InvalidInput
from hands.files.lmdb_files import LmdbWriter
from hands.parts import HAND_TYPES
from hands.processes.folders import whole_folder
from hands.raw.entries import KEY_PREFIX, is_plain_path
from hands.raw.names import LIST_COMPLETE, LISTS, MASK_IDS, UNPAIRED_IDS
from hands.raw.pictures import IMAGES, LABELS
from hands.raw.provenance import Sources, write_sources

ROLES = ("paired", "unpaired_image", "unpaired_masks", "val", "test")


class ListedFrame(Protocol):
    """One frame as the lists have it.

    split: 'train', 'val' or 'test'. role: one of ROLES. path: '<split>/CaptureN/<seq>/camX/imageF', no extension.
    bbox: x, y, w, h in pixels, square, enlarged by 1.25. What is None is not known, and the lists do not say it.
    """

    split: str
    role: str
    path: str
    hand_type: str
    hand_type_valid: bool | None
    bbox: tuple[float, float, float, float]
    seq_name: str | None
    capture: int | None
    cam: int | None
    frame: int | None


class EncodedFrame(ListedFrame, Protocol):
    """One frame to write, its pictures encoded as the layout has them.

    image: PNG or JPEG bytes, red and blue swapped; None for unpaired masks.
    labels_l, labels_r: PNG bytes of values 0 or 17..32, and 0..16; None where the role has none.
    """

    image: bytes | None
    labels_l: bytes | None
    labels_r: bytes | None


class RawFolderWriter:
    """Writes a raw data set into a folder, step by step; it is a data set once `write_lists` has been called.

    Args:
        folder: exists; pictures of an earlier, unfinished writer that it holds stay.
    """

    def __init__(self, folder: Path):
        self._folder = folder
        self._lists: dict[str, list[dict]] = {name: [] for name in (LIST_COMPLETE, *LISTS.values())}
        self._mask_ids: dict[str, dict[str, str]] = {name: {} for name in MASK_IDS.values()}
        self._unpaired_ids: list[str] = []
        self._paths: set[str] = set()
        self._labelled = 0
        self._open = ExitStack()

    def __enter__(self) -> "RawFolderWriter":
        with ExitStack() as opening:
            self._images = opening.enter_context(LmdbWriter(self._folder / IMAGES, ascending=False))
            self._labels = opening.enter_context(LmdbWriter(self._folder / LABELS, ascending=False))
            self._open = opening.pop_all()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._open.__exit__(kind, error, trace)

    def add_frame(self, frame: EncodedFrame) -> None:
        """Add one frame.

        Raises:
            ValueError: unknown role, path that is taken or leaves its split, or pictures that do not go with the role.
        """
        _check(frame)
        mask_id = self.list_frame(frame, frame.labels_l is not None)
        if mask_id is not None:
            self._labels.put(f"{mask_id}__l".encode(), frame.labels_l)
            self._labels.put(f"{mask_id}__r".encode(), frame.labels_r)
        if frame.role != "unpaired_masks":
            self._images.put(f"{KEY_PREFIX}{frame.path}.jpg".encode(), frame.image)

    def list_frame(self, frame: ListedFrame, labelled: bool) -> str | None:
        """Enter a frame, whose pictures are there already, into the lists; returns its labels' id, None without labels.

        Frames that are listed in the order in which they were added get the ids that they had.

        Raises:
            ValueError: the path is taken.
        """
        if frame.path in self._paths:
            raise ValueError(f"{frame.path} was added before")
        self._paths.add(frame.path)
        mask_id = None
        if labelled:
            mask_id = f"{self._labelled:07d}"
            self._labelled += 1
        if frame.role == "unpaired_masks":
            self._unpaired_ids.append(mask_id)
            return mask_id
        entry = _entry(frame)
        if frame.split == "train":
            self._lists[LIST_COMPLETE].append(entry)
        if frame.role != "unpaired_image":
            self._lists[LISTS[frame.split]].append(entry)
        if mask_id is not None:
            self._mask_ids[MASK_IDS[frame.split]][frame.path] = mask_id
        return mask_id

    def flush(self) -> None:
        """Bring the pictures added so far to disk."""
        self._images.flush()
        self._labels.flush()

    def write_sources(self, sources: Sources) -> None:
        """Write where the data comes from (hands/raw/provenance.py)."""
        write_sources(sources, self._folder)

    def write_lists(self) -> None:
        """Write the lists of all frames added and listed.

        Raises:
            InvalidInput: the disk is full.
        """
        import torch

        if not self._mask_ids[MASK_IDS["test"]]:
            del self._mask_ids[MASK_IDS["test"]]
        for name, content in {**self._lists, **self._mask_ids, UNPAIRED_IDS: self._unpaired_ids}.items():
            try:
                torch.save(content, self._folder / name)
            except RuntimeError as error:  # so torch reports a full disk
                raise InvalidInput(f"{self._folder / name} cannot be written; make room and try again.") from error


class RawDatasetWriter:
    """Writes a raw data set into `folder`, which appears, whole, when the block ends without an error.

        with RawDatasetWriter("data/InterHand2.6M") as writer:
            for frame in frames:
                writer.add_frame(frame)

    Test frames may carry labels; then path2id_test.pt names them, beside the layout's own files.

    Raises:
        InvalidInput: `folder` already holds files, or cannot be created.
    """

    def __init__(self, folder: str | Path):
        self._destination = Path(folder)
        self._open = ExitStack()

    def __enter__(self) -> "RawDatasetWriter":
        with ExitStack() as opening:
            partial = opening.enter_context(whole_folder(self._destination))
            self._writer = opening.enter_context(RawFolderWriter(partial))
            self._open = opening.pop_all()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if error is not None:
            self._open.__exit__(kind, error, trace)
            return
        with self._open:  # closes the LMDBs, then renames the folder
            self._writer.write_lists()

    def add_frame(self, frame: EncodedFrame) -> None:
        """Add one frame; raises as RawFolderWriter.add_frame does."""
        self._writer.add_frame(frame)

    def write_sources(self, sources: Sources) -> None:
        """Write where the data comes from; without it that is unknown."""
        self._writer.write_sources(sources)


def _entry(frame: ListedFrame) -> dict:
    entry = {
        "img_path": f"./{KEY_PREFIX}{frame.path}.jpg",
        "bbox": np.array(frame.bbox, dtype=np.float32),
        "hand_type": frame.hand_type,
        "hand_type_valid": frame.hand_type_valid,
        "seq_name": frame.seq_name,
        "file_name": f"{frame.path.partition('/')[2]}.jpg",
        "capture": frame.capture,
        "cam": frame.cam,
        "frame": frame.frame,
    }
    return {name: value for name, value in entry.items() if value is not None}


def _check(frame: EncodedFrame) -> None:
    split = frame.role if frame.role in ("val", "test") else "train"
    if frame.role not in ROLES or frame.split != split:
        raise ValueError(f"role {frame.role!r} of split {frame.split!r}: roles are {', '.join(ROLES)}, the first three train's")
    if not frame.path.startswith(f"{split}/") or not is_plain_path(frame.path):
        raise ValueError(f"path {frame.path!r} must be {split}/... without '..'")
    if frame.hand_type not in HAND_TYPES:
        raise ValueError(f"hand_type {frame.hand_type!r} must be one of {', '.join(HAND_TYPES)}")
    if (frame.image is None) != (frame.role == "unpaired_masks"):
        raise ValueError(f"{frame.path}: every role but unpaired_masks has an image")
    if (frame.labels_l is None) != (frame.labels_r is None):
        raise ValueError(f"{frame.path}: labels of one hand only")
    if frame.role != "test" and (frame.labels_l is None) != (frame.role == "unpaired_image"):
        raise ValueError(f"{frame.path}: labels do not go with role {frame.role}")
