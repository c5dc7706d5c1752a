"""The raw layout as a user's own code writes and reads it: OpenCV, lmdb, pickle and torch.save, nothing of this project."""

import pickle
import random
import struct
import zlib
from pathlib import Path

import cv2
import lmdb
import numpy as np
import torch

PREFIX = "./data/InterHand2.6M/images/"


def a_picture(height: int, width: int, seed: int) -> np.ndarray:
    """(H, W, 3) uint8 RGB, smooth, reddish: so that swapped channels and shifts show, and JPEG keeps it close."""
    random_colours = np.random.default_rng(seed).integers(0, 256, (5, 5, 3), dtype=np.uint8)
    picture = cv2.resize(random_colours, (width, height), interpolation=cv2.INTER_CUBIC)
    picture[..., 2] //= 4
    return picture


def some_labels(height: int, width: int, seed: int) -> np.ndarray:
    """(2, H, W) uint8 of 0..16: rectangles, every part in both hands."""
    generator = np.random.default_rng(seed)
    labels = np.zeros((2, height, width), np.uint8)
    for hand in range(2):
        for part in generator.permutation(16) + 1:
            y, x = generator.integers(0, height - 4), generator.integers(0, width - 4)
            labels[hand, y : y + height // 4, x : x + width // 4] = part
    return labels


def png(array: np.ndarray) -> bytes:
    return cv2.imencode(".png", array)[1].tobytes()


def jpeg(array: np.ndarray) -> bytes:
    return cv2.imencode(".jpg", array, [cv2.IMWRITE_JPEG_QUALITY, 98])[1].tobytes()


def commented(encoded: bytes, comment: str) -> bytes:
    """The same picture with a comment in its file."""
    text = b"Comment\0" + comment.encode()
    if encoded.startswith(b"\xff\xd8"):
        return encoded[:2] + b"\xff\xfe" + struct.pack(">H", 2 + len(text)) + text + encoded[2:]
    chunk = b"tEXt" + text
    end_of_header = 33
    whole = struct.pack(">I", len(text)) + chunk + struct.pack(">I", zlib.crc32(chunk))
    return encoded[:end_of_header] + whole + encoded[end_of_header:]


def three_channels(labels: np.ndarray) -> np.ndarray:
    return np.repeat(labels[..., None], 3, axis=2)


def label_pngs(labels: np.ndarray) -> tuple[bytes, bytes]:
    """Left (17..32) and right (1..16) PNGs of (2, H, W) labels."""
    left = np.where(labels[0] > 0, labels[0] + 16, 0).astype(np.uint8)
    return png(three_channels(left)), png(three_channels(labels[1]))


def an_entry(path: str, box: list[float], hand_type: str = "interacting", **more) -> dict:
    return {
        "img_path": f"{PREFIX}{path}.jpg",
        "bbox": np.array(box, dtype=np.float32),
        "hand_type": hand_type,
        "hand_type_valid": True,
        "seq_name": "0000_seq",
        "file_name": f"{path.partition('/')[2]}.jpg",
        "capture": "0",
        "cam": "400123",
        "frame": 17,
        **more,
    }


def write_lmdb(folder: Path, values: dict[str, bytes]) -> None:
    with lmdb.open(str(folder), map_size=1 << 30) as handle, handle.begin(write=True) as transaction:
        for key, value in values.items():
            transaction.put(key.encode(), value)


def read_lmdb(folder: Path) -> dict[str, bytes]:
    with lmdb.open(str(folder), readonly=True, lock=False) as handle, handle.begin() as transaction:
        return {key.decode(): value for key, value in transaction.cursor()}


class RawFiles:
    """A raw data set in memory, to be changed at will before it is written."""

    def __init__(self):
        self.images: dict[str, bytes] = {}
        self.labels: dict[str, bytes] = {}
        self.lists: dict[str, list | dict] = {
            "datalist_train_complete.pt": [],
            "datalist_train_mp.pt": [],
            "datalist_val_mp.pt": [],
            "datalist_stud_test.pt": [],
            "path2id_train.pt": {},
            "path2id_val.pt": {},
            "unpaired_segm_ids.pt": [],
        }

    def put_image(self, entry: dict, encoded: bytes) -> None:
        self.images[entry["img_path"].removeprefix("./")] = encoded

    def put_labels(self, mask_id: str, labels: np.ndarray) -> None:
        self.labels[f"{mask_id}__l"], self.labels[f"{mask_id}__r"] = label_pngs(labels)

    def write(self, folder: Path) -> Path:
        folder.mkdir(parents=True)
        write_lmdb(folder / "interhand.lmdb", self.images)
        write_lmdb(folder / "segm_train_val_mp.lmdb", self.labels)
        for name, content in self.lists.items():
            torch.save(content, folder / name)
        return folder


def small_set(counts: dict[str, int], height: int = 40, width: int = 32) -> RawFiles:
    """Frames named image<position> of train, unpaired_images, unpaired_masks, val and test; PNG and JPEG, both orientations.

    Frame k of a subset shows a_picture(h, w, k) and some_labels(h, w, k), h and w swapped for odd k; it is a PNG unless
    k % 4 == 3, and RGB went into OpenCV's encoder, so the file has red and blue swapped. Its path is a
    comment in it: no two files are the same.
    """
    raw = RawFiles()
    order = random.Random(0)
    for subset, count in counts.items():
        split = "train" if subset.startswith("unpaired") else subset
        for k in range(count):
            h, w = (height, width) if k % 2 == 0 else (width, height)
            path = f"{split}/Capture1/{subset}/cam400123/image{k}"
            entry = an_entry(path, [-3.5, 2.25, 36.0, 36.0], ("left", "right", "interacting")[k % 3])
            mask_id = f"{subset}{k}"
            if subset in ("train", "unpaired_masks", "val"):
                raw.put_labels(mask_id, some_labels(h, w, k))
            if subset == "unpaired_masks":
                raw.lists["unpaired_segm_ids.pt"].append(mask_id)
                continue
            raw.put_image(entry, commented((jpeg if k % 4 == 3 else png)(a_picture(h, w, k)), path))
            if split == "train":
                raw.lists["datalist_train_complete.pt"].append(entry)
            name = {"train": "datalist_train_mp.pt", "val": "datalist_val_mp.pt", "test": "datalist_stud_test.pt"}.get(subset)
            if name:
                raw.lists[name].append(entry)
            if subset in ("train", "val"):
                raw.lists[f"path2id_{split}.pt"][path] = mask_id
    order.shuffle(raw.lists["datalist_train_complete.pt"])
    return raw


def load_pickled(file: Path) -> list | dict:
    """As existing loaders do: torch's own unpickler, everything allowed."""
    return torch.load(file, weights_only=False, pickle_module=pickle)
