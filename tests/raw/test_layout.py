"""The raw layout against an independent reader and writer, and every refusal."""

import os
import pickle
import random
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from hands.errors import InvalidInput
from hands.files.decoding import BrokenEntry, decode_image, decode_labels
from hands.raw.layout import RawDataset
from hands.raw.layout_writer import RawDatasetWriter
from tests.raw.independent_layout import (
    PREFIX,
    RawFiles,
    a_picture,
    an_entry,
    jpeg,
    label_pngs,
    load_pickled,
    png,
    read_lmdb,
    small_set,
    some_labels,
    three_channels,
)

COUNTS = {"train": 5, "unpaired_images": 4, "unpaired_masks": 3, "val": 4, "test": 4}


@dataclass(frozen=True)
class Frame:
    split: str
    role: str
    path: str
    hand_type: str
    hand_type_valid: bool
    bbox: tuple[float, float, float, float]
    seq_name: str
    capture: int
    cam: int
    frame: int
    image: bytes | None
    labels_l: bytes | None
    labels_r: bytes | None


def a_frame(role: str, k: int, labelled: bool) -> Frame:
    split = role if role in ("val", "test") else "train"
    left, right = label_pngs(some_labels(40, 32, k)) if labelled else (None, None)
    return Frame(
        split=split,
        role=role,
        path=f"{split}/Capture3/0012_x/cam400123/image{role}{k}",
        hand_type="interacting",
        hand_type_valid=True,
        bbox=(1.5, 2.0, 30.0, 30.0),
        seq_name="0012_x",
        capture=3,
        cam=400123,
        frame=k,
        image=None if role == "unpaired_masks" else png(a_picture(40, 32, k)),
        labels_l=left,
        labels_r=right,
    )


ROLES = {"paired": True, "unpaired_image": False, "unpaired_masks": True, "val": True, "test": False}


def write_all(folder: Path, test_labelled: bool) -> None:
    with RawDatasetWriter(folder) as writer:
        for role, labelled in ROLES.items():
            for k in range(3):
                writer.add_frame(a_frame(role, k, labelled or (role == "test" and test_labelled)))


# Our writer, their reader


def test_an_independent_reader_reads_what_we_write(tmp_path: Path):
    folder = tmp_path / "data" / "InterHand2.6M"
    write_all(folder, test_labelled=False)
    images, labels = read_lmdb(folder / "interhand.lmdb"), read_lmdb(folder / "segm_train_val_mp.lmdb")
    paired = load_pickled(folder / "datalist_train_mp.pt")
    complete = load_pickled(folder / "datalist_train_complete.pt")
    ids = load_pickled(folder / "path2id_train.pt")
    assert [len(paired), len(complete), len(ids)] == [3, 6, 3]
    for k, entry in enumerate(paired):
        assert type(entry["bbox"]) is np.ndarray
        assert entry["bbox"].dtype == np.float32
        assert entry["bbox"].tolist() == [1.5, 2.0, 30.0, 30.0]
        assert (entry["capture"], entry["cam"], entry["frame"], entry["hand_type"]) == (3, 400123, k, "interacting")
        assert entry["img_path"].startswith(PREFIX)
        decoded = cv2.imdecode(np.frombuffer(images[entry["img_path"][2:]], np.uint8), cv2.IMREAD_COLOR)
        assert np.array_equal(decoded, a_picture(40, 32, k))  # RGB, because RGB went into cv2.imencode
        mask_id = ids[entry["img_path"].removeprefix(PREFIX).removesuffix(".jpg")]
        left, right = (cv2.imdecode(np.frombuffer(labels[f"{mask_id}__{s}"], np.uint8), cv2.IMREAD_COLOR) for s in "lr")
        expected = some_labels(40, 32, k)
        assert np.array_equal(np.where(left > 0, left - 16, 0), three_channels(expected[0]))
        assert np.array_equal(right, three_channels(expected[1]))
    unpaired = load_pickled(folder / "unpaired_segm_ids.pt")
    assert len(unpaired) == 3
    assert all(f"{mask_id}__l" in labels and f"{mask_id}__r" in labels for mask_id in unpaired)
    assert [entry["frame"] for entry in load_pickled(folder / "datalist_stud_test.pt")] == [0, 1, 2]
    assert not (folder / "path2id_test.pt").exists()


