"""Damaged and hostile bytes as lists and their entries: each ends in a value or in InvalidInput, never in anything else."""

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hands.files.crop import crop_image, crop_labels
from hands.raw.entries import READ, Entry, read_entry
from hands.raw.pt_lists import read_dict, read_list
from tests.hostile_input import any_value, ends_well, examples, mutated, pickle_of, with_pickle
from tests.raw.independent_layout import a_picture, an_entry, some_labels

PICTURE = a_picture(12, 9, 1)


def saved(content: object) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()


LISTS = [
    saved([an_entry(f"val/a{k}", [0, 0, 9, 9], capture=np.int64(1)) for k in range(3)]),
    saved({"val/a0": "0001", "val/a1": np.str_("0002")}),
    saved(["0001", 2]),
]


@examples(500)
@given(mutated(LISTS))
def test_lists(tmp_path: Path, content: bytes):
    file = tmp_path / "list.pt"
    file.write_bytes(content)
    ends_well(lambda: read_entries(file))
    ends_well(lambda: dict(read_dict(file)))


def read_entries(file: Path) -> list[Entry]:
    return [read_entry(content, f"entry {position}", {}) for position, content in enumerate(read_list(file, READ))]


@examples(500)
@given(mutated([pickle_of(archive) for archive in LISTS]))
def test_lists_whose_pickle_is_damaged(tmp_path: Path, content: bytes):
    file = tmp_path / "list.pt"
    file.write_bytes(with_pickle(LISTS[0], lambda _: content))
    ends_well(lambda: read_entries(file))


FIELDS = ("img_path", "bbox", "hand_type", "hand_type_valid", "seq_name", "capture", "cam", "frame")


@examples(300)
@given(st.sampled_from(FIELDS), any_value)
def test_entries_with_any_value_in_a_field(tmp_path: Path, field: str, value: object):
    file = tmp_path / "list.pt"
    torch.save([an_entry("val/a", [0, 0, 9, 9]) | {field: value}], file)
    ends_well(lambda: read_entries(file))


def test_a_list_that_holds_itself(tmp_path: Path):
    content: list = []
    content.append(content)
    torch.save(content, tmp_path / "list.pt")
    ends_well(lambda: read_entries(tmp_path / "list.pt"))
    torch.save([an_entry("val/a", [0, 0, 9, 9]) | {"bbox": content}], tmp_path / "list.pt")
    ends_well(lambda: read_entries(tmp_path / "list.pt"))


@examples(200)
@given(st.tuples(*[st.floats(-3e6, 3e6) | st.floats() | st.sampled_from([0.0, 1e-30, 5.0])] * 4))
def test_any_box_around_a_picture(tmp_path_factory: pytest.TempPathFactory, box: tuple[float, ...]):
    def read() -> None:
        entry = read_entry(an_entry("val/a", []) | {"bbox": np.array(box, np.float32).tolist()}, "entry 0", {})
        assert isinstance(entry, Entry)
        crop_image(PICTURE, entry.box, 16, 2)
        crop_labels(some_labels(12, 9, 1), entry.box, 16, 2)

    with np.errstate(over="ignore"):
        ends_well(read)
