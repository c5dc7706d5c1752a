"""The index of a packed set: what it says of a record's labels, and that a damaged record is refused by its checksum."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from hands.errors import InvalidInput
from hands.packed.batches import BatchStream, RecordReader, Shard
from hands.packed.index import checksums
from hands.packed.packed_set import PackedSet
from hands.packed.packed_writer import PackedWriter
from hands.raw.provenance import UNKNOWN
from tests.packed.blobs import CHANNELS, SIZE
from tests.project import invoke

CPU = torch.device("cpu")
SIDE = SIZE * 5 // 4


@pytest.fixture
def packed(tiny_packed: PackedSet, tmp_path: Path) -> PackedSet:
    """A copy of the tiny packed set that may be damaged."""
    return PackedSet.open(shutil.copytree(tiny_packed.folder, tmp_path / "packed"))


def change_byte(packed: PackedSet, subset: str, number: int, offset: int, value: int) -> None:
    """As a failing disk does it: in the file, past LMDB."""
    record = packed.subset(subset).read([number], None).numpy().tobytes()
    assert record[offset] != value
    file = packed.folder / "records.lmdb" / "data.mdb"
    assert file.read_bytes().count(record) == 1
    with file.open("r+b") as opened:
        opened.seek(file.read_bytes().index(record) + offset)
        opened.write(bytes([value]))


def read(packed: PackedSet, subset: str, residency: str) -> torch.Tensor:
    reader = RecordReader(packed.subset(subset), residency, CPU)
    return reader.read(np.arange(len(reader.subset)))


A_LABEL, A_COLOUR = 3 * SIDE * SIDE + 17, 5


@pytest.mark.parametrize("residency", ["disk", "device"])
@pytest.mark.parametrize(
    ("subset", "offset", "value"),
    [
        ("train", A_LABEL, 200),  # no part: a device assert on CUDA
        ("train", A_LABEL, 9),  # a part, but not the one that was written
        ("train", A_COLOUR, 255),
        ("unpaired_images", A_COLOUR, 255),
        ("unpaired_masks", 17, 77),
        ("val", A_LABEL, 16),
    ],
)
def test_one_changed_byte_is_refused_by_the_record_s_name(packed: PackedSet, residency, subset, offset, value):
    change_byte(packed, subset, 3, offset, value)
    name = packed.subset(subset).paths[3]
    with pytest.raises(InvalidInput, match=f"record 3 of {subset}, {name}, is not what `prepare` wrote.*make it again"):
        read(packed, subset, residency)


def test_records_beside_a_damaged_one_are_read(packed: PackedSet, tiny_packed: PackedSet):
    change_byte(packed, "train", 3, A_LABEL, 200)
    others = [0, 11, 2]
    assert torch.equal(packed.subset("train").read(others, None), tiny_packed.subset("train").read(others, None))


def test_views_name_the_record_as_it_is_stored(packed: PackedSet):
    change_byte(packed, "val", 1, A_LABEL, 200)
    with pytest.raises(InvalidInput, match="record 1 of trainval, val/Capture0/val/cam400000/image1, is not"):
        packed.subset("trainval").read([13], None)
    with pytest.raises(InvalidInput, match="record 1 of minival, val/Capture0/val/cam400000/image1, is not"):
        packed.subset("minival").read([0, 1], None)


def test_several_damaged_records_are_counted(packed: PackedSet):
    for number in (4, 2, 9):
        change_byte(packed, "train", number, A_LABEL, 200)
    with pytest.raises(InvalidInput, match=r"record 2 of train, .*image2 \(and 2 of the records read with it\)"):
        packed.subset("train").read(range(12), None)


def test_a_step_s_batches_are_compared_too(packed: PackedSet):
    change_byte(packed, "train", 5, A_LABEL, 200)
    stream = BatchStream(RecordReader(packed.subset("train"), "disk", CPU), 4, 0, 0, Shard(0, 1))
    with pytest.raises(InvalidInput, match="record 5 of train"):
        list(stream.batches(0, stream.steps_per_epoch))


def test_a_damaged_set_fails_in_one_sentence(packed: PackedSet, logged, store):
    change_byte(packed, "val", 0, A_LABEL, 200)
    result = invoke("evaluate", model=logged.g2_uri, packed_dir=packed.folder, split="val")
    assert result.exit_code == 1 and "Traceback" not in result.output
    assert "record 0 of val, val/Capture0/val/cam400000/image0, is not what `prepare` wrote" in result.output


def test_checksums_by_hand():
    records = np.zeros((3, 16), np.uint8)
    records[0, 0] = 1
    records[1, [1, 9]] = 2, 3  # the second byte of a little-endian word counts 256
    records[2] = 255  # 2 * (2 ** 64 - 1), modulo 2 ** 64
    assert checksums(records).tolist() == [1, 5 * 256, 2**64 - 2]


@pytest.mark.parametrize("byte", [0, 7, 8, 12799])
def test_any_other_byte_changes_the_checksum(byte: int):
    record = np.random.default_rng(0).integers(0, 256, (1, 12800), dtype=np.uint8)
    before = checksums(record)
    values = {int(checksums(np.where(np.arange(12800) == byte, np.uint8(value), record))[0]) for value in range(256)}
    assert len(values) == 256 and int(before[0]) in values


# What is said of the labels


def test_the_index_counts_parts_overlap_and_absent_hands(tmp_path: Path):
    """Of the central 32 x 32 of the record's 40 x 40."""
    margin = 4
    labels = np.zeros((4, 2, SIDE, SIDE), np.uint8)
    labels[0, 0, margin, margin : margin + 7] = 3  # 7 pixels of a part, 2 of another
    labels[0, 0, margin + 1, margin : margin + 2] = 16
    labels[0, 1, margin, margin + 5 : margin + 9] = 1  # 4 pixels of the right hand, 2 of them over the left one
    labels[1, 1, : margin, :] = 5  # in the margin alone
    labels[2, 1, 20, 20] = 9
    picture = np.ones((3, SIDE, SIDE), np.uint8)
    with PackedWriter(tmp_path, SIZE, CHANNELS) as writer:
        for position, hands in enumerate(labels):
            writer.add("val", position, "interacting", f"val/{position}", np.concatenate([picture, hands]))
            writer.add("unpaired_images", position, "left", f"train/{position}", picture)
            writer.add("unpaired_masks", position, "left", f"{position}", hands)
        counts = dict.fromkeys(CHANNELS, 0) | dict.fromkeys(("val", "unpaired_images", "unpaired_masks"), 4)
        writer.finish("bgr", "0" * 32, counts, {name: {} for name in CHANNELS}, (UNKNOWN,))
    for name in ("val", "unpaired_masks"):
        index = PackedSet.open(tmp_path).subset(name).index
        assert index.parts.tolist() == [1 << 3 | 1 << 16 | 1 << 1, 0, 1 << 9, 0]
        assert index.part_pixels.tolist() == [[7, 4], [0, 0], [0, 1], [0, 0]]
        assert index.overlap_pixels.tolist() == [2, 0, 0, 0]
        assert index.absent.tolist() == [[False, False], [True, True], [True, False], [True, True]]
    index = PackedSet.open(tmp_path).subset("unpaired_images").index
    assert not index.parts.any() and not index.part_pixels.any() and not index.overlap_pixels.any() and not index.absent.any()


@pytest.mark.parametrize("line", [
    "0 left val/0 00 0 0 0 0 0", "0 left val/0 -1 0 0 0 0 0 0", "0 left val/0 fffffffffffffffff 0 0 0 0 0 0",
    "0 both val/0 00 0 0 0 0 0 0", "-1 left val/0 00 0 0 0 0 0 0", "0 left val/0 00 0 many 0 0 0 0", "0 left val/0",
])  # fmt: skip
def test_a_damaged_line_is_refused(packed: PackedSet, line: str):
    file = packed.folder / "index" / "val.tsv"
    lines = file.read_text().splitlines()
    file.write_text("\n".join([lines[0], line.replace(" ", "\t"), *lines[2:]]) + "\n")
    with pytest.raises(InvalidInput, match="val.tsv, line 2, is damaged"):
        packed.subset("val")