def test_lists_load_with_weights_only_and_numpy_alone(tmp_path: Path):
    write_all(tmp_path / "raw", test_labelled=True)
    numpy_globals = [np._core.multiarray._reconstruct, np.ndarray, np.dtype, np.dtypes.Float32DType]
    with torch.serialization.safe_globals(numpy_globals):
        assert len(torch.load(tmp_path / "raw" / "datalist_val_mp.pt", weights_only=True)) == 3


@pytest.mark.parametrize("test_labelled", [False, True])
def test_we_read_what_we_write(tmp_path: Path, test_labelled: bool):
    write_all(tmp_path / "raw", test_labelled)
    raw = RawDataset(tmp_path / "raw", "bgr")
    assert raw.test_is_labelled == test_labelled
    assert [len(raw.entries(s)) for s in ("train", "unpaired_images", "val", "test")] == [3, 3, 3, 3]
    assert all((entry.mask_id is not None) == test_labelled for entry in raw.entries("test"))
    entry = raw.entries("val")[2]
    assert entry.box == (1.5, 2.0, 30.0, 30.0)
    assert np.array_equal(raw.pictures.image(entry), a_picture(40, 32, 2))
    assert np.array_equal(raw.pictures.labels(entry.mask_id), some_labels(40, 32, 2))


def test_the_map_grows_with_what_is_written(tmp_path: Path):
    big = b"\x89PNG" + os.urandom(30 << 20)
    with RawDatasetWriter(tmp_path / "raw") as writer:
        for k in range(4):
            frame = a_frame("unpaired_image", k, labelled=False)
            writer.add_frame(Frame(**{**frame.__dict__, "image": big}))
    values = read_lmdb(tmp_path / "raw" / "interhand.lmdb")
    assert len(values) == 4
    assert all(value == big for value in values.values())


def test_a_failing_writer_leaves_nothing(tmp_path: Path):
    def fail_midway():
        with RawDatasetWriter(tmp_path / "raw") as writer:
            writer.add_frame(a_frame("val", 0, labelled=True))
            raise RuntimeError("midway")

    with pytest.raises(RuntimeError, match="midway"):
        fail_midway()
    assert list(tmp_path.iterdir()) == []


def test_a_killed_writer_leaves_nothing_that_passes_for_whole(tmp_path: Path):
    child = os.fork()
    if child == 0:
        with RawDatasetWriter(tmp_path / "raw") as writer:
            writer.add_frame(a_frame("val", 0, labelled=True))
            os._exit(9)
    os.waitpid(child, 0)
    assert not (tmp_path / "raw").exists()
    assert [path.name for path in tmp_path.iterdir()] == [".raw.partial"]
    with pytest.raises(InvalidInput, match="has no"):
        RawDataset(tmp_path / ".raw.partial" / "content", "bgr")
    write_all(tmp_path / "raw", test_labelled=False)
    assert [path.name for path in tmp_path.iterdir()] == ["raw"]


def test_refuses_an_occupied_folder(tmp_path: Path):
    (tmp_path / "file").touch()
    with pytest.raises(InvalidInput, match="already holds files"):
        write_all(tmp_path, test_labelled=False)


@pytest.mark.parametrize(
    "change",
    [
        {"role": "extra"},
        {"split": "test"},
        {"path": "val/../../etc/passwd"},
        {"path": "train/x"},
        {"hand_type": "both"},
        {"image": None},
        {"labels_l": None},
        {"labels_l": None, "labels_r": None},
    ],
)
def test_the_writer_refuses_frames_that_do_not_fit(tmp_path: Path, change: dict):
    frame = Frame(**{**a_frame("val", 0, labelled=True).__dict__, **change})
    with (
        RawDatasetWriter(tmp_path / "raw") as writer,
        pytest.raises(ValueError, match="|".join(["role", "path", "hand", "label"])),
    ):
        writer.add_frame(frame)


