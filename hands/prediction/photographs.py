"""A folder of pictures: which are to be labelled, with which boxes, and which files are passed over."""

import os
from dataclasses import dataclass
from pathlib import Path

from hands.errors import InvalidInput
from hands.files.boxes import Box
from hands.files.decoding import BrokenEntry
from hands.files.photograph import Photograph
from hands.prediction.boxes_file import read_boxes

EXTENSIONS = (".png", ".jpg", ".jpeg", ".jfif", ".jpe", ".webp")
_MAX_FILE_BYTES = 256 << 20
_NAMED = 10  # files that a message names


@dataclass(frozen=True)
class Listed:
    """A picture to label. file: its path within the folder, with /. boxes: as given; none where they are to be found."""

    folder: Path
    file: str
    boxes: tuple[Box, ...]


@dataclass(frozen=True)
class Listing:
    """What a folder holds. without_box: pictures that the boxes file does not name. not_read: files that are no pictures."""

    photographs: list[Listed]
    without_box: list[str]
    not_read: list[str]


def list_photographs(folder: str | Path, boxes_file: str | Path | None) -> Listing:
    """The pictures of a folder and the folders in it, in order of path; hidden files and folders are passed over.

    Raises:
        InvalidInput: no such folder, no pictures in it, an unreadable boxes file, or one that names a file that is not there.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InvalidInput(f"{folder} is not a folder; give a folder of PNG, JPEG or WebP pictures.")
    boxes = {} if boxes_file is None else read_boxes(boxes_file)
    files = _files(folder)
    absent = sorted(boxes.keys() - set(files))
    if absent:
        raise InvalidInput(f"The boxes file names {named(absent)}, not in {folder}; correct the name or add the picture.")
    pictures = [file for file in files if (file.lower().endswith(EXTENSIONS) or file in boxes) and file.isprintable()]
    beside = None if boxes_file is None else Path(boxes_file).resolve()
    not_read = sorted(file for file in set(files) - set(pictures) if (folder / file).resolve() != beside)
    if not pictures:
        found = f" ({named(not_read)} cannot be read: save them as one of these)" if not_read else ""
        raise InvalidInput(f"{folder} has no {', '.join(EXTENSIONS)} files{found}; give a folder of pictures.")
    return Listing(
        [Listed(folder, file, tuple(boxes.get(file, ()))) for file in pictures],
        [file for file in pictures if boxes and file not in boxes],
        not_read,
    )


def listed_to_label(folder: str, boxes_file: str, out_dir: str) -> Listing:
    """list_photographs, for answers in `out_dir`; boxes_file: empty for none.

    Raises:
        InvalidInput: as list_photographs, or the answers would lie among the pictures.
    """
    listing = list_photographs(folder, boxes_file or None)
    if Path(out_dir).resolve().is_relative_to(Path(folder).resolve()):
        raise InvalidInput(f"out_dir {out_dir} lies in images {folder}: the next call would label it; give another folder.")
    return listing


def read_photograph(listed: Listed) -> Photograph:
    """The picture, its header read.

    Raises:
        BrokenEntry: it is missing, too large or no picture; the message names it.
    """
    file = listed.folder / listed.file
    try:
        if file.stat().st_size > _MAX_FILE_BYTES:
            raise BrokenEntry("picture too large", f"{file} is larger than {_MAX_FILE_BYTES >> 20} MiB; scale it down.")
        encoded = file.read_bytes()
    except OSError as error:
        raise BrokenEntry("unreadable picture", f"{file} cannot be read ({error.strerror}); see its permissions.") from error
    return Photograph(encoded, str(file))


def named(files: list[str]) -> str:
    """The first of many names."""
    shown = [file if file.isprintable() else ascii(file) for file in files[:_NAMED]]
    return ", ".join(shown) + (f" and {len(files) - _NAMED} more" if len(files) > _NAMED else "")


def _files(folder: Path) -> list[str]:
    found = []
    for parent, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        within = Path(parent).relative_to(folder)
        shown = [name for name in names if not name.startswith(".") and (Path(parent) / name).is_file()]
        found += [(within / name).as_posix() for name in shown]
    return sorted(found)
