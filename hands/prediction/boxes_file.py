"""A file that says where the hands are in the pictures of a folder.

JSON: {"file": [x, y, w, h], ...}, or a list of such boxes where several people are in a picture. CSV: lines
`file,x,y,w,h`, several for one file where several people are in it; a first line that says so is skipped. Files are named
as they lie in the folder, with / between folders. Boxes are in pixels of the picture as viewers show it, the hands within
about the central four fifths, and are made square about their centre.
"""

import csv
import json
from collections.abc import Iterable
from pathlib import Path

from hands.errors import InvalidInput, shown
from hands.files.boxes import Box, check_box
from hands.raw.entries import is_plain_path

_MAX_BYTES = 16 << 20
_COLUMNS = ["file", "x", "y", "w", "h"]


def read_boxes(boxes_file: str | Path) -> dict[str, list[Box]]:
    """File -> its boxes, as they are written, in the file's order.

    Raises:
        InvalidInput: missing, neither JSON nor CSV of this form, empty, or a name that leaves the folder.
    """
    file = Path(boxes_file)
    try:
        if file.stat().st_size > _MAX_BYTES:
            raise InvalidInput(f"{file} is larger than {_MAX_BYTES >> 20} MiB; split it.")
        text = file.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise InvalidInput(f"{file} cannot be read ({error.strerror}); give a JSON or CSV file of boxes.") from error
    except UnicodeDecodeError as error:
        raise InvalidInput(f"{file} is not UTF-8 text; give a JSON or CSV file of boxes.") from error
    boxes: dict[str, list[Box]] = {}
    for name, numbers in _json_rows(text, file) if file.suffix.lower() == ".json" else _csv_rows(text, file):
        if not is_plain_path(name) or len(name.encode()) > 4096:
            raise InvalidInput(
                f"{file} names {shown(name)}; expected names of files in the folder of pictures, or of folders in it, such as"
                " a.jpg or b/a.jpg."
            )
        boxes.setdefault(name, []).append(_box(numbers, f"{file}: {shown(name)}"))
    if not boxes:
        raise InvalidInput(f"{file} holds no boxes; expected a file name and x, y, w, h for each picture.")
    return boxes


def _box(numbers: object, where: str) -> Box:
    if not isinstance(numbers, list) or len(numbers) != 4 or any(type(number) not in (int, float) for number in numbers):
        raise InvalidInput(f"{where} has {shown(numbers)} for a box; expected four numbers x, y, w, h.")
    try:
        return check_box([float(number) for number in numbers], where)
    except OverflowError as error:
        raise InvalidInput(f"{where} has a number beyond any picture in its box; correct it.") from error


def _json_rows(text: str, file: Path) -> Iterable[tuple[str, object]]:
    try:
        content = json.loads(text, object_pairs_hook=_Pairs)  # a dict would keep the last of two boxes
    except (ValueError, RecursionError) as error:
        raise InvalidInput(f'{file} is not JSON; expected {{"file": [x, y, w, h], ...}}.') from error
    if not isinstance(content, _Pairs):
        raise InvalidInput(f'{file} is not a JSON object; expected {{"file": [x, y, w, h], ...}}.')
    for name, value in content:
        several = isinstance(value, list) and value and all(isinstance(box, list) for box in value)
        yield from ((name, box) for box in (value if several else [value]))


class _Pairs(list):
    """A JSON object's names and values, in order."""


def _csv_rows(text: str, file: Path) -> Iterable[tuple[str, object]]:
    rows: list[tuple[str, object]] = []
    lines = csv.reader(text.splitlines(), strict=True)
    try:
        for row in lines:
            if not row or (not rows and [cell.strip().lower() for cell in row] == _COLUMNS):
                continue
            name, *cells = row
            if len(cells) != len(_COLUMNS) - 1:
                raise ValueError("other than four numbers")
            rows.append((name, [float(cell) for cell in cells]))
    except (csv.Error, ValueError) as error:
        raise InvalidInput(f"{file}, line {lines.line_num}, is not `file,x,y,w,h`; correct it.") from error
    return rows