def test_the_writer_refuses_one_path_twice(tmp_path: Path):
    with RawDatasetWriter(tmp_path / "raw") as writer:
        writer.add_frame(a_frame("val", 0, labelled=True))
        with pytest.raises(ValueError, match="added before"):
            writer.add_frame(a_frame("val", 0, labelled=True))


# Their writer, our reader


def test_we_read_what_an_independent_writer_writes(tmp_path: Path):
    files = small_set(COUNTS)
    raw = RawDataset(files.write(tmp_path / "raw"), "bgr")
    assert not raw.test_is_labelled
    assert sorted(entry.path[-1] for entry in raw.entries("unpaired_images")) == list("0123")
    assert raw.unpaired_mask_ids == ["unpaired_masks0", "unpaired_masks1", "unpaired_masks2"]
    for subset in ("train", "val"):
        for k, entry in enumerate(raw.entries(subset)):
            h, w = (40, 32) if k % 2 == 0 else (32, 40)
            image, labels = raw.pictures.image(entry), raw.pictures.labels(entry.mask_id)
            assert image.shape == (h, w, 3)
            theirs = cv2.imdecode(np.frombuffer(files.images[entry.key], np.uint8), cv2.IMREAD_COLOR)
            assert np.abs(image.astype(int) - theirs).max() <= (2 if k % 4 == 3 else 0)  # JPEG decoders may round apart
            assert np.abs(image.astype(int) - a_picture(h, w, k)).mean() < 3
            assert np.array_equal(labels, some_labels(h, w, k))
            assert entry.box == (-3.5, 2.25, 36.0, 36.0)
            assert (entry.capture, entry.cam, entry.frame, entry.seq_name) == (0, 400123, 17, "0000_seq")
            assert entry.key == f"data/InterHand2.6M/images/{entry.path}.jpg"


def test_foreign_data_keeps_its_channel_order(tmp_path: Path):
    raw = small_set({"val": 1})
    raw.put_image(raw.lists["datalist_val_mp.pt"][0], png(a_picture(40, 32, 0)[..., ::-1]))  # an ordinary RGB file
    dataset = RawDataset(raw.write(tmp_path / "raw"), "rgb")
    assert np.array_equal(dataset.pictures.image(dataset.entries("val")[0]), a_picture(40, 32, 0))
    with pytest.raises(InvalidInput, match="bgr or rgb"):
        RawDataset(tmp_path / "raw", "RGB")


def one_entry(tmp_path: Path, entry: dict):
    raw = small_set({"val": 1})
    raw.lists["datalist_val_mp.pt"] = [entry]
    return RawDataset(raw.write(tmp_path / "raw"), "bgr").entries("val")[0]


def test_extra_keys_numbers_as_text_and_numpy_scalars_are_read(tmp_path: Path):
    box = [-500.0, -2.5, 3000.0, 3000.0]
    more = {"joints": np.zeros((42, 3)), "capture": np.int64(4), "cam": " 7".strip(), "frame": "00012", "note": None}
    entry = one_entry(tmp_path, an_entry("val/Capture4/s/cam7/image12", box, **more, hand_type_valid=np.float32(1)))
    assert (entry.capture, entry.cam, entry.frame, entry.hand_type_valid) == (4, 7, 12, True)
    assert entry.box == tuple(box)


def test_mask_ids_may_be_numbers(tmp_path: Path):
    raw = small_set({"val": 1})
    path = next(iter(raw.lists["path2id_val.pt"]))
    raw.lists["path2id_val.pt"][path] = np.int64(12)
    raw.lists["unpaired_segm_ids.pt"] = [12, np.str_("13"), "x"]
    dataset = RawDataset(raw.write(tmp_path / "raw"), "bgr")
    assert dataset.entries("val")[0].mask_id == "12"
    assert dataset.unpaired_mask_ids == ["12", "13", "x"]


