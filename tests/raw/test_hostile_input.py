"""Damaged and hostile bytes in every reader: each ends in a value or in InvalidInput, never in anything else.

A crash of the interpreter ends the test run itself, so it cannot pass unseen.
"""

import copy
import io
import json
import math
import struct
import warnings
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lightning.fabric import Fabric

from hands.errors import InvalidInput
from hands.files.boxes import square
from hands.files.decoding import decode_image, decode_labels
from hands.packed.packed_set import PackedSet
from hands.packed.prepare import PackConfig, pack
from hands.prediction.boxes_file import read_boxes
from hands.prediction.photographs import list_photographs, read_photograph
from hands.raw.entries import READ, Entry, read_entry
from hands.raw.layout import RawDataset
from hands.raw.pt_lists import read_dict, read_list
from hands.training.learner import Learner
from hands.training.resume import FILE, TrainingCheckpoint
from hands.training.state import TrainingState
from tests.packed.test_packed_set import COUNTS, write_packed
from tests.raw.independent_layout import (
    RawFiles,
    a_picture,
    an_entry,
    jpeg,
    label_pngs,
    png,
    small_set,
    some_labels,
    three_channels,
)

PICTURE = a_picture(12, 9, 1)
IMAGES = [png(PICTURE), jpeg(PICTURE), png(PICTURE[..., 0]), jpeg(PICTURE[..., 0])]
LABELS = [*label_pngs(some_labels(12, 9, 1)), png(some_labels(12, 9, 2)[0])]


def examples(count: int):
    checks = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
    return settings(max_examples=count, deadline=None, suppress_health_check=checks, database=None, derandomize=True)


def saved(content: object) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()


LISTS = [
    saved([an_entry(f"val/a{k}", [0, 0, 9, 9], capture=np.int64(1)) for k in range(3)]),
    saved({"val/a0": "0001", "val/a1": np.str_("0002")}),
    saved(["0001", 2]),
]


@st.composite
def mutated(draw: st.DrawFn, sources: list[bytes]) -> bytes:
    """One of `sources` with some bytes changed, cut, doubled or inserted."""
    content = bytearray(draw(st.sampled_from(sources)))
    for _ in range(draw(st.integers(1, 4))):
        position = draw(st.integers(0, max(len(content) - 1, 0)))
        match draw(st.sampled_from(["change", "change", "change", "cut", "remove", "insert", "double"])):
            case "change":
                content[position : position + 1] = draw(st.binary(min_size=1, max_size=1))
            case "cut":
                del content[position:]
            case "remove":
                del content[position : position + draw(st.integers(1, 20))]
            case "insert":
                content[position:position] = draw(st.binary(min_size=1, max_size=20))
            case "double":
                content[position:position] = content[position : position + 30]
    return bytes(content)


def ends_well(read: Callable[[], object]) -> None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            read()
    except InvalidInput as error:
        assert 10 < len(str(error)) < 1500  # a sentence or two, whatever the input was


def with_good_checksums(content: bytes) -> bytes:
    """The PNG with each chunk's checksum made right, so that damage reaches the decoder."""
    fixed, position = bytearray(content[:8]), 8
    while position + 12 <= len(content):
        (length,) = struct.unpack(">I", content[position : position + 4])
        body = content[position + 4 : position + 8 + length]
        fixed += content[position : position + 4] + body + struct.pack(">I", zlib.crc32(body))
        position += 12 + length
    return bytes(fixed)


# Pictures and labels


@examples(500)
@given(mutated(IMAGES), st.booleans())
def test_images(encoded: bytes, upright: bool):
    ends_well(lambda: decode_image(encoded, "x", upright))


@examples(300)
@given(mutated([IMAGES[0], IMAGES[2]]))
def test_images_with_right_checksums(encoded: bytes):
    ends_well(lambda: decode_image(with_good_checksums(encoded), "x", upright=True))


