"""Ordinary pictures in a folder, with or without a file of boxes, to crops the network reads, and labels back to pictures.

The boxes file is JSON, {"file name": [x, y, w, h], ...}, or CSV with lines `file name,x,y,w,h` (a first line that says
file,x,y,w,h is skipped). Boxes are in pixels of the picture as viewers show it, the hands within about the central
four fifths, and are made square about their centre. Without a boxes file a picture's box is the square around all of it.
EXIF orientation is honoured, for a phone's upright pictures are often stored lying down.
"""

import csv
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from hands.errors import InvalidInput, shown
from hands.files.crop import Box, crop_image, uncrop_labels
from hands.files.decoding import BrokenEntry, decode_image
from hands.raw.entries import check_box

EXTENSIONS = (".png", ".jpg", ".jpeg")
_MAX_FILE_BYTES = 256 << 20
_MAX_BOXES_BYTES = 16 << 20


@dataclass(frozen=True)
class Photograph:
    """A picture to predict. file: its name within the folder. box: given, or None for the square around all of it."""

    folder: Path
    file: str
    box: Box | None


@dataclass(frozen=True)
class PhotographBatch:
    """Decoded pictures and their crops.

    files: N names. pictures: N arrays (H, W, 3) uint8 RGB, each of its own size. boxes: N squares x, y, w, h.
    crops: (N, 3, size, size) uint8 RGB.
    """

    files: list[str]
    pictures: list[np.ndarray]
    boxes: list[Box]
    crops: torch.Tensor