@pytest.mark.parametrize("missing", ["img_path", "bbox", "hand_type"])
def test_names_missing_keys(tmp_path: Path, missing: str):
    entry = an_entry("val/a", [0, 0, 1, 1])
    del entry[missing]
    with pytest.raises(InvalidInput, match=rf"datalist_val_mp.pt: entry 0.* has no {missing};"):
        one_entry(tmp_path, entry)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"bbox": np.array([0, 0, np.nan, 1], np.float32)}, "bbox"),
        ({"bbox": np.array([0, 0, 0, 1], np.float32)}, "positive"),
        ({"bbox": np.array([0, 0, 1, -1], np.float32)}, "positive"),
        ({"bbox": np.array([0, 0, 1e30, 1], np.float32)}, "bbox"),
        ({"bbox": np.zeros(3, np.float32)}, "four numbers"),
        ({"bbox": "0123"}, "four numbers"),
        ({"bbox": None}, "four numbers"),
        ({"hand_type": "both"}, "hand_type 'both'"),
        ({"hand_type": ["left"]}, "hand_type"),
        ({"img_path": "elsewhere/a.jpg"}, "img_path"),
        ({"img_path": PREFIX + "val/../../a.jpg"}, "img_path"),
        ({"img_path": PREFIX + "val/a.exe"}, "img_path"),
        ({"img_path": PREFIX + "val/a\n.jpg"}, "img_path"),
        ({"img_path": PREFIX + "x" * 600 + ".jpg"}, "511 bytes"),
        ({"img_path": 7}, "img_path"),
    ],
)
def test_refuses_entries_it_cannot_use(tmp_path: Path, change: dict, message: str):
    with pytest.raises(InvalidInput, match=message):
        one_entry(tmp_path, {**an_entry("val/a", [0, 0, 1, 1]), **change})


def test_mini_positions_match_the_original_loader():
    from hands.packed.mini import mini_positions

    entries = [f"entry {k}" for k in range(2345)]
    r = random.Random(1)
    r.randint(0, 100)
    assert [entries[k] for k in mini_positions(2345)] == r.sample(entries, 1000)
    assert mini_positions(1000) == list(range(1000))


