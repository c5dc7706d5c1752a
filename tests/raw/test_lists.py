"""Lists in all the forms that loaders of this dataset's kind write: what is read has the right value, all else is ignored."""

import datetime
import tracemalloc
from collections import OrderedDict, defaultdict, namedtuple
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch

from hands.errors import InvalidInput
from hands.files.decoding import BrokenEntry
from hands.raw.entries import KEY_PREFIX, READ, Entry, read_entry
from hands.raw.layout import RawDataset
from hands.raw.pt_lists import read_dict, read_list
from tests.raw.independent_layout import PREFIX, small_set

BOX = (1.5, -2.0, 30.25, 40.0)


def release_entry(number: int) -> dict:
    """As facebookresearch/InterHand2.6M's loader puts one into its `datalist`."""
    joints = np.random.default_rng(number).normal(size=(3, 42)).astype(np.float32).transpose(1, 0)
    file = f"Capture{number}/0012_ok/cam400262/image{20_000 + number}.jpg"
    return {
        "img_path": f"../{KEY_PREFIX}val/{file}",
        "seq_name": "0012_ok",
        "cam_param": {"focal": np.ones(2, np.float32), "princpt": np.ones(2, np.float32)},
        "bbox": np.array(BOX, np.float32),
        "joint": {"cam_coord": joints, "img_coord": joints[:, :2], "valid": np.ones(42, np.float32)},
        "hand_type": ("left", "right", "interacting")[number % 3],
        "hand_type_valid": np.array(number % 2, dtype=np.float32),
        "abs_depth": {"right": joints[20, 2], "left": joints[41, 2]},
        "file_name": file,
        "capture": number,
        "cam": "400262",
        "frame": 20_000 + number,
    }


def digit_entry(number: int) -> dict:
    """As zc-alexfan/digit-interacting's does."""
    camera = {"campos": np.zeros(3), "camrot": np.eye(3), "focal": np.zeros(2), "princpt": np.zeros(2), "mano_valid": 1}
    return release_entry(number) | camera


def saved(tmp_path: Path, content: object, **how) -> Path:
    file = tmp_path / "list.pt"
    torch.save(content, file, **how)
    return file


def entries_of(file: Path) -> list[Entry]:
    return [read_entry(content, f"entry {position}", {}) for position, content in enumerate(read_list(file, READ))]


def read(tmp_path: Path, **fields: object) -> Entry:
    """The entry that the release's first is with other fields."""
    return entries_of(saved(tmp_path, [release_entry(1) | fields]))[0]


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("how", [
    {}, {"pickle_protocol": 3}, {"pickle_protocol": 4}, {"pickle_protocol": 5}, {"_use_new_zipfile_serialization": False},
], ids=str)  # fmt: skip
@pytest.mark.parametrize("make", [release_entry, digit_entry])
def test_lists_of_the_fields_own_loaders(tmp_path: Path, make, how: dict):
    entries = entries_of(saved(tmp_path, [make(number) for number in range(1100)], **how))  # pickles append 1000 at once
    assert [entry.frame for entry in entries] == list(range(20_000, 21_100))
    assert entries[7] == Entry(
        key=f"{KEY_PREFIX}val/Capture7/0012_ok/cam400262/image20007.jpg", box=BOX, hand_type="right", mask_id=None,
        hand_type_valid=True, seq_name="0012_ok", capture=7, cam=400262, frame=20_007,
    )  # fmt: skip
    assert entries[7].path == "val/Capture7/0012_ok/cam400262/image20007"
    assert [entry.hand_type_valid for entry in entries[:4]] == [False, True, False, True]


def test_a_data_set_with_such_lists_is_whole(tmp_path: Path):
    raw = small_set({"val": 3})
    ids = raw.lists["path2id_val.pt"]
    for entry, number in zip(raw.lists["datalist_val_mp.pt"], range(3), strict=True):
        given = entry["img_path"]
        entry |= release_entry(number) | {"img_path": f"../{given[2:]}"}
        ids[given.removeprefix(PREFIX)[:-4]] = np.array(number)
        raw.put_labels(str(number), np.zeros((2, 40, 32), np.uint8))
    entries = RawDataset(raw.write(tmp_path / "raw"), "bgr").entries("val")
    assert [entry.mask_id for entry in entries] == ["0", "1", "2"]
    assert {entry.key for entry in entries} == set(raw.images)