def list_photographs(folder: str | Path, boxes_file: str | Path | None) -> list[Photograph]:
    """The PNG and JPEG files of a folder in order of name; with a boxes file, the files it names, in its order.

    Raises:
        InvalidInput: no such folder, no pictures in it, an unreadable boxes file, or one that names a file outside the folder.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InvalidInput(f"{folder} is not a folder; give a folder of PNG or JPEG pictures.")
    if boxes_file is not None:
        return [_boxed(folder, file, box) for file, box in read_boxes(boxes_file).items()]
    files = sorted(file.name for file in folder.iterdir() if file.suffix.lower() in EXTENSIONS and file.is_file())
    if not files:
        raise InvalidInput(f"{folder} has no .png, .jpg or .jpeg files; give a folder of pictures.")
    return [Photograph(folder, file, None) for file in files]


def read_boxes(boxes_file: str | Path) -> dict[str, Box]:
    """File name -> square box of a boxes file.

    Raises:
        InvalidInput: missing, neither JSON nor CSV of this form, empty, or a name that is not a plain file name.
    """
    file = Path(boxes_file)
    try:
        if file.stat().st_size > _MAX_BOXES_BYTES:
            raise InvalidInput(f"{file} is larger than {_MAX_BOXES_BYTES >> 20} MiB; split it.")
        text = file.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise InvalidInput(f"{file} cannot be read ({error.strerror}); give a JSON or CSV file of boxes.") from error
    except UnicodeDecodeError as error:
        raise InvalidInput(f"{file} is not UTF-8 text; give a JSON or CSV file of boxes.") from error
    rows = _json_rows(text, file) if file.suffix.lower() == ".json" else _csv_rows(text, file)
    boxes = {name: _square_box(numbers, f"{file}: {shown(name)}") for name, numbers in rows}
    if not boxes:
        raise InvalidInput(f"{file} holds no boxes; expected a file name and x, y, w, h for each picture.")
    for name in boxes:
        if not _is_file_name(name):
            raise InvalidInput(f"{file} names {shown(name)}; expected files of the folder of pictures, without a path.")
    return boxes


def read_photographs(photographs: list[Photograph], size: int, batch_size: int) -> Iterator[PhotographBatch]:
    """Decode and crop pictures, a batch at a time.

    Raises:
        InvalidInput: a picture is missing, damaged or too large, or its box lies outside it; the message names it.
    """
    for start in range(0, len(photographs), batch_size):
        batch = photographs[start : start + batch_size]
        pictures = [_read(photograph) for photograph in batch]
        boxes = [photograph.box or whole_picture(picture) for photograph, picture in zip(batch, pictures, strict=True)]
        crops = [_crop(*item, size) for item in zip(batch, pictures, boxes, strict=True)]
        tensor = torch.from_numpy(np.stack(crops)).permute(0, 3, 1, 2).contiguous()
        yield PhotographBatch([photograph.file for photograph in batch], pictures, boxes, tensor)


def to_picture(labels: torch.Tensor, box: Box, shape: tuple[int, int]) -> torch.Tensor:
    """Put (2, S, S) uint8 labels of a crop of `box` into its picture of `shape` (H, W): (2, H, W) uint8, zero elsewhere."""
    return torch.from_numpy(uncrop_labels(labels.numpy(), box, *shape))


def _boxed(folder: Path, file: str, box: Box) -> Photograph:
    if not (folder / file).is_file():
        raise InvalidInput(f"The boxes file names {file}, which is not in {folder}; correct the name or add the picture.")
    return Photograph(folder, file, box)


def _read(photograph: Photograph) -> np.ndarray:
    file = photograph.folder / photograph.file
    try:
        if file.stat().st_size > _MAX_FILE_BYTES:
            raise InvalidInput(f"{file} is larger than {_MAX_FILE_BYTES >> 20} MiB; scale it down.")
        encoded = file.read_bytes()
    except OSError as error:
        raise InvalidInput(f"{file} cannot be read ({error.strerror}); check its name and permissions.") from error
    return decode_image(encoded, str(file), upright=True)


def _crop(photograph: Photograph, picture: np.ndarray, box: Box, size: int) -> np.ndarray:
    try:
        return crop_image(picture, box, size, 0)
    except BrokenEntry as error:
        raise InvalidInput(f"{photograph.folder / photograph.file}: {error}") from error


def whole_picture(picture: np.ndarray) -> Box:
    """The square around all of a picture (H, W, 3)."""
    height, width = picture.shape[:2]
    return square((0.0, 0.0, float(width), float(height)))


def square(box: Box) -> Box:
    """The box made square about its centre, by its longer side."""
    x, y, w, h = box
    side = max(w, h)
    return x + (w - side) / 2, y + (h - side) / 2, side, side


def _square_box(numbers: object, where: str) -> Box:
    if not isinstance(numbers, list) or len(numbers) != 4 or any(type(number) not in (int, float) for number in numbers):
        raise InvalidInput(f"{where} has {shown(numbers)} for a box; expected four numbers x, y, w, h.")
    try:
        box = [float(number) for number in numbers]
    except OverflowError as error:
        raise InvalidInput(f"{where} has a number beyond any picture in its box; correct it.") from error
    return square(check_box(box, where))


def _is_file_name(name: str) -> bool:
    return (
        name.isprintable() and name not in ("", ".", "..") and "/" not in name and "\\" not in name and len(name.encode()) < 256
    )


def _json_rows(text: str, file: Path) -> list[tuple[str, object]]:
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidInput(f'{file} is not JSON; expected {{"file name": [x, y, w, h], ...}}.') from error
    if not isinstance(content, dict):
        raise InvalidInput(f'{file} is not a JSON object; expected {{"file name": [x, y, w, h], ...}}.')
    return list(content.items())


def _csv_rows(text: str, file: Path) -> list[tuple[str, object]]:
    rows: list[tuple[str, object]] = []
    lines = csv.reader(text.splitlines(), strict=True)
    try:
        for row in lines:
            if not row or (not rows and [cell.strip().lower() for cell in row] == ["file", "x", "y", "w", "h"]):
                continue
            name, *cells = row
            if len(cells) != 4:
                raise InvalidInput(f"{file}: {shown(name)} has {len(cells)} numbers; expected four numbers x, y, w, h.")
            rows.append((name, [float(cell) for cell in cells]))
    except (csv.Error, ValueError) as error:
        raise InvalidInput(f"{file}, line {lines.line_num}, is not `file name,x,y,w,h`; correct it.") from error
    return rows
