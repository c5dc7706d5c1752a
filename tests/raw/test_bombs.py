"""Small lists that would grow without bound: each is refused, or read for what it is, in little time and memory."""

import pickle
import struct
import zipfile
from pathlib import Path

import pytest
import torch

from hands.raw.entries import READ, read_entry
from hands.raw.layout import LISTS, MASK_IDS, UNPAIRED_IDS, RawDataset
from hands.raw.pt_lists import read_dict, read_list
from tests.bounded import RETURNED, bounded
from tests.raw.independent_layout import an_entry, small_set
from tests.raw.nested import DEEP, WIDE, shared

ENTRY = an_entry("val/a", [0, 0, 9, 9])
HEAD = b"\x80\x02"



def archive(tmp_path: Path, content: bytes, compression: int = zipfile.ZIP_STORED) -> Path:
    """A file as torch.save writes it, of any pickle."""
    file = tmp_path / "list.pt"
    with zipfile.ZipFile(file, "w", compression) as target:
        target.writestr("archive/data.pkl", content)
    return file


def entries(file: Path) -> list:
    return [read_entry(content, f"entry {position}", {}) for position, content in enumerate(read_list(file, READ))]


@pytest.mark.parametrize(("field", "said"), [
    ("bbox", "entry 0 (val/a) has bbox a list of 2; expected four numbers"),
    ("hand_type", "entry 0 (val/a) has hand_type a list of 2; expected one of left, right, interacting"),
    ("img_path", "entry 0 has img_path a list of 2; expected './data/InterHand2.6M/images/"),
    ("hand_type_valid", RETURNED), ("seq_name", RETURNED), ("cam", RETURNED), ("joints", RETURNED),
])  # fmt: skip
def test_lists_within_lists(tmp_path: Path, field: str, said: str):
    torch.save([ENTRY | {field: shared()}], tmp_path / "list.pt")
    assert (tmp_path / "list.pt").stat().st_size < 4000
    assert bounded(lambda: entries(tmp_path / "list.pt")).startswith(said)


def test_four_lists_within_lists_as_a_box(tmp_path: Path):
    torch.save([ENTRY | {"bbox": [shared()] * 4}], tmp_path / "list.pt")
    assert "bbox a list of 4" in bounded(lambda: entries(tmp_path / "list.pt"))


@pytest.mark.parametrize("name", [LISTS["val"], MASK_IDS["val"], UNPAIRED_IDS])
def test_lists_within_lists_in_place_of_each_list(tmp_path: Path, name: str):
    files = small_set({"val": 1})
    content = files.lists[name]
    files.lists[name] = dict.fromkeys(content, shared()) if isinstance(content, dict) else [shared()]
    raw = RawDataset(files.write(tmp_path / "raw"), "bgr")

    def read() -> None:
        (entry,) = raw.listed("val")
        (mask_id,) = raw.unpaired_mask_ids or [None]
        assert "not a dict" in str(entry) or entry.mask_id == ("val0" if name == UNPAIRED_IDS else None)
        assert mask_id is None or "has an id that is no text or number" in str(mask_id)

    assert bounded(read) == RETURNED


@pytest.mark.parametrize("key", [DEEP, WIDE], ids=["deep", "wide"])
@pytest.mark.parametrize("before", [b"", b"X\1\0\0\0a}"], ids=["root", "within"])
def test_keys_that_take_for_ever_to_hash_or_crash_the_interpreter(tmp_path: Path, key: bytes, before: bytes):
    file = archive(tmp_path, HEAD + b"}" + before + key + b"Ns" + (b"s" if before else b"") + b".")
    assert bounded(lambda: list(read_dict(file))) == RETURNED


def test_members_of_sets_are_not_hashed(tmp_path: Path):
    for made in (b"\x8f(" + DEEP + b"\x90", b"(" + DEEP + b"\x91", b"c__builtin__\nset\n(" + DEEP + b"t\x85R"):
        assert bounded(lambda made=made: entries(archive(tmp_path, HEAD + b"]" + made + b"a."))).startswith("entry 0 is a ")


@pytest.mark.parametrize("value", [DEEP, 500_000 * b"]" + 499_999 * b"a"], ids=["tuples", "lists"])
def test_values_that_nest_deep(tmp_path: Path, value: bytes):
    assert bounded(lambda: entries(archive(tmp_path, HEAD + b"]" + value + b"a."))).startswith("entry 0 is a ")