@pytest.mark.parametrize(("value", "expected"), [
    (np.array(1, np.float32), True), (np.array(0, np.float32), False), (np.array([1]), True), (np.array([[0.0]]), False),
    (np.float16(1), True), (np.bool_(False), False), (np.uint8(1), True), (np.array(True), True), (np.array(1, ">i4"), True),
    (torch.tensor(1.0), True), (torch.tensor([0]), False), (torch.tensor(True), True), (torch.ones(()).half(), True),
    (True, True), (0, False), (1.0, True), ("1", True), ("0.0", False), (b"1", True), (np.str_("1"), True),
    (np.array("0"), False), (np.array(b"1"), True), (torch.nn.Parameter(torch.ones(1)), True),
    (torch.tensor(1, dtype=torch.uint16), True),
    (None, None), ("yes", None), (0.5, None), (np.nan, None), (np.array([1, 0]), None), ({"a": 1}, None), ([1], None),
    (np.array(None), None), (1j, None), (torch.ones(1).bfloat16(), None), (1 << 3000, None),
], ids=repr)  # fmt: skip
def test_one_number_in_every_form(tmp_path: Path, value: object, expected: bool | None):
    assert read(tmp_path, hand_type_valid=value).hand_type_valid is expected


@pytest.mark.parametrize(("value", "expected"), [
    (np.int64(12), 12), (np.array(12, "<u2"), 12), (torch.tensor(12), 12), ("00012", 12), ("+12", 12), (12.0, 12), (-3, -3),
    (np.float64(2.5), None), ("", None), ("1 2", None), ("\u0663", None), (1 << 40, 1 << 40), (None, None),
], ids=repr)  # fmt: skip
def test_whole_numbers(tmp_path: Path, value: object, expected: int | None):
    entry = read(tmp_path, capture=value, cam=value, frame=value)
    assert (entry.capture, entry.cam, entry.frame) == (expected, expected, expected)


def strided() -> torch.Tensor:
    """A column of a larger tensor, as `boxes[:, k]` is one."""
    return torch.tensor([[9.0, value, 9.0] for value in (9.0, *BOX)])[1:, 1]


@pytest.mark.parametrize("box", [
    list(BOX), BOX, np.array(BOX, np.float32), np.array(BOX), np.array(BOX, ">f8"), np.array(BOX, np.float16),
    np.array([BOX]), np.array([BOX]).T, [list(BOX)], (np.array(BOX),), torch.tensor(BOX), torch.tensor([BOX]),
    torch.tensor(BOX).double(), torch.stack([torch.zeros(4), torch.tensor(BOX)])[1], strided(),
    torch.nn.Parameter(torch.tensor(BOX)),
    [np.float32(value) for value in BOX], [torch.tensor(value) for value in BOX], [np.array(value) for value in BOX],
    [str(value) for value in BOX], np.array([str(value) for value in BOX]), [1.5, -2, "30.25", np.int8(40)],
], ids=lambda box: f"{type(box).__name__}-{getattr(box, 'dtype', '')}-{getattr(box, 'shape', len(box))}")  # fmt: skip
def test_four_numbers_in_every_form(tmp_path: Path, box: object):
    assert read(tmp_path, bbox=box).box == BOX


@pytest.mark.parametrize("box", [
    np.zeros(3), np.array(BOX).reshape(2, 2), torch.tensor(BOX).reshape(2, 2), np.zeros((4, 4)), BOX[:3], [*BOX, 1.0], 4.0,
    None, dict.fromkeys("xywh", 1.0), set(BOX), np.array([1, 2, 3, None]), [1, 2, 3, None], ["a", 1, 2, 3], np.array([1j] * 4),
    torch.tensor(BOX).to_sparse(), np.zeros(1000), "1234", b"1234", [[1], [2], [3], [4]],
], ids=lambda box: f"{type(box).__name__}-{getattr(box, 'shape', '')}")  # fmt: skip
def test_what_is_no_box_names_its_entry(tmp_path: Path, box: object):
    file = saved(tmp_path, [release_entry(0), release_entry(1) | {"bbox": box}])
    with pytest.raises(BrokenEntry, match=r"entry 1 \(val/Capture1/.*\) has bbox .*; expected four numbers") as caught:
        entries_of(file)
    assert caught.value.reason == "invalid entry" and len(str(caught.value)) < 250


