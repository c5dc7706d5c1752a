"""Entries of the raw layout's lists, checked."""

import math
import re
from dataclasses import dataclass

import numpy as np

from hands.files.decoding import BrokenEntry
from hands.files.lmdb_files import MAX_KEY_BYTES
from hands.parts import HAND_TYPES

KEY_PREFIX = "data/InterHand2.6M/images/"
_EXTENSIONS = (".jpg", ".jpeg", ".png")
_REQUIRED = ("img_path", "bbox", "hand_type", "hand_type_valid", "seq_name", "capture", "cam", "frame")
_NUMBER = re.compile(r"[+-]?\d{1,18}")


@dataclass(frozen=True)
class Entry:
    """One image of a list.

    key: of the image in interhand.lmdb. path: after images/, no extension ('train/Capture0/<seq>/cam1/image2').
    box: x, y, w, h in pixels of the image (hands/files/crop.py has the convention); w and h are positive; may reach outside.
    hand_type: one of parts.HAND_TYPES. mask_id: names the labels, None where there are none.
    """

    key: str
    path: str
    box: tuple[float, float, float, float]
    hand_type: str
    hand_type_valid: bool
    seq_name: str
    capture: int
    cam: int
    frame: int
    mask_id: str | None


def read_entry(content: object, where: str, mask_ids: dict[str, str]) -> Entry:
    """Check one dict of a list. Keys that are not needed are ignored.

    Args:
        content: the dict as loaded.
        where: list and position, for errors.
        mask_ids: path -> mask id.

    Raises:
        BrokenEntry: a key is missing or its value cannot be used.
    """
    if not isinstance(content, dict):
        raise _broken(f"{where} is a {type(content).__name__}, not a dict")
    missing = [name for name in _REQUIRED if name not in content]
    if missing:
        raise _broken(f"{where} has no {', '.join(missing)}")
    key, path = read_image_path(content["img_path"], where)
    where = f"{where} ({path})"
    if not isinstance(content["hand_type"], str) or content["hand_type"] not in HAND_TYPES:
        raise _broken(f"{where} has hand_type {_shown(content['hand_type'])}; expected one of {', '.join(HAND_TYPES)}")
    return Entry(
        key=key,
        path=path,
        box=_box(content["bbox"], where),
        hand_type=content["hand_type"],
        hand_type_valid=bool(_integer(content["hand_type_valid"], "hand_type_valid", where)),
        seq_name=_text(content["seq_name"], "seq_name", where),
        capture=_integer(content["capture"], "capture", where),
        cam=_integer(content["cam"], "cam", where),
        frame=_integer(content["frame"], "frame", where),
        mask_id=mask_ids.get(path),
    )


def read_image_path(img_path: object, where: str) -> tuple[str, str]:
    """The LMDB key and the path after images/ without extension of an entry's `img_path`."""
    key = _text(img_path, "img_path", where).removeprefix("./")
    stem, dot, extension = key.removeprefix(KEY_PREFIX).rpartition(".")
    if not key.startswith(KEY_PREFIX) or dot + extension.lower() not in _EXTENSIONS or not is_plain_path(stem):
        raise _broken(f"{where} has img_path {_shown(img_path)}; expected './{KEY_PREFIX}<split>/CaptureN/.../imageF.jpg'")
    if len(key.encode()) > MAX_KEY_BYTES:
        raise _broken(f"{where} has an img_path of more than {MAX_KEY_BYTES} bytes")
    return key, stem


def is_plain_path(path: str) -> bool:
    """Whether `path` is relative, stays where it is put and fits on one line: no '..', backslash, control character."""
    return path.isprintable() and "\\" not in path and all(part not in ("", ".", "..") for part in path.split("/"))


def _box(content: object, where: str) -> tuple[float, float, float, float]:
    try:
        numbers = np.asarray(content, dtype=np.float64)
    except (TypeError, ValueError, RuntimeError, OverflowError):
        numbers = np.zeros(0)
    if numbers.shape != (4,):
        raise _broken(f"{where} has bbox {_shown(content)}; expected four numbers x, y, w, h")
    return check_box(numbers.tolist(), where)


def check_box(box: list[float], where: str) -> tuple[float, float, float, float]:
    """A box of four finite numbers with positive sides, none beyond a million pixels.

    Raises:
        BrokenEntry: otherwise.
    """
    x, y, w, h = box
    if not all(math.isfinite(number) and abs(number) <= 1e6 for number in box) or min(w, h) <= 0:
        raise _broken(f"{where} has bbox {_shown(box)}; expected finite x, y and positive w, h in pixels")
    return x, y, w, h


def _integer(content: object, name: str, where: str) -> int:
    if isinstance(content, str) and _NUMBER.fullmatch(content):
        return int(content)
    if isinstance(content, bool | int):
        return int(content)
    if isinstance(content, float) and content.is_integer():
        return int(content)
    raise _broken(f"{where} has {name} {_shown(content)}; expected a whole number")


def _text(content: object, name: str, where: str) -> str:
    if not isinstance(content, str) or not content.isprintable():
        raise _broken(f"{where} has {name} {_shown(content)}; expected a line of text")
    return content


def _shown(content: object) -> str:
    shown = f"{content!r}" if isinstance(content, str | int | float | list | tuple | bool) else type(content).__name__
    return shown if len(shown) <= 80 else shown[:77] + "..."


def _broken(what: str) -> BrokenEntry:
    return BrokenEntry("invalid entry", f"{what}; correct or remove the entry.")
