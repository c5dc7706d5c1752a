"""Writes a packed set, whose layout packed_set.py explains."""

import hashlib
from pathlib import Path
from types import TracebackType

import numpy as np

from hands.files.lmdb_files import LmdbWriter
from hands.packed.index import UNLABELLED, index_line, label_facts
from hands.packed.manifest import VERSION, Manifest, SubsetManifest, record_side, write_manifest
from hands.packed.packed_set import CODES, KEY
from hands.packed.skin import red_above_blue
from hands.parts import HANDS, IGNORED, NUM_CLASSES
from hands.raw.provenance import Sources


class PackedWriter:
    """Writes a packed set into `folder`, record by record; `finish` writes the manifest.

    Args:
        folder: an existing empty folder (hands.processes.folders.whole_folder makes one that appears whole or not at all).
        size: side of the crops; see hands.parts.check_size.
        channels: stored subset -> channel count, for every subset the set shall have.
    """

    def __init__(self, folder: str | Path, size: int, channels: dict[str, int]):
        self._folder = Path(folder)
        self._size = size
        self._side = record_side(size)
        self._channels = channels
        self._records = LmdbWriter(self._folder / "records.lmdb", ascending=False)
        (self._folder / "index").mkdir()
        self._indexes = {name: self._new_index(name) for name in channels}
        self._hashes = {name: hashlib.sha256() for name in channels}
        self._counts = dict.fromkeys(channels, 0)
        self._class_pixels = {name: np.zeros((len(HANDS), NUM_CLASSES), np.int64) for name in channels}
        self._red_above_blue: dict[str, list[bool]] = {name: [] for name in channels}

    def _new_index(self, name: str):
        return (self._folder / "index" / f"{name}.tsv").open("w", encoding="utf-8", newline="\n")

    def add(self, name: str, position: int, hand_type: str, path: str, record: np.ndarray) -> None:
        """Append a (C, P, P) uint8 record to the stored subset `name`.

        position: the entry's place in the source list, ascending. hand_type: one of parts.HAND_TYPES.
        path: after images/, no extension; a mask id where there is no image.
        """
        shape = (self._channels[name], self._side, self._side)
        if record.shape != shape or record.dtype != np.uint8:
            raise ValueError(f"a record of {name} must be uint8 of shape {shape}, got {record.dtype} {record.shape}")
        content = np.ascontiguousarray(record)
        facts = UNLABELLED
        if shape[0] != 3:
            counts = count_classes(record[-2:], self._size)
            self._class_pixels[name] += counts
            facts = label_facts(counts, count_overlap(record[-2:], self._size), self._size)
        if shape[0] == 5 and (red := red_above_blue(record, self._size)) is not None:
            self._red_above_blue[name].append(red)
        line = index_line(position, hand_type, path, content.ravel(), facts)
        self._records.put(KEY.pack(CODES[name], self._counts[name]), content.tobytes())
        self._indexes[name].write(line)
        self._hashes[name].update(line.encode() + content.tobytes())
        self._counts[name] += 1

    def finish(
        self,
        channel_order: str,
        source_digest: str,
        listed: dict[str, int],
        dropped: dict[str, dict[str, int]],
        sources: Sources,
    ) -> Manifest:
        """Flush everything, write the manifest and return it.

        listed: subset -> entries in its source list. dropped: subset -> reason -> entries left out.
        sources: where the data comes from.
        """
        self._records.close()
        for index in self._indexes.values():
            index.close()
        manifest = Manifest(
            version=VERSION,
            size=self._size,
            side=self._side,
            margin=(self._side - self._size) // 2,
            channel_order=channel_order,
            source_digest=source_digest,
            sources=sources,
            digest=self._digest(),
            subsets={
                name: SubsetManifest(
                    count=self._counts[name],
                    listed=listed[name],
                    channels=channels,
                    class_pixels=() if channels == 3 else tuple(map(tuple, self._class_pixels[name].tolist())),
                    dropped=dict(sorted(dropped[name].items())),
                    colour_pictures=len(self._red_above_blue[name]),
                    red_above_blue=sum(self._red_above_blue[name]),
                )
                for name, channels in self._channels.items()
            },
        )
        write_manifest(manifest, self._folder)
        return manifest

    def _digest(self) -> str:
        whole = hashlib.sha256(f"packed {VERSION} {self._size}".encode())
        for name, part in self._hashes.items():
            whole.update(f"{name} {self._channels[name]} {self._counts[name]}".encode() + part.digest())
        return whole.hexdigest()[:32]

    def __enter__(self) -> "PackedWriter":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if kind is not None:
            self._records.abandon()
            for index in self._indexes.values():
                index.close()


def count_classes(labels: np.ndarray, size: int) -> np.ndarray:
    """Pixels of each class in the central size x size of (2, P, P) labels, ignored ones left out: (2, 17) int64."""
    return np.stack([np.bincount(hand[hand != IGNORED], minlength=NUM_CLASSES) for hand in _central(labels, size)])


def count_overlap(labels: np.ndarray, size: int) -> int:
    """Pixels in the central size x size of (2, P, P) labels that belong to a part of both hands."""
    centre = _central(labels, size)
    return int(((centre > 0) & (centre < NUM_CLASSES)).all(axis=0).sum())


def _central(labels: np.ndarray, size: int) -> np.ndarray:
    margin = (labels.shape[-1] - size) // 2
    return labels[:, margin : margin + size, margin : margin + size]
