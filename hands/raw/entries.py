"""Entries of the raw layout's lists, checked."""

import math
import re
import sys
from dataclasses import dataclass

from hands.errors import shown
from hands.files.boxes import Box, check_box
from hands.files.decoding import BrokenEntry
from hands.files.lmdb_files import MAX_KEY_BYTES
from hands.files.pickles import Named, Thing
from hands.parts import HAND_TYPES
from hands.raw.plain_values import one, several, shape_of

KEY_PREFIX = "data/InterHand2.6M/images/"
_EXTENSIONS = (".jpg", ".jpeg", ".png")
_REQUIRED = ("img_path", "bbox", "hand_type")
READ = frozenset((*_REQUIRED, "hand_type_valid", "seq_name", "capture", "cam", "frame"))
_NUMBER = re.compile(r"[+-]?(\d{1,18}\.?\d{0,18}|\.\d{1,18})(e[+-]?\d{1,3})?", re.ASCII | re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Entry:
    """One image of a list.

    key: of the image in interhand.lmdb.
    box: x, y, w, h in pixels of the image (hands/files/crop.py has the convention); w and h are positive; may reach outside.
    hand_type: one of parts.HAND_TYPES. mask_id: names the labels, None where there are none.
    hand_type_valid, seq_name, capture, cam, frame: as the list says, None where it says nothing that can be used.
    """

    key: str
    box: Box
    hand_type: str
    mask_id: str | None
    hand_type_valid: bool | None
    seq_name: str | None
    capture: int | None
    cam: int | None
    frame: int | None

    @property
    def path(self) -> str:
        """After images/, without extension: 'train/Capture0/<seq>/cam1/image2'."""
        return self.key[len(KEY_PREFIX) :].rpartition(".")[0]


def read_entry(content: object, where: str, mask_ids: dict[str, str]) -> Entry:
    """Check one dict of a list. Keys that are not in READ are ignored.

    Args:
        content: the dict as `pt_lists.read_list` gives it. What numpy or torch call one number or text is one.
        where: list and position, for errors.
        mask_ids: path -> mask id.

    Raises:
        BrokenEntry: a required key is missing or its value cannot be used.
    """
    if type(content) is not dict and not (isinstance(content, Thing) and content):
        raise _broken(f"{where} is {_shown(content)}, not a dict")
    missing = [name for name in _REQUIRED if name not in content]
    if missing:
        raise _broken(f"{where} has no {', '.join(missing)}")
    key, path = read_image_path(one(content["img_path"]), where)
    where = f"{where} ({path})"
    hand_type = one(content["hand_type"])
    if not isinstance(hand_type, str) or hand_type not in HAND_TYPES:
        raise _broken(f"{where} has hand_type {_shown(hand_type)}; expected one of {', '.join(HAND_TYPES)}")
    valid = _whole(content.get("hand_type_valid"))
    return Entry(
        key=key,
        box=_box(content["bbox"], where),
        hand_type=HAND_TYPES[HAND_TYPES.index(hand_type)],  # one text for all entries
        mask_id=mask_ids.get(path),
        hand_type_valid=None if valid is None else bool(valid),
        seq_name=_line(content.get("seq_name")),
        capture=_whole(content.get("capture")),
        cam=_whole(content.get("cam")),
        frame=_whole(content.get("frame")),
    )


def read_image_path(img_path: object, where: str) -> tuple[str, str]:
    """The LMDB key and the path after images/ without extension of an entry's `img_path`, whatever folder it begins with."""
    start = img_path.find(KEY_PREFIX) if isinstance(img_path, str) else -1
    if start < 0 or (start and img_path[start - 1] != "/"):
        raise _broken(f"{where} has img_path {_shown(img_path)}; expected './{KEY_PREFIX}<split>/CaptureN/.../imageF.jpg'")
    key = img_path[start:]
    stem, dot, extension = key.removeprefix(KEY_PREFIX).rpartition(".")
    if dot + extension.lower() not in _EXTENSIONS or not is_plain_path(stem):
        raise _broken(f"{where} has img_path {_shown(img_path)}; expected './{KEY_PREFIX}<split>/CaptureN/.../imageF.jpg'")
    if len(key.encode()) > MAX_KEY_BYTES:
        raise _broken(f"{where} has an img_path of more than {MAX_KEY_BYTES} bytes")
    return key, stem


def is_plain_path(path: str) -> bool:
    """Whether `path` is relative, stays where it is put and fits on one line: no '..', backslash, control character."""
    return path.isprintable() and "\\" not in path and all(part not in ("", ".", "..") for part in path.split("/"))


def _box(content: object, where: str) -> Box:
    values = several(content)
    if values is not None and len(values) == 1:
        values = several(values[0])  # [[x, y, w, h]]
    numbers = [_number(value) for value in values] if values is not None and len(values) == 4 else [None]
    if None in numbers:
        raise _broken(f"{where} has bbox {_shown(content)}; expected four numbers x, y, w, h")
    return check_box([float(number) for number in numbers], where)


def _number(value: object) -> int | float | None:
    """A number, or the number that a text says; None for anything else."""
    if isinstance(value, str) and len(value) <= 40 and _NUMBER.fullmatch(value):
        value = int(value) if value.lstrip("+-").isdecimal() else float(value)
    return value if isinstance(value, int | float) else None


def _whole(value: object) -> int | None:
    number = _number(one(value))
    return int(number) if number is not None and math.isfinite(number) and int(number) == number else None


def _line(value: object) -> str | None:
    value = one(value)
    return sys.intern(value) if type(value) is str and value.isprintable() else None


def _shown(value: object) -> str:
    return f"a {value.name}" if isinstance(value, Thing | Named) else shape_of(value) or shown(value)


def _broken(what: str) -> BrokenEntry:
    return BrokenEntry("invalid entry", f"{what}; correct or remove the entry.")