def test_compressed_records(tmp_path: Path):
    """2 GB in 2 MB: refused before anything is unpacked."""
    file = tmp_path / "list.pt"
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as target, target.open("archive/data.pkl", "w") as stream:
        stream.write(HEAD + b"](" + b"X\0\0\0\x40")
        for _ in range(64):
            stream.write(bytes(1 << 24))
        stream.write(b"e.")
    assert file.stat().st_size < 2e6
    said = bounded(lambda: entries(file))
    assert "its records are compressed, which torch.save never does: load it and torch.save it again" in said


@pytest.mark.parametrize("content", [
    b"\x8e" + struct.pack("<Q", 1 << 62), b"X\xff\xff\xff\xff", b"\x8b\xff\xff\xff\x7f", b"\x95" + struct.pack("<Q", 1 << 62),
    b"]r\xff\xff\xff\xff", b"]r\xff\xff\xff\x7fj\xff\xff\xff\x7f", b"c" + 2_000_000 * b"a", 1000 * b"(",
], ids=["bytes", "text", "integer", "frame", "position", "reference", "name", "marks"])  # fmt: skip
def test_sizes_beyond_the_file(tmp_path: Path, content: bytes):
    said = bounded(lambda: entries(archive(tmp_path, HEAD + b"]" + content)))
    assert "is not a readable list" in said


@pytest.mark.parametrize("member", [b"N", b"h\1", b"}"], ids=["none", "one entry", "empty"])
def test_more_entries_than_the_file_has_room_for(tmp_path: Path, member: bytes):
    """A byte or two each, of which errors or entries of half a kilobyte are made."""
    one = pickle.dumps([ENTRY], protocol=2)[5:-2]
    batch = b"(" + 1000 * member + b"e"
    file = archive(tmp_path, HEAD + b"]q\0" + one + b"a" + 20_000 * batch + b".")

    def read() -> None:
        for position, content in enumerate(read_list(file, READ)):
            if position == 0:
                read_entry(content, "entry 0", {})

    assert "entries in" in bounded(read) and "too few for any" in bounded(read)


def test_references_without_end(tmp_path: Path):
    file = archive(tmp_path, HEAD + b"]" + b"".join(b"j" + struct.pack("<I", n) for n in range(256, 4_100_000)) + b".")
    assert "refers back to more than 4,000,000 objects" in bounded(lambda: entries(file), mib=1000)


def saved_tensors(tmp_path: Path) -> tuple[Path, bytearray, int]:
    """A file of torch.save with a tensor in it, its bytes, and where its directory's end (the 64-bit one) begins."""
    file = tmp_path / "list.pt"
    torch.save([torch.zeros(1000)], file)
    content = bytearray(file.read_bytes())
    return file, content, content.rindex(b"PK\6\6")


@pytest.mark.parametrize("where", [40, 48], ids=["size", "start"])
def test_archives_that_say_they_are_larger(tmp_path: Path, where: int):
    file, content, end = saved_tensors(tmp_path)
    struct.pack_into("<Q", content, end + where, 1 << 40)
    file.write_bytes(content)
    assert "cut short" in bounded(lambda: entries(file))


def test_records_that_overlap(tmp_path: Path):
    """Ten names for the same bytes, each of which torch.load would read."""
    file, content, end = saved_tensors(tmp_path)
    size, start = struct.unpack_from("<2Q", content, end + 40)
    directory = bytes(content[start : start + size])
    names = b"".join(directory.replace(b"/data/0", b"/data/%d" % n) for n in range(10))
    struct.pack_into("<Q", content, end + 40, len(names))
    struct.pack_into("<Q", content, len(content) - 42 + 8, end + len(names) - size)  # where that end now is
    file.write_bytes(content[:start] + names + content[end:])
    assert "cut short, or its records overlap" in bounded(lambda: entries(file))


def test_names_of_classes_do_not_write_on_the_screen(tmp_path: Path):
    for module, found in ((b"os", "os.system"), (b"a\n\x1b[2J", "strange class"), (b"a" * 200, "strange class")):
        content = b"\x80\x04]\x8c" + bytes([len(module)]) + module + b"\x8c\x06system\x93a."
        file = archive(tmp_path, content)
        assert bounded(lambda file=file: entries(file)).startswith(f"entry 0 is a {found}, not a dict")
