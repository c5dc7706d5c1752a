"""The packed set: crops of fixed size in one LMDB, read in whole batches; packed_writer.py writes it.

    <folder>/manifest.json       geometry, counts, class pixel counts, digests (hands/packed/manifest.py)
    <folder>/records.lmdb/       key: subset code (1 byte), record number (4 bytes, big endian); value: C x P x P bytes
    <folder>/index/<subset>.tsv  a line a record: path, hand type, checksum and more (hands/packed/index.py)
    <folder>/index/<subset>.places.npy  where the boxes lie in their pictures (hands/packed/places.py)

Records hold 3 RGB channels and then the left and the right labels, as far as the subset has them. They cover the
box enlarged by 1.25 at the crop's pixel scale: the central size x size pixels are exactly the crop of the box, the rest
is margin for rotation, scale and translation. What is read is compared with the checksum that `prepare` wrote.
Imports torch only to read: what a set holds is checked before that.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from hands.errors import InvalidInput
from hands.files.lmdb_files import environment
from hands.packed.index import Index, checksums, read_index
from hands.packed.manifest import SUBSET_CHANNELS, Manifest, read_manifest
from hands.packed.mini import mini_positions

if TYPE_CHECKING:
    import torch

KEY = struct.Struct(">BI")
CODES = {name: code for code, name in enumerate(SUBSET_CHANNELS)}
_VIEWS = {"minitrain": "train", "minival": "val", "miniunpaired_images": "unpaired_images"}
SUBSET_NAMES = (*SUBSET_CHANNELS, *_VIEWS, "trainval")


@dataclass(frozen=True)
class PackedSubset:
    """Some records of a packed set. Picklable; each process opens its own LMDB handle at the first read.

    name: as asked for. side: P, of a record. size: of the crop at its centre. channels: C, 2, 3 or 5.
    index: what is known of the N records without reading them.
    """

    name: str
    side: int
    size: int
    channels: int
    index: Index
    _folder: Path
    _codes: np.ndarray  # (N,) subset code of each record
    _numbers: np.ndarray  # (N,) number of each record within its stored subset

    @property
    def hand_types(self) -> np.ndarray:
        """(N,) uint8 positions in parts.HAND_TYPES."""
        return self.index.hand_types

    @property
    def paths(self) -> list[str]:
        """N paths after images/ without extension ('val/Capture0/...'), mask ids where there is no image."""
        return self.index.paths

    def __len__(self) -> int:
        return len(self.paths)

    def read(self, indices: Sequence[int] | np.ndarray, out: "torch.Tensor | None") -> "torch.Tensor":
        """Read a batch: (N, C, P, P) uint8, copied once, from the memory map into the batch.

        Args:
            indices: N positions from 0 to len(self) - 1, in any order.
            out: contiguous CPU tensor of that shape to fill (pinned, say), or None to make one.

        Raises:
            IndexError: a position outside the subset.
            ValueError: `out` of another shape or kind.
            InvalidInput: a record is missing or damaged.
        """
        import torch

        wanted = np.asarray(indices, dtype=np.int64)
        if wanted.size and not 0 <= wanted.min() <= wanted.max() < len(self):
            raise IndexError(
                f"positions of {self.name} go from 0 to {len(self) - 1}, asked for {wanted.min()} to {wanted.max()}"
            )
        shape = (len(wanted), self.channels, self.side, self.side)
        batch = torch.empty(shape, dtype=torch.uint8) if out is None else out
        if batch.shape != shape or batch.dtype != torch.uint8 or not batch.is_contiguous() or batch.device.type != "cpu":
            raise ValueError(
                f"out must be a contiguous uint8 CPU tensor of shape {shape}, got {tuple(batch.shape)} {batch.dtype}"
            )
        record_bytes = self.channels * self.side * self.side
        rows = batch.view(len(wanted), record_bytes).numpy()
        with environment(self._folder / "records.lmdb").begin(buffers=True) as transaction:
            keys = zip(self._codes[wanted].tolist(), self._numbers[wanted].tolist(), strict=True)
            for row, key in zip(rows, keys, strict=True):
                record = transaction.get(KEY.pack(*key))
                if record is None or len(record) != record_bytes:
                    self._refuse_record(key, record, record_bytes)
                row[:] = np.frombuffer(record, np.uint8)
        damaged = np.flatnonzero(checksums(rows) != self.index.checksums[wanted])
        if damaged.size:
            self._refuse_damage(int(wanted[damaged[0]]), len(damaged))
        return batch

    def overlaps(self, other: "PackedSubset") -> bool:
        """Whether a record is in both subsets of one packed set."""
        own, others = ((subset._codes.astype(np.int64) << 32) + subset._numbers for subset in (self, other))
        return bool(np.isin(own, others).any())

    def _refuse_record(self, key: tuple[int, int], record: memoryview | None, record_bytes: int) -> None:
        found = "is missing" if record is None else f"has {len(record)} bytes instead of {record_bytes}"
        raise InvalidInput(f"{self._folder}: record {key[1]} of {self.name} {found}; make the packed set again with `prepare`.")

    def _refuse_damage(self, position: int, damaged: int) -> None:
        others = f" (and {damaged - 1} of the records read with it)" if damaged > 1 else ""
        raise InvalidInput(
            f"{self._folder}: record {self._numbers[position]} of {self.name}, {self.paths[position]}{others}, is not what"
            " `prepare` wrote: its checksum differs. The disk or a copy has changed it; copy the packed set again, or make it"
            " again with `prepare`."
        )


class PackedSet:
    """A packed set on disk. Picklable."""

    def __init__(self, folder: Path, manifest: Manifest):
        self.folder = folder
        self.manifest = manifest

    @classmethod
    def open(cls, folder: str | Path) -> "PackedSet":
        """Open a packed set that `prepare` wrote.

        Raises:
            InvalidInput: no packed set there, or a damaged one.
        """
        folder = Path(folder)
        packed = cls(folder, read_manifest(folder))
        environment(folder / "records.lmdb")
        return packed

    def subset(self, name: str) -> PackedSubset:
        """One subset by name.

        train, val: paired. test: labelled where the source's test split is. unpaired_images: 3 channels.
        unpaired_masks: 2 channels. minitrain, minival, miniunpaired_images: the fixed sample of 1000. trainval: train, val.

        Raises:
            InvalidInput: no such subset in this set, or its index is damaged.
        """
        if name == "trainval":
            return _concatenate(name, self.subset("train"), self.subset("val"))
        base = _VIEWS.get(name, name)
        if base not in self.manifest.subsets:
            raise InvalidInput(f"{self.folder} has no subset {name!r}; choose one of {', '.join(SUBSET_NAMES)}.")
        subset = self.manifest.subsets[base]
        index = read_index(self.folder / "index" / f"{base}.tsv", subset.count)
        numbers = np.arange(subset.count)
        if name in _VIEWS:
            number_at = {position: number for number, position in enumerate(index.positions.tolist())}
            sample = [number_at[position] for position in mini_positions(subset.listed) if position in number_at]
            numbers = np.array(sample, dtype=np.int64)
            index = index.take(numbers)
        return PackedSubset(
            name=name,
            side=self.manifest.side,
            size=self.manifest.size,
            channels=subset.channels,
            index=index,
            _folder=self.folder,
            _codes=np.full(len(numbers), CODES[base], dtype=np.uint8),
            _numbers=numbers,
        )


def require_records(subset: PackedSubset) -> None:
    """Refuses a subset without records."""
    if len(subset) == 0:
        raise InvalidInput(
            f"the packed set has no records in '{subset.name}'; expected at least one. "
            f"Pack a dataset that has them, or choose another split."
        )


def _concatenate(name: str, first: PackedSubset, second: PackedSubset) -> PackedSubset:
    return PackedSubset(
        name=name,
        side=first.side,
        size=first.size,
        channels=first.channels,
        index=first.index.followed_by(second.index),
        _folder=first._folder,
        _codes=np.concatenate([first._codes, second._codes]),
        _numbers=np.concatenate([first._numbers, second._numbers]),
    )
