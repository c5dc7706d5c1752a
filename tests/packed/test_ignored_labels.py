"""255 in label PNGs: carried into the packed set, left out of its counts, moved and mirrored like any label."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from hands.files.crop import box_around
from hands.packed import augment as augment_module
from hands.packed import published_augmentation
from hands.packed.augment import AugmentConfig, augment
from hands.packed.batches import Batch, Shard, seeded_generator
from hands.packed.packed_set import PackedSet
from hands.packed.packed_writer import count_classes
from hands.packed.prepare import PackConfig, pack
from hands.parts import IGNORED
from hands.raw.layout import RawDataset
from tests.raw.independent_layout import label_pngs, png, small_set, three_channels

CONFIG = PackConfig(size=32, max_broken=0.0, workers=1)
BOX = np.array([4, 4, 32, 32], np.float32)


def with_ignored(labels: np.ndarray, ignored: np.ndarray) -> tuple[bytes, bytes]:
    """Left and right PNGs of (2, H, W) labels with 255 where `ignored` (2, H, W) says so, as a user's tool writes them."""
    left, right = np.where(labels[0] > 0, labels[0] + 16, 0), labels[1]
    return tuple(png(three_channels(np.where(where, 255, hand).astype(np.uint8)))
                 for hand, where in zip((left, right), ignored, strict=True))  # fmt: skip


@pytest.fixture
def raw_set(tmp_path: Path) -> RawDataset:
    """One 40 x 40 picture in train; one in val; two unpaired masks. In train0 rows 10..19 of the left hand are ignored and
    columns 0..7 of the right one; 50 pixels of the left hand are part 3."""
    files = small_set({"train": 1, "unpaired_masks": 2, "val": 1}, height=40, width=40)
    labels, ignored = np.zeros((2, 40, 40), np.uint8), np.zeros((2, 40, 40), bool)
    labels[0, 5:10, 10:20] = 3
    ignored[0, 10:20] = ignored[1, :, :8] = True
    files.labels["train0__l"], files.labels["train0__r"] = with_ignored(labels, ignored)
    for entry in files.lists["datalist_train_mp.pt"]:
        entry["bbox"] = BOX
    # a part of the right hand, and ignored pixels of the left one far away from it
    labels, ignored = np.zeros((2, 40, 40), np.uint8), np.zeros((2, 40, 40), bool)
    labels[1, 20:28, 20:28] = 9
    ignored[0, :5] = True
    files.labels["unpaired_masks0__l"], files.labels["unpaired_masks0__r"] = with_ignored(labels, ignored)
    labels[1] = 0
    files.labels["unpaired_masks1__l"], files.labels["unpaired_masks1__r"] = with_ignored(labels, ignored)
    return RawDataset(files.write(tmp_path / "raw"), "bgr")


def test_labels_read_255_as_ignored_for_that_hand(raw_set: RawDataset):
    labels = raw_set.pictures.labels("train0")
    assert (labels[0, 10:20] == IGNORED).all() and (labels[0, 20:] == 0).all() and (labels[0, 5:10, 10:20] == 3).all()
    assert (labels[1, :, :8] == IGNORED).all() and (labels[1, :, 8:] == 0).all()


def test_prepare_packs_them_and_leaves_them_out_of_its_counts(raw_set: RawDataset, tmp_path: Path):
    manifest = pack(raw_set, tmp_path / "packed", dataclasses.replace(CONFIG, max_broken=1.0))
    left, right = PackedSet.open(tmp_path / "packed").subset("train").read([0], None)[0, 3:, 4:36, 4:36].numpy()
    assert (left[6:16] == IGNORED).all() and (left[:6] != IGNORED).all() and (left[16:] == 0).all()
    assert (right[:, :4] == IGNORED).all() and (right[:, 4:] == 0).all()
    counts = manifest.subsets["train"].class_pixels
    assert counts == ((32 * 22 - 50, 0, 0, 50, *13 * (0,)), (32 * 28, *16 * (0,)))
    assert manifest.ignored_share("train") == pytest.approx((32 * 10 + 32 * 4) / (2 * 32 * 32))
    assert manifest.ignored_share("val") == 0