@examples(300)
@given(mutated(LABELS))
def test_labels(encoded: bytes):
    ends_well(lambda: decode_labels(encoded, "x"))
    ends_well(lambda: decode_labels(with_good_checksums(encoded), "x"))


@examples(100)
@given(st.binary(max_size=300))
def test_any_bytes_as_pictures(encoded: bytes):
    ends_well(lambda: decode_image(encoded, "x", upright=True))
    ends_well(lambda: decode_image(b"\x89PNG\r\n\x1a\n" + encoded, "x", upright=True))
    ends_well(lambda: decode_image(b"\xff\xd8\xff" + encoded, "x", upright=True))


@pytest.mark.parametrize(
    "rows", [b"\x09" + b"\x01" * 30, b"\x00" * 5, b"", b"\x00" * 100000], ids=["filter", "short", "none", "long"]
)
def test_pngs_whose_pixels_do_not_fit_their_header(rows: bytes):
    content = IMAGES[0][:33] + struct.pack(">I", 0) + b"IDAT" + bytes(4) + IMAGES[0][-12:]
    body = zlib.compress(rows)
    content = content[:33] + struct.pack(">I", len(body)) + b"IDAT" + body + bytes(4) + IMAGES[0][-12:]
    ends_well(lambda: decode_image(with_good_checksums(content), "x", upright=False))


# Lists


@examples(500)
@given(mutated(LISTS))
def test_lists(tmp_path: Path, content: bytes):
    file = tmp_path / "list.pt"
    file.write_bytes(content)
    ends_well(lambda: read_entries(file))
    ends_well(lambda: dict(read_dict(file)))


def read_entries(file: Path) -> list[Entry]:
    return [read_entry(content, f"entry {position}", {}) for position, content in enumerate(read_list(file, READ))]


def with_pickle(archive: bytes, change: Callable[[bytes], bytes]) -> bytes:
    """The .pt archive with its pickle changed and its checksums right, so that damage reaches the unpickler."""
    import zipfile

    changed = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(archive)) as source, zipfile.ZipFile(changed, "w") as target:
        for name in source.namelist():
            content = source.read(name)
            target.writestr(name, change(content) if name.endswith("data.pkl") else content)
    return changed.getvalue()


def pickle_of(archive: bytes) -> bytes:
    found = []
    with_pickle(archive, lambda content: found.append(content) or content)
    return found[0]


@examples(500)
@given(mutated([pickle_of(archive) for archive in LISTS]))
def test_lists_whose_pickle_is_damaged(tmp_path: Path, content: bytes):
    file = tmp_path / "list.pt"
    file.write_bytes(with_pickle(LISTS[0], lambda _: content))
    ends_well(lambda: read_entries(file))


values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.binary(max_size=8)
    | st.sampled_from(
        [np.zeros(4), np.float32(1), torch.zeros(4), torch.zeros(2, requires_grad=True), 10**400, "\ud800", "\u0663"]
    ),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)
FIELDS = ("img_path", "bbox", "hand_type", "hand_type_valid", "seq_name", "capture", "cam", "frame")


@examples(300)
@given(st.sampled_from(FIELDS), values)
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


# LMDB values, through prepare


@pytest.fixture(scope="module")
def raw_files() -> RawFiles:
    return small_set({"train": 1, "unpaired_images": 1, "unpaired_masks": 1, "val": 1, "test": 1}, 12, 9)


@examples(60)
@given(st.data())
def test_prepare_with_damaged_values(tmp_path_factory: pytest.TempPathFactory, raw_files: RawFiles, data: st.DataObject):
    folder = tmp_path_factory.mktemp("hostile")
    damaged = RawFiles()
    damaged.images, damaged.labels, damaged.lists = dict(raw_files.images), dict(raw_files.labels), raw_files.lists
    store = data.draw(st.sampled_from([damaged.images, damaged.labels]))
    key = data.draw(st.sampled_from(sorted(store)))
    store[key] = data.draw(mutated([store[key]])) or b"x"
    raw = RawDataset(damaged.write(folder / "raw"), "bgr")
    ends_well(lambda: pack(raw, folder / "refused", PackConfig(16, 0.0, 1)))
    manifest = pack(raw, folder / "skipped", PackConfig(16, 1.0, 1))
    assert sum(subset.count for subset in manifest.subsets.values()) >= 4  # at most the one is dropped


