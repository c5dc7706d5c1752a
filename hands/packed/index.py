"""index/<subset>.tsv of a packed set: a line a record, in the records' order, columns as in Index."""

from array import array
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hands.errors import InvalidInput
from hands.parts import HAND_TYPES

_WORD = np.dtype("<u8")  # a record's bytes are a multiple of it: sides are multiples of 40


@dataclass(frozen=True)
class Index:
    """What is known of N records without reading them.

    positions: in the source list. hand_types: uint8, positions in parts.HAND_TYPES.
    paths: after images/ without extension ('val/Capture0/...'), mask ids where there is no image.
    checksums: uint64, of the record's bytes.
    parts: uint32, bit p is set if the central crop shows part p of either hand.
    part_pixels: (N, 2) int32, pixels of the left and of the right hand's largest part in the central crop, 0 without labels.
    overlap_pixels: int32, pixels of the central crop that belong to a part of both hands.
    absent: (N, 2) bool, hands whose labels are background all over the central crop.
    """

    positions: np.ndarray
    hand_types: np.ndarray
    paths: list[str]
    checksums: np.ndarray
    parts: np.ndarray
    part_pixels: np.ndarray
    overlap_pixels: np.ndarray
    absent: np.ndarray

    def take(self, numbers: np.ndarray) -> "Index":
        """These records, in this order."""
        return Index(
            self.positions[numbers],
            self.hand_types[numbers],
            [self.paths[number] for number in numbers.tolist()],
            self.checksums[numbers],
            self.parts[numbers],
            self.part_pixels[numbers],
            self.overlap_pixels[numbers],
            self.absent[numbers],
        )

    def followed_by(self, other: "Index") -> "Index":
        return Index(
            np.concatenate([self.positions, other.positions]),
            np.concatenate([self.hand_types, other.hand_types]),
            self.paths + other.paths,
            np.concatenate([self.checksums, other.checksums]),
            np.concatenate([self.parts, other.parts]),
            np.concatenate([self.part_pixels, other.part_pixels]),
            np.concatenate([self.overlap_pixels, other.overlap_pixels]),
            np.concatenate([self.absent, other.absent]),
        )


def checksums(records: np.ndarray) -> np.ndarray:
    """Sums (N,) of the 8-byte words of (N, B) uint8 records, modulo 2 ** 64.

    One changed byte, word or sector always changes it. A CRC would see rearranged words too, and takes longer than
    reading itself does.
    """
    return records.view(_WORD).sum(axis=1, dtype=np.uint64)


@dataclass(frozen=True)
class LabelFacts:
    """What the index says of a record's labels, as Index has it."""

    parts: int
    part_pixels: tuple[int, int]
    overlap_pixels: int
    absent: tuple[bool, bool]


UNLABELLED = LabelFacts(0, (0, 0), 0, (False, False))


def label_facts(counts: np.ndarray, overlap_pixels: int, size: int) -> LabelFacts:
    """What the (2, 17) pixel counts of a crop of side `size` tell."""
    shown = np.flatnonzero(counts[:, 1:].any(axis=0)) + 1
    return LabelFacts(
        parts=sum(1 << int(part) for part in shown),
        part_pixels=tuple(counts[:, 1:].max(axis=1).tolist()),
        overlap_pixels=overlap_pixels,
        absent=tuple((counts[:, 0] == size * size).tolist()),
    )


def index_line(position: int, hand_type: str, path: str, content: np.ndarray, facts: LabelFacts) -> str:
    """A record's line; content: (B,) uint8, all of the record."""
    checksum = int(checksums(content[np.newaxis])[0])
    numbers = (facts.parts, *facts.part_pixels, facts.overlap_pixels, *map(int, facts.absent))
    return f"{position}\t{hand_type}\t{path}\t{checksum:016x}\t" + "\t".join(map(str, numbers)) + "\n"


def read_index(file: Path, count: int) -> Index:
    """The index of a stored subset of `count` records.

    Raises:
        InvalidInput: missing, damaged or of another length.
    """
    paths: list[str] = []
    numbers = array("Q")
    try:
        with file.open(encoding="utf-8", newline="\n") as lines:
            for line in lines:
                position, hand_type, path, checksum, *counts = line.rstrip("\n").split("\t")
                parts, left, right, overlap, absent_l, absent_r = map(int, counts)
                numbers.extend((int(position), HAND_TYPES.index(hand_type), int(checksum, 16)))
                numbers.extend((parts, left, right, overlap, absent_l, absent_r))
                paths.append(path)
    except OSError as error:
        raise InvalidInput(f"{file} cannot be read ({error.strerror}); make the packed set again with `prepare`.") from error
    except (ValueError, OverflowError) as error:
        raise InvalidInput(f"{file}, line {len(paths) + 1}, is damaged; make the packed set again with `prepare`.") from error
    if len(paths) != count:
        raise InvalidInput(f"{file} has {len(paths)} lines, the manifest counts {count} records; make the packed set again.")
    columns = np.frombuffer(numbers, np.uint64).reshape(-1, 9)
    return Index(
        positions=columns[:, 0].astype(np.int64),
        hand_types=columns[:, 1].astype(np.uint8),
        paths=paths,
        checksums=columns[:, 2].copy(),
        parts=columns[:, 3].astype(np.uint32),
        part_pixels=columns[:, 4:6].astype(np.int32),
        overlap_pixels=columns[:, 6].astype(np.int32),
        absent=columns[:, 7:9].astype(bool),
    )