def test_outside_the_picture_is_background_not_ignored(raw_set: RawDataset, tmp_path: Path):
    pack(raw_set, tmp_path / "packed", dataclasses.replace(CONFIG, max_broken=1.0))
    _, right = PackedSet.open(tmp_path / "packed").subset("train").read([0], None)[0, 3:].numpy()
    assert right.shape == (40, 40) and (right[:, :8] == IGNORED).all()  # the record is the whole picture
    files = small_set({"val": 1}, height=40, width=40)
    files.labels["val0__l"], files.labels["val0__r"] = label_pngs(np.zeros((2, 40, 40), np.uint8))
    files.labels["val0__r"] = png(np.full((40, 40, 3), 255, np.uint8))
    files.lists["datalist_val_mp.pt"][0]["bbox"] = np.array([20, 4, 32, 32], np.float32)
    pack(RawDataset(files.write(tmp_path / "raw2"), "bgr"), tmp_path / "packed2", CONFIG)
    _, right = PackedSet.open(tmp_path / "packed2").subset("val").read([0], None)[0, 3:].numpy()
    assert (right[:, :24] == IGNORED).all() and (right[:, 24:] == 0).all()


def test_unpaired_masks_are_framed_by_parts_alone(raw_set: RawDataset, tmp_path: Path):
    manifest = pack(raw_set, tmp_path / "packed", dataclasses.replace(CONFIG, max_broken=1.0))
    assert manifest.subsets["unpaired_masks"].dropped == {"labels empty": 1}  # the one of which nothing but 255 is said
    subset = PackedSet.open(tmp_path / "packed").subset("unpaired_masks")
    left, right = subset.read([0], None)[0].numpy()
    assert subset.hand_types.tolist() == [1]  # the ignored pixels are no left hand
    assert (left[4:36, 4:36] == 0).all()
    assert (right[4:36, 4:36] == 9).mean() == pytest.approx(0.8**2, abs=0.05)


def test_box_around_sees_no_ignored_pixel():
    labels = np.full((2, 30, 40), IGNORED, np.uint8)
    assert box_around(labels) is None
    labels[1, 10:18, 4:12] = 5
    _, _, side, _ = box_around(labels)
    assert side == 10


def test_count_classes_by_hand():
    labels = np.zeros((2, 20, 20), np.uint8)
    labels[0, 2, 2:5] = 4
    labels[0, 3] = IGNORED
    counts = count_classes(labels, 16)
    assert counts.tolist() == [[256 - 16 - 3, 0, 0, 0, 3] + 12 * [0], [256] + 16 * [0]]


def test_augmentation_moves_and_mirrors_them(monkeypatch: pytest.MonkeyPatch):
    records = torch.zeros(64, 5, 80, 80, dtype=torch.uint8)
    records[:, 3, :, :40] = IGNORED
    published = AugmentConfig("published", hand_paste=0.0)
    labels = augment(Batch(records, torch.full((64,), 2)), 64, published, seeded_generator(0), Shard(0, 1)).labels
    assert set(labels.unique().tolist()) == {0, IGNORED}
    monkeypatch.setattr(augment_module, "FLIP_PROBABILITY", 1.0)
    for name in ("SCALE_STEP", "ROTATION_STEP", "TRANSLATION"):
        monkeypatch.setattr(published_augmentation, name, 0.0)
    labels = augment(Batch(records[:1], torch.tensor([2])), 64, published, seeded_generator(0), Shard(0, 1)).labels
    assert (labels[0, 0] == 0).all() and (labels[0, 1, :, :32] == 0).all() and (labels[0, 1, :, 32:] == IGNORED).all()
