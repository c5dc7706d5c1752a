"""Filters: which of a release's pictures to import."""

from dataclasses import dataclass
from fnmatch import fnmatchcase

import numpy as np

from hands.errors import InvalidInput
from hands.interhand.frames import Frames
from hands.parts import HAND_TYPES


@dataclass(frozen=True)
class Filters:
    """Comma lists, empty for all. cameras may hold * and ? ('40*': the colour cameras). every: one of so many moments of a
    sequence, counted in order of time. count: how many pictures to draw of what is left, 0 for all."""

    hand_type: str
    cameras: str
    captures: str
    subjects: str
    every: int
    count: int


def select(frames: Frames, filters: Filters, seed: int) -> np.ndarray:
    """Positions (S,) of the chosen pictures, by capture, sequence, moment and camera: all cameras of a moment together.

    Raises:
        InvalidInput: a filter names what the split does not have, or nothing is left.
    """
    kept = np.isin(frames.hand_types, [HAND_TYPES.index(name) for name in _names(filters.hand_type, HAND_TYPES, "hand_type")])
    kept &= np.isin(frames.captures, _numbers(filters.captures, frames.captures, "captures"))
    kept &= np.isin(frames.subjects, _numbers(filters.subjects, frames.subjects, "subjects"))
    cameras = _names(filters.cameras, frames.camera_names, "cameras")
    kept &= np.isin(frames.cameras, [i for i, name in enumerate(frames.camera_names) if name in cameras])
    kept &= _every_nth(frames, filters.every)
    positions = np.flatnonzero(kept)
    if not len(positions):
        raise InvalidInput("No picture passes the filters; loosen hand_type, cameras, captures, subjects or every.")
    if filters.count and filters.count < len(positions):
        positions = np.random.default_rng(seed).choice(positions, filters.count, replace=False)
    columns = (frames.cameras, frames.frames, frames.sequences, frames.captures)
    return positions[np.lexsort([column[positions] for column in columns])]


def moments(frames: Frames, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The distinct (capture, sequence, frame) of some pictures as rows (M, 3), and each picture's row (S,)."""
    keys = np.stack([frames.captures[positions], frames.sequences[positions], frames.frames[positions]], axis=1)
    rows, place = np.unique(keys, axis=0, return_inverse=True)
    return rows, place.ravel()


def _every_nth(frames: Frames, every: int) -> np.ndarray:
    if every == 1:
        return np.ones(len(frames.frames), bool)
    rows, place = moments(frames, np.arange(len(frames.frames)))  # rows ascend, so a sequence's are in order of time
    starts = np.flatnonzero(np.append(True, (rows[1:, :2] != rows[:-1, :2]).any(axis=1)))
    rank = np.arange(len(rows)) - np.repeat(starts, np.diff(np.append(starts, len(rows))))
    return (rank % every == 0)[place]


def _listed(given: str) -> list[str]:
    return [item.strip() for item in given.split(",") if item.strip()]


def _names(given: str, known: list[str] | tuple[str, ...], parameter: str) -> set[str]:
    if not _listed(given):
        return set(known)
    found = set()
    for pattern in _listed(given):
        matching = {name for name in known if fnmatchcase(name, pattern)}
        if not matching:
            raise InvalidInput(f"{parameter} names {pattern}, which the split does not have; it has {_some(sorted(known))}.")
        found |= matching
    return found


def _numbers(given: str, column: np.ndarray, parameter: str) -> list[int]:
    known = np.unique(column).tolist()
    if not _listed(given):
        return known
    for item in _listed(given):
        if not item.isdecimal() or int(item) not in known:
            raise InvalidInput(f"{parameter} names {item}, which the split does not have; it has {_some(known)}.")
    return [int(item) for item in _listed(given)]


def _some(names: list) -> str:
    return ", ".join(map(str, names[:40])) + (", ..." if len(names) > 40 else "")