def test_a_data_set_survives_pickling_and_forks(tmp_path: Path):
    raw = RawDataset(small_set(COUNTS).write(tmp_path / "raw"), "bgr")
    entry = raw.entries("train")[0]
    image = raw.pictures.image(entry)  # opens the handle
    assert np.array_equal(pickle.loads(pickle.dumps(raw)).pictures.image(entry), image)
    child = os.fork()
    if child == 0:
        os._exit(0 if np.array_equal(raw.pictures.image(entry), image) else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


# Refusals: files


def test_says_what_an_empty_folder_lacks(tmp_path: Path):
    with pytest.raises(InvalidInput, match=r"has no interhand.lmdb, .*unpaired_segm_ids.pt"):
        RawDataset(tmp_path, "bgr")
    with pytest.raises(InvalidInput, match="not a folder"):
        RawDataset(tmp_path / "nowhere", "bgr")


@pytest.mark.parametrize("damage", [b"", b"garbage" * 3000])
def test_refuses_a_damaged_lmdb(tmp_path: Path, damage: bytes):
    folder = small_set({"val": 1}).write(tmp_path / "raw")
    (folder / "interhand.lmdb" / "data.mdb").write_bytes(damage)
    with pytest.raises(InvalidInput, match="interhand.lmdb"):
        RawDataset(folder, "bgr")


def test_refuses_an_lmdb_cut_short(tmp_path: Path):
    folder = small_set({"val": 4}).write(tmp_path / "raw")
    file = folder / "interhand.lmdb" / "data.mdb"
    os.truncate(file, file.stat().st_size // 2)
    with pytest.raises(InvalidInput, match="cut short"):
        RawDataset(folder, "bgr")


class Attack:
    def __init__(self, flag: Path):
        self.flag = flag

    def __reduce__(self):
        return os.system, (f"touch {self.flag}",)


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("protocol", [2, 4])
def test_a_list_that_would_run_a_command_is_refused_and_runs_nothing(tmp_path: Path, protocol: int):
    folder = small_set({"val": 1}).write(tmp_path / "raw")
    torch.save([Attack(tmp_path / "flag")], folder / "datalist_val_mp.pt", pickle_protocol=protocol)
    (folder / "path2id_train.pt").write_bytes(pickle.dumps({"a": Attack(tmp_path / "flag")}, protocol=protocol))
    raw = RawDataset(folder, "bgr")
    for subset, message in (("val", "entry 0 is a posix.system, not a dict"), ("train", "not a readable list")):
        with pytest.raises(InvalidInput, match=message):
            raw.entries(subset)
    assert not (tmp_path / "flag").exists()


@pytest.mark.parametrize("content", [{"a": 1}, "text", None, 3])
def test_refuses_a_list_that_is_none(tmp_path: Path, content):
    raw = small_set({"val": 1})
    raw.lists["datalist_val_mp.pt"] = content
    with pytest.raises(InvalidInput, match="a list was expected"):
        RawDataset(raw.write(tmp_path / "raw"), "bgr").entries("val")


@pytest.mark.parametrize("content", [np.array([None, 1], dtype=object), np.zeros(2, dtype=[("a", "f4")]), np.zeros(2, "M8[s]")])
def test_refuses_numpy_arrays_of_other_things_than_numbers(tmp_path: Path, content: np.ndarray):
    with pytest.raises(InvalidInput, match="bbox an array .*; expected four numbers"):
        one_entry(tmp_path, an_entry("val/a", [0, 0, 1, 1]) | {"bbox": content})


def test_only_the_list_that_is_asked_for_is_read(tmp_path: Path):
    folder = small_set({"train": 1, "val": 1}).write(tmp_path / "raw")
    (folder / "datalist_val_mp.pt").write_bytes(b"garbage")
    raw = RawDataset(folder, "bgr")
    assert len(raw.entries("train")) == 1
    with pytest.raises(InvalidInput, match="no list of images"):
        raw.entries("minitrain")


def test_refuses_a_list_cut_short(tmp_path: Path):
    folder = small_set({"val": 4}).write(tmp_path / "raw")
    file = folder / "datalist_val_mp.pt"
    os.truncate(file, file.stat().st_size - 100)
    with pytest.raises(InvalidInput, match="datalist_val_mp.pt"):
        RawDataset(folder, "bgr").entries("val")


# Refusals: pictures and labels


def broken(raw: RawFiles, tmp_path: Path) -> BrokenEntry:
    dataset = RawDataset(raw.write(tmp_path / "raw"), "bgr")
    entry = dataset.entries("val")[0]
    with pytest.raises(BrokenEntry) as caught:
        [dataset.pictures.image(entry), dataset.pictures.labels(entry.mask_id)]
    return caught.value


def test_names_an_image_that_is_missing(tmp_path: Path):
    raw = small_set({"val": 1})
    raw.images.clear()
    raw.images["other"] = b"x"
    error = broken(raw, tmp_path)
    assert error.reason == "image missing"
    assert "image0.jpg" in str(error)


@pytest.mark.parametrize("suffix", ["l", "r"])
def test_names_labels_that_are_missing(tmp_path: Path, suffix: str):
    raw = small_set({"val": 1})
    del raw.labels[f"val0__{suffix}"]
    error = broken(raw, tmp_path)
    assert error.reason == "labels missing"
    assert f"val0__{suffix}" in str(error)


@pytest.mark.parametrize(
    ("suffix", "value"), [("l", 1), ("l", 16), ("l", 33), ("l", 254), ("r", 17), ("r", 32), ("r", 33), ("r", 254)]
)
def test_refuses_values_of_the_other_hand_and_beyond(tmp_path: Path, suffix: str, value: int):
    raw = small_set({"val": 1})
    labels = np.zeros((40, 32, 3), np.uint8)
    labels[5, 6] = value
    raw.labels[f"val0__{suffix}"] = png(labels)
    error = broken(raw, tmp_path)
    assert error.reason == "labels out of range"
    assert f"val0__{suffix} holds the value {value}" in str(error)


def test_refuses_hands_of_two_sizes(tmp_path: Path):
    raw = small_set({"val": 1})
    raw.labels["val0__l"] = png(np.zeros((41, 32, 3), np.uint8))
    assert broken(raw, tmp_path).reason == "labels of another size"


def test_labels_need_equal_channels_or_one():
    labels = np.arange(12, dtype=np.uint8).reshape(3, 4)
    assert np.array_equal(decode_labels(png(labels), "x"), labels)
    assert np.array_equal(decode_labels(png(three_channels(labels)), "x"), labels)
    differing = three_channels(labels)
    differing[1, 1, 2] += 1
    with pytest.raises(BrokenEntry, match="channels that differ"):
        decode_labels(png(differing), "x")
    with pytest.raises(BrokenEntry, match="an alpha channel"):
        decode_labels(png(np.zeros((3, 4, 4), np.uint8)), "x")
    with pytest.raises(BrokenEntry, match="whole PNG"):
        decode_labels(jpeg(three_channels(labels)), "x")


def test_grey_and_transparent_images_are_read_as_rgb():
    grey = np.arange(12, dtype=np.uint8).reshape(3, 4)
    assert np.array_equal(decode_image(png(grey), "x", upright=False), three_channels(grey))
    bgra = np.zeros((2, 2, 4), np.uint8)
    bgra[..., 2] = 200  # OpenCV writes it as red
    assert decode_image(png(bgra), "x", upright=False).tolist() == [[[200, 0, 0]] * 2] * 2
    smooth = a_picture(40, 40, 3)[..., 0]
    assert np.abs(decode_image(jpeg(smooth), "x", upright=False) - three_channels(smooth).astype(int)).max() < 8


def test_every_truncation_of_a_picture_is_refused():
    picture = a_picture(9, 7, 1)
    for whole in (png(picture), jpeg(picture)):
        decode_image(whole, "x", upright=False)
        for length in range(len(whole)):
            with pytest.raises(BrokenEntry):
                decode_image(whole[:length], "x", upright=False)


def png_header(width: int, height: int) -> bytes:
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))


