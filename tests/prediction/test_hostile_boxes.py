"""Damaged and hostile bytes as boxes files and photographs: each ends in a value or in InvalidInput, never in anything else."""

import json
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from hands.files.boxes import square
from hands.prediction.boxes_file import read_boxes
from hands.prediction.photographs import list_photographs, read_photograph
from tests.hostile_input import ends_well, examples, mutated
from tests.raw.independent_layout import a_picture, jpeg, png

PNG, JPEG = png(a_picture(12, 9, 1)), jpeg(a_picture(12, 9, 1))
JSON_BOXES = json.dumps({"a.png": [1, 2, 3, 4.5], "b.jpg": [-1, 0, 30, 30]}).encode()
CSV_BOXES = b'file,x,y,w,h\na.png,1,2,3,4.5\n"b.jpg",-1,0,30,30\n'


def crops_of(folder: Path, boxes_file: Path) -> None:
    for listed in list_photographs(folder, boxes_file).photographs:
        for box in listed.boxes:
            read_photograph(listed).crop(square(box), 16)


@examples(900)
@given(mutated([JSON_BOXES, CSV_BOXES]), st.sampled_from(["boxes.json", "boxes.csv"]))
def test_boxes_files(tmp_path: Path, content: bytes, name: str):
    (tmp_path / name).write_bytes(content)
    (tmp_path / "a.png").write_bytes(PNG)
    (tmp_path / "b.jpg").write_bytes(JPEG)
    ends_well(lambda: read_boxes(tmp_path / name))
    ends_well(lambda: crops_of(tmp_path, tmp_path / name))