@pytest.mark.parametrize("wrap", [
    str, str.encode, np.str_, np.array, lambda path: np.array([path]), Path, lambda path: "." + path,
    lambda path: "/srv/x" + path[1:], lambda path: path[2:], lambda path: np.array(path.encode()),
], ids=["str", "bytes", "str_", "0-d", "1-d", "Path", "..", "absolute", "bare", "0-d bytes"])  # fmt: skip
def test_image_paths_in_every_form(tmp_path: Path, wrap):
    entry = read(tmp_path, img_path=wrap(f"{PREFIX}val/Capture1/s/cam1/image2.jpg"))
    assert entry.key == "data/InterHand2.6M/images/val/Capture1/s/cam1/image2.jpg"


@pytest.mark.parametrize("path", [
    "data/InterHand/images/val/a.jpg", f"{PREFIX}../a.jpg", f"{PREFIX}val//a.jpg", f"mydata/{KEY_PREFIX[5:]}val/a.jpg",
    f"my{KEY_PREFIX}val/a.jpg", f"{PREFIX}val/a", ["a.jpg"], None, 5, PREFIX + "x" * 2000 + ".jpg",
])  # fmt: skip
def test_paths_that_lead_elsewhere_are_refused(tmp_path: Path, path: object):
    with pytest.raises(BrokenEntry, match="entry 0 has img_path .*expected './data/InterHand2.6M/images/"):
        read(tmp_path, img_path=path)


@pytest.mark.parametrize("hand_type", ["left", np.str_("left"), b"left", np.array("left"), np.array(["left"])])
def test_hand_types_in_every_form(tmp_path: Path, hand_type: object):
    assert read(tmp_path, hand_type=hand_type).hand_type == "left"


class Record(dict):
    """As EasyDict and its like: a dict of another class with attributes."""

    def __init__(self, content: dict):
        super().__init__(content)
        self.__dict__.update(content)


Pair = namedtuple("Pair", "a b")


def test_everything_else_is_ignored(tmp_path: Path):
    """Unread fields may hold anything, of any class; nothing of it is imported or called."""
    more = {
        "object": object(), "date": datetime.datetime(2026, 1, 1), "fraction": Fraction(1, 3), "set": {1, (2, 3)}, None: [[[]]],
        "frozen": frozenset("ab"), "objects": np.array([None, "a"], object), "dates": np.zeros(2, "M8[s]"), "pair": Pair(1, 2),
        "fields": np.zeros(2, [("a", "f4")]), "big": 1 << 100_000, "long": "x" * 100_000, "bytes": bytes(100_000),
        "picture": np.zeros((64, 64, 3), np.uint8), "tensor": torch.zeros(50, 50), "sparse": torch.eye(3).to_sparse(), "f": len,
        "class": Path, "record": Record({"bbox": 3}), "default": defaultdict(list),
        "array": bytearray(9), 7: {(1, 2): 3}, "complex": 1j,
        "nested": {"img_path": "no", "bbox": {"bbox": None}}, "layout": torch.strided, "device": torch.device("cpu"),
    }  # fmt: skip
    for protocol in (2, 4, 5):
        file = saved(tmp_path, [release_entry(1) | more, more | release_entry(2)], pickle_protocol=protocol)
        assert [(entry.box, entry.capture) for entry in entries_of(file)] == [(BOX, 1), (BOX, 2)]


@pytest.mark.parametrize("kind", [dict, OrderedDict, Record, lambda content: defaultdict(list, content)])
def test_entries_may_be_dicts_of_any_class(tmp_path: Path, kind):
    entries = entries_of(saved(tmp_path, [kind(release_entry(number)) for number in range(2)]))
    assert [entry.capture for entry in entries] == [0, 1] and entries[1].box == BOX