@examples(200)
@given(st.tuples(*[st.floats(-3e6, 3e6) | st.floats() | st.sampled_from([0.0, 1e-30, 5.0])] * 4))
def test_any_box_around_a_picture(tmp_path_factory: pytest.TempPathFactory, box: tuple[float, ...]):
    from hands.files.crop import crop_image, crop_labels

    def read() -> None:
        entry = read_entry(an_entry("val/a", []) | {"bbox": np.array(box, np.float32).tolist()}, "entry 0", {})
        assert isinstance(entry, Entry)
        crop_image(PICTURE, entry.box, 16, 2)
        crop_labels(some_labels(12, 9, 1), entry.box, 16, 2)

    with np.errstate(over="ignore"):
        ends_well(read)


# Packed sets


@pytest.fixture(scope="module")
def packed_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("packed") / "set"
    write_packed(folder, COUNTS)
    return folder


def read_all(folder: Path) -> None:
    packed = PackedSet.open(folder)
    for name in ("train", "minitrain", "trainval", "unpaired_images", "unpaired_masks", "minival", "test"):
        subset = packed.subset(name)
        subset.read(range(len(subset)), None)


@examples(300)
@given(st.data())
def test_manifests(packed_folder: Path, data: st.DataObject):
    file = packed_folder / "manifest.json"
    whole = file.read_bytes()
    try:
        file.write_bytes(data.draw(mutated([whole])))
        ends_well(lambda: read_all(packed_folder))
    finally:
        file.write_bytes(whole)


@examples(200)
@given(st.data())
def test_manifests_with_any_value_in_a_field(packed_folder: Path, data: st.DataObject):
    file = packed_folder / "manifest.json"
    whole = file.read_bytes()
    content = json.loads(whole)
    target = data.draw(st.sampled_from([content, content["subsets"], content["subsets"]["val"]]))
    target[data.draw(st.sampled_from(sorted(target)))] = data.draw(st.integers(0, 200) | values.filter(_is_json))
    try:
        file.write_text(json.dumps(content))
        ends_well(lambda: read_all(packed_folder))
    finally:
        file.write_bytes(whole)


def _is_json(value: object) -> bool:
    try:
        json.dumps(value)
    except (TypeError, ValueError):
        return False
    return True


@examples(150)
@given(st.data())
def test_indexes(packed_folder: Path, data: st.DataObject):
    file = packed_folder / "index" / "train.tsv"
    whole = file.read_bytes()
    try:
        file.write_bytes(data.draw(mutated([whole])))
        ends_well(lambda: read_all(packed_folder))
    finally:
        file.write_bytes(whole)


# Checkpoints


def learners() -> dict[str, Learner]:
    torch.manual_seed(0)
    networks = {"g2": torch.nn.Sequential(torch.nn.Conv2d(3, 2, 1), torch.nn.BatchNorm2d(2)), "d": torch.nn.Conv2d(2, 1, 1)}
    fabric = Fabric(accelerator="cpu", devices=1, precision="32-true")
    return {name: Learner(fabric, network, 0.01, 0.9, "contiguous") for name, network in networks.items()}


def train_a_step(trained: dict[str, Learner]) -> None:
    g2, d = trained.values()
    loss = d.forward(g2.forward(torch.ones(2, 3, 4, 4))).square().mean()
    for learner in trained.values():
        learner.optimizer.zero_grad()
    loss.backward()
    for learner in trained.values():
        learner.optimizer.step()


