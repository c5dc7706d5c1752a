"""The pictures of one split of a release: its data file as compact columns."""

from array import array
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hands.errors import InvalidInput
from hands.interhand.json_files import field, integer, numbers, records, text
from hands.parts import HAND_TYPES
from hands.raw.entries import is_plain_path

_MAX_SIDE, _MAX_INT32 = 8192, (1 << 31) - 1
_CODED = ("seq_name", "camera")
_FIELDS = {
    "images": frozenset(("id", "file_name", "width", "height", "capture", "subject", "frame_idx", *_CODED)),
    "annotations": frozenset(("image_id", "hand_type", "hand_type_valid", "bbox")),
}

Moment = tuple[str, str]  # capture and frame as the JSON files' keys


@dataclass(frozen=True)
class Frames:
    """Columns over the N pictures of one split that have an annotation. About 300 bytes a picture."""

    file_names: list[str]  # below images/<split>
    widths: np.ndarray  # (N,) int32 pixels
    heights: np.ndarray  # (N,)
    captures: np.ndarray  # (N,) int32
    subjects: np.ndarray  # (N,)
    frames: np.ndarray  # (N,)
    sequences: np.ndarray  # (N,) index into sequence_names
    cameras: np.ndarray  # (N,) index into camera_names
    sequence_names: list[str]
    camera_names: list[str]
    hand_types: np.ndarray  # (N,) int8 index into parts.HAND_TYPES
    hand_types_valid: np.ndarray  # (N,) bool
    boxes: np.ndarray  # (N, 4) float32 x, y, w, h: 1.2 x the extent of the valid projected joints
    without_annotation: int  # pictures left out

    def moment(self, position: int) -> Moment:
        return str(self.captures[position]), str(self.frames[position])


class _Columns:
    """The two lists of a data file as compact columns."""

    def __init__(self, file: Path):
        self._file = file
        self.names: list[str] = []
        self.ids = array("q")
        self.images = {name: array("i") for name in ("width", "height", "capture", "subject", "frame_idx", *_CODED)}
        self.codes: dict[str, dict[str, int]] = {name: {} for name in _CODED}
        self.annotated, self.hand_types, self.valid, self.boxes = array("q"), array("b"), array("b"), array("f")
        for name, position, record in records(file, _FIELDS):
            where = f"{file.name}: {name}[{position}]"
            if name == "images":
                self._add_image(record, where)
            else:
                self._add_annotation(record, where)

    def _add_image(self, record: object, where: str) -> None:
        self.ids.append(integer(record, "id", where, 1 << 62))
        self.names.append(_picture_name(record, where))
        for key in ("width", "height"):
            self.images[key].append(integer(record, key, where, _MAX_SIDE))
        for key in ("capture", "subject", "frame_idx"):
            self.images[key].append(integer(record, key, where, _MAX_INT32))
        for key in _CODED:
            codes = self.codes[key]
            self.images[key].append(codes.setdefault(_folder_name(record, key, where), len(codes)))

    def _add_annotation(self, record: object, where: str) -> None:
        self.annotated.append(integer(record, "image_id", where, 1 << 62))
        hand_type = text(record, "hand_type", where)
        if hand_type not in HAND_TYPES:
            raise InvalidInput(f"{where} has hand_type '{hand_type}'; expected one of {', '.join(HAND_TYPES)}.")
        self.hand_types.append(HAND_TYPES.index(hand_type))
        self.valid.append(bool(field(record, "hand_type_valid", where)))
        self.boxes.extend(numbers(record, "bbox", (4,), where))


def read_frames(file: Path) -> Frames:
    """All pictures of a data file that have an annotation, by image id.

    Raises:
        InvalidInput: the file cannot be read, or lacks a key: both are named.
    """
    columns = _Columns(file)
    ids, annotated = np.array(columns.ids, np.int64), np.array(columns.annotated, np.int64)
    if not len(ids) or not len(annotated) or len(np.unique(ids)) != len(ids):
        raise InvalidInput(
            f"{file} lists {len(ids)} images and {len(annotated)} annotations; expected some of both, and no image twice."
        )
    order = np.argsort(annotated, kind="stable")
    place = np.searchsorted(annotated[order], ids).clip(max=len(order) - 1)
    kept = np.flatnonzero(annotated[order][place] == ids)
    kept = kept[np.argsort(ids[kept])]
    rows = order[place[kept]]
    values = {name: np.array(column, np.int32)[kept] for name, column in columns.images.items()}
    return Frames(
        file_names=[columns.names[i] for i in kept],
        widths=values["width"],
        heights=values["height"],
        captures=values["capture"],
        subjects=values["subject"],
        frames=values["frame_idx"],
        sequences=values["seq_name"],
        cameras=values["camera"],
        sequence_names=list(columns.codes["seq_name"]),
        camera_names=list(columns.codes["camera"]),
        hand_types=np.array(columns.hand_types, np.int8)[rows],
        hand_types_valid=np.array(columns.valid, bool)[rows],
        boxes=np.array(columns.boxes, np.float32).reshape(-1, 4)[rows],
        without_annotation=len(ids) - len(kept),
    )


def _picture_name(record: object, where: str) -> str:
    name = text(record, "file_name", where)
    if not is_plain_path(name):
        raise InvalidInput(f"{where} has file_name '{name}'; expected a path below images/ without '..'.")
    return name


def _folder_name(record: object, key: str, where: str) -> str:
    name = text(record, key, where)
    if not is_plain_path(name) or "/" in name:
        raise InvalidInput(f"{where} has {key} '{name}'; expected a name without '/'.")
    if key == "camera" and not (name.isascii() and name.isdecimal() and len(name) <= 18):
        raise InvalidInput(f"{where} has camera '{name}'; expected digits.")
    return name