def test_only_what_is_read_is_required(tmp_path: Path):
    few = {name: release_entry(1)[name] for name in ("img_path", "bbox", "hand_type")}
    (entry,) = entries_of(saved(tmp_path, [few]))
    assert (entry.box, entry.hand_type, entry.path) == (BOX, "right", "val/Capture1/0012_ok/cam400262/image20001")
    unsaid = (entry.hand_type_valid, entry.seq_name, entry.capture, entry.cam, entry.frame)
    assert unsaid == (None,) * 5


def test_objects_that_entries_share_far_apart(tmp_path: Path):
    """Of what was read, only what is referred to later is kept: here positions far beyond the first 255."""
    boxes = [np.array([number, 0, 1, 1], np.float32) for number in range(5)]
    entries = [release_entry(number) | {"bbox": boxes[number % 5]} for number in range(1500)]
    entries += [entries[3], entries[1007]]
    read_again = entries_of(saved(tmp_path, entries))
    assert [entry.box[0] for entry in read_again[:1500]] == [number % 5 for number in range(1500)]
    assert [entry.frame for entry in read_again[1500:]] == [20_003, 21_007]


def test_memory_does_not_grow_with_what_is_not_used(tmp_path: Path):
    """4,000 entries of the release's form take 40 MB as Python objects; they come in batches of 1,000."""
    file = saved(tmp_path, [release_entry(number) for number in range(4000)])
    tracemalloc.start()
    try:
        assert sum(1 for _ in read_list(file, READ)) == 4000
        assert tracemalloc.get_traced_memory()[1] < 16e6
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("mask_id", [12, "12", np.int64(12), np.array(12), torch.tensor(12), np.str_("12"), b"12"], ids=repr)
def test_mask_ids_in_every_form(tmp_path: Path, mask_id: object):
    raw = small_set({"val": 1})
    path = next(iter(raw.lists["path2id_val.pt"]))
    raw.lists["path2id_val.pt"] = OrderedDict({np.str_(path): mask_id, 7: "x", "y": None, "z": [1]})
    raw.lists["unpaired_segm_ids.pt"] = [mask_id, None]
    data_set = RawDataset(raw.write(tmp_path / "raw"), "bgr")
    assert data_set.entries("val")[0].mask_id == "12"
    good, bad = data_set.unpaired_mask_ids
    assert good == "12" and "unpaired_segm_ids.pt: entry 1 has an id that is no text or number" in str(bad)


@pytest.mark.parametrize(("content", "found"), [
    ({"a": 1}, "a dict"), ("text", "a str"), (np.zeros(3), "a numpy array"), ((1, 2), "a tuple"), (Path("a"), "a str"),
    (Fraction(1, 2), "a fractions.Fraction"), (None, "a NoneType"),
], ids=repr)  # fmt: skip
def test_lists_that_are_none(tmp_path: Path, content: object, found: str):
    with pytest.raises(InvalidInput, match=f"holds {found}; a list was expected"):
        list(read_list(saved(tmp_path, content), READ))


def test_dicts_that_are_none(tmp_path: Path):
    with pytest.raises(InvalidInput, match="holds a list; a dict was expected"):
        list(read_dict(saved(tmp_path, [1, 2])))


def test_a_damaged_byte_is_noticed(tmp_path: Path):
    """By the archive's checksum, which torch.load does not look at."""
    file = saved(tmp_path, [release_entry(1)])
    content = bytearray(file.read_bytes())
    content[content.index(b"image20001") + 9] ^= 1
    file.write_bytes(content)
    with pytest.raises(InvalidInput, match="its checksum is another"):
        list(read_list(file, READ))


def test_files_without_checksums_are_read(tmp_path: Path):
    before = torch.serialization.get_crc32_options()
    torch.serialization.set_crc32_options(False)
    try:
        assert read(tmp_path).box == BOX
    finally:
        torch.serialization.set_crc32_options(before)


def test_old_files_with_tensors_are_refused_by_name(tmp_path: Path):
    file = saved(tmp_path, [{"bbox": torch.zeros(4)}], _use_new_zipfile_serialization=False)
    with pytest.raises(InvalidInput, match="tensors as torch before 1.6 saved them: load it and torch.save it again"):
        list(read_list(file, READ))