@pytest.fixture(scope="module")
def state() -> dict:
    """What a checkpoint holds within the second epoch."""
    trained = learners()
    kept = TrainingState(trained)
    train_a_step(trained)
    metrics = {"val/miou": 0.5, "train/loss_total": 1.0}
    kept.best.offer(1, metrics)
    kept.finish_epoch(1, metrics)
    kept.step = 3
    kept.averages.add({"loss_total": torch.tensor(2.0)})
    return kept.to_dict(1.5)


def go_on(folder: Path) -> None:
    """What a resumed step does with its checkpoint."""
    saved = TrainingCheckpoint(folder, 1e9, "same").load()
    if saved is None:
        return
    trained = learners()
    resumed = TrainingState(trained)
    before = torch.get_rng_state()
    try:
        resumed.restore(saved)
    finally:
        torch.set_rng_state(before)
    train_a_step(trained)
    resumed.averages.means(next(iter(trained.values())).fabric)
    if resumed.best.metrics:
        resumed.best.restore()
    resumed.finish_epoch(resumed.epoch + 1, {})
    saved_again = resumed.to_dict(resumed.seconds)
    assert saved_again["step"] >= saved_again["epoch"] - 1


def checkpoint_bytes(folder: Path, state: dict) -> bytes:
    TrainingCheckpoint(folder, 1e9, "same").save(state)
    return (folder / FILE).read_bytes()


@examples(100)
@given(st.data())
def test_checkpoints(tmp_path: Path, state: dict, data: st.DataObject):
    whole = checkpoint_bytes(tmp_path, state)
    (tmp_path / FILE).write_bytes(data.draw(mutated([whole])))
    ends_well(lambda: go_on(tmp_path))


@examples(200)
@given(st.data())
def test_checkpoints_whose_pickle_is_damaged(tmp_path: Path, state: dict, data: st.DataObject):
    whole = checkpoint_bytes(tmp_path, state)
    damaged = data.draw(mutated([pickle_of(whole)]))
    (tmp_path / FILE).write_bytes(with_pickle(whole, lambda _: damaged))
    ends_well(lambda: go_on(tmp_path))


plain_values = values.filter(lambda value: not isinstance(value, np.ndarray | np.generic))
other_values = plain_values | st.sampled_from(
    [torch.zeros(2, 3, 1, 1), torch.zeros(2), torch.zeros(1).long(), torch.full((), math.nan), -1, 1 << 70, math.inf]
)


@examples(300)
@given(st.data())
def test_checkpoints_with_any_value_in_a_field(tmp_path: Path, state: dict, data: st.DataObject):
    changed = copy.deepcopy(state)
    inside = changed
    while True:
        keys = sorted(inside, key=repr) if isinstance(inside, dict) else range(len(inside))
        key = data.draw(st.sampled_from(keys))
        if not isinstance(inside[key], dict | list) or not inside[key] or data.draw(st.booleans()):
            break
        inside = inside[key]
    if isinstance(inside, dict) and data.draw(st.booleans()):
        del inside[key]
    else:
        inside[key] = data.draw(other_values)
    checkpoint_bytes(tmp_path, changed)
    ends_well(lambda: go_on(tmp_path))


def test_the_checkpoint_that_is_damaged_here_is_a_good_one(tmp_path: Path, state: dict):
    checkpoint_bytes(tmp_path, state)
    go_on(tmp_path)


# Boxes files and photographs

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
    (tmp_path / "a.png").write_bytes(IMAGES[0])
    (tmp_path / "b.jpg").write_bytes(IMAGES[1])
    ends_well(lambda: read_boxes(tmp_path / name))
    ends_well(lambda: crops_of(tmp_path, tmp_path / name))


def test_labels_of_a_png_bomb_are_refused_unread():
    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    whole = png(three_channels(np.zeros((4, 4), np.uint8)))
    bomb = with_good_checksums(whole[:16] + header + whole[29:])
    with pytest.raises(InvalidInput, match="limit|exceeds"):
        decode_labels(bomb, "x")
