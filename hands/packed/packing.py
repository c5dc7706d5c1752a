"""What a worker of `prepare` does: entries of the raw layout to records. Free of torch, so that workers start quickly.

Unpaired masks have no box of their own: they are cropped to the square around their parts, enlarged by 1.25
(hands/files/crop.py says why).
"""

from dataclasses import dataclass

import numpy as np

from hands.files.boxes import Box
from hands.files.crop import box_around, crop_image, crop_labels
from hands.files.decoding import BrokenEntry
from hands.packed.disjoint import LeftOut, picture_digest
from hands.packed.manifest import record_side
from hands.parts import shows_part
from hands.raw.entries import Entry
from hands.raw.pictures import RawPictures


@dataclass(frozen=True)
class Task:
    """Some entries of one subset, in order. Entries of unpaired_masks are mask ids."""

    subset: str
    start: int
    entries: list[Entry | str | BrokenEntry | LeftOut]


@dataclass(frozen=True)
class Packed:
    hand_type: str
    path: str
    record: np.ndarray  # (C, P, P)
    digest: bytes  # of the picture's file; empty without one
    place: tuple[Box, tuple[int, int]] | None  # the box, and the picture's height and width; None without a picture


Result = Packed | BrokenEntry | LeftOut


def pack_task(pictures: RawPictures, size: int, channels: dict[str, int], task: Task) -> list[Result]:
    return [_pack_entry(pictures, size, channels[task.subset], entry) for entry in task.entries]


def _pack_entry(pictures: RawPictures, size: int, channels: int, entry: Entry | str | BrokenEntry | LeftOut) -> Result:
    if isinstance(entry, BrokenEntry | LeftOut):
        return entry
    try:
        if isinstance(entry, str):
            return _pack_masks(pictures, size, entry)
        return _pack_frame(pictures, size, channels == 5, entry)
    except BrokenEntry as error:
        return error


def _pack_frame(pictures: RawPictures, size: int, labelled: bool, entry: Entry) -> Packed:
    margin = (record_side(size) - size) // 2
    image = pictures.image(entry)
    try:
        record = crop_image(image, entry.box, size, margin).transpose(2, 0, 1)
    except BrokenEntry as error:
        raise BrokenEntry(error.reason, f"{entry.path}: {error}") from error
    if labelled:
        labels = crop_labels(_labels_of(pictures, entry, image.shape[:2]), entry.box, size, margin)
        record = np.concatenate([record, labels])
    digest, place = picture_digest(pictures.encoded_image(entry)), (entry.box, image.shape[:2])
    unsure = not labelled and entry.hand_type_valid is False  # then no hand is known to be absent
    return Packed("interacting" if unsure else entry.hand_type, entry.path, np.ascontiguousarray(record), digest, place)


def _labels_of(pictures: RawPictures, entry: Entry, shape: tuple[int, int]) -> np.ndarray:
    if entry.mask_id is None:
        raise BrokenEntry("labels missing", f"{entry.path} has no id in its path2id list; add it or remove the entry.")
    labels = pictures.labels(entry.mask_id)
    if labels.shape[1:] != shape:
        raise BrokenEntry(
            "labels of another size",
            f"{entry.path} is {shape[1]} x {shape[0]} pixels but its labels {entry.mask_id} are"
            f" {labels.shape[2]} x {labels.shape[1]}; they must be the same.",
        )
    return labels


def _pack_masks(pictures: RawPictures, size: int, mask_id: str) -> Packed:
    labels = pictures.labels(mask_id)
    box = box_around(labels)
    if box is None:
        raise BrokenEntry("labels empty", f"the unpaired labels {mask_id} show no part; remove the id from its list.")
    left, right = shows_part(labels).any(axis=(1, 2))
    hand_type = "interacting" if left and right else "left" if left else "right"
    record = crop_labels(labels, box, size, (record_side(size) - size) // 2)
    return Packed(hand_type, mask_id, record, digest=b"", place=None)