@pytest.mark.parametrize(("width", "height"), [(100_000, 100_000), (50_001, 1000), (2**31 - 1, 1)])
def test_refuses_huge_pictures_by_their_header(width: int, height: int):
    with pytest.raises(BrokenEntry, match="limit|exceeds"):
        decode_image(png_header(width, height) + png(np.zeros((1, 1), np.uint8))[33:], "x", upright=False)


def test_refuses_huge_jpegs_by_their_header():
    encoded = bytearray(jpeg(a_picture(8, 8, 0)))
    start = encoded.index(b"\xff\xc0")
    encoded[start + 5 : start + 9] = struct.pack(">HH", 65000, 65000)
    with pytest.raises(BrokenEntry, match="limit|exceeds"):
        decode_image(bytes(encoded), "x", upright=False)


def test_refuses_other_kinds_of_pictures(tmp_path: Path):
    frames = [Image.new("RGB", (4, 4), (k, 0, 0)) for k in range(3)]
    frames[0].save(tmp_path / "a.png", save_all=True, append_images=frames[1:])
    frames[0].save(tmp_path / "a.gif")
    frames[0].save(tmp_path / "a.bmp")
    cv2.imwrite(str(tmp_path / "deep.png"), np.zeros((4, 4), np.uint16))
    for name, message in (("a.png", "animated"), ("a.gif", "decoded"), ("a.bmp", "decoded"), ("deep.png", "16 bits a channel")):
        with pytest.raises(BrokenEntry, match=message):
            decode_image((tmp_path / name).read_bytes(), name, upright=False)
