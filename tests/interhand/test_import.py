"""Whole imports of a made-up release: what lands where."""

import json

import numpy as np
import pytest
from PIL import Image

from hands.interhand.importer import run_import
from hands.interhand.labels import LabelSource
from hands.interhand.selection import Filters
from hands.packed.prepare import PackConfig, pack
from hands.pictures.previews import raw_preview
from hands.raw.layout import RawDataset
from tests.interhand.whole_imports import PICTURES, configuration, lists


def test_pictures_land_where_the_report_says(imported):
    out, report = imported
    listed = lists(out)
    assert report["pictures"] == {
        "paired": 4, "unpaired_image": 2, "unpaired_masks": 2, "val": 8, "test": 8,
    }  # fmt: skip
    assert {len(listed["train"]), len(listed["unpaired_images"]), len(listed["unpaired_masks"])} == {4, 2}
    assert len(listed["val"]) == len(listed["test"]) == 8
    assert sum(report["pictures"].values()) == PICTURES
    assert report["dropped"] == report["hands_left_out"] == report["without_labels"] == {}
    assert report["joints"]["judged"] == report["joints"]["on_hand"] > 400
    for shares in report["part_shares"].values():
        assert sum(shares.values()) == pytest.approx(1, abs=1e-3)
        assert min(shares.values()) > 0


def test_splits_share_no_subject(imported):
    out, report = imported
    subjects = {
        split: {entry.capture // 2 + 10 for name in names for entry in lists(out)[name]}
        for split, names in {"train": ("train", "unpaired_images"), "val": ("val",), "test": ("test",)}.items()
    }
    assert {split: sorted(found) for split, found in subjects.items()} == report["subjects"]
    assert sum(map(len, subjects.values())) == len(set.union(*subjects.values())) == 3


def test_entries_keep_the_releases_records(imported, release_files):
    out, _ = imported
    records = {}
    for image, annotation in zip(release_files.data["images"], release_files.data["annotations"], strict=True):
        records[image["file_name"].removesuffix(".jpg")] = image, annotation
    raw = RawDataset(out, "bgr")
    for name in ("train", "val", "test"):
        for entry in raw.entries(name):
            split, _, path = entry.path.partition("/")
            assert split == name
            image, annotation = records[path]
            assert (entry.seq_name, entry.capture, entry.frame) == (image["seq_name"], image["capture"], image["frame_idx"])
            assert entry.cam == int(image["camera"])
            assert entry.hand_type == annotation["hand_type"]
            x, y, w, h = annotation["bbox"]
            side = 1.25 * max(w, h)
            np.testing.assert_allclose(entry.box, (x + w / 2 - side / 2, y + h / 2 - side / 2, side, side), atol=1e-3)
            labels = raw.pictures.labels(entry.mask_id)
            assert labels.shape[1:] == (image["height"], image["width"])
            shown = [hand for hand, found in zip(("left", "right"), labels.any(axis=(1, 2)), strict=True) if found]
            assert shown == (["left", "right"] if entry.hand_type == "interacting" else [entry.hand_type])


def test_pictures_keep_their_colours(imported, release_dir):
    """Grey ones to the byte, colour ones to what JPEG loses once more."""
    out, _ = imported
    raw = RawDataset(out, "bgr")
    kinds = set()
    for entry in raw.entries("val") + raw.entries("test"):
        file = release_dir / "images" / "train" / (entry.path.partition("/")[2] + ".jpg")
        original = np.asarray(Image.open(file).convert("RGB")).astype(int)
        grey = bool((original[..., 0] == original[..., 2]).all())
        kinds.add(grey)
        if grey:
            assert raw.pictures.encoded_image(entry) == file.read_bytes()
        else:
            assert np.abs(raw.pictures.image(entry) - original).mean() < 4
    assert kinds == {True, False}


def test_rgb_keeps_every_byte(release_dir, tmp_path):
    config = configuration(release_dir, channel_order="rgb", filters=Filters("", "", "0,2,4", "", 1, 0))
    run_import(config, tmp_path / "rgb")
    for entry in RawDataset(tmp_path / "rgb", "rgb").entries("val"):
        file = release_dir / "images" / "train" / (entry.path.partition("/")[2] + ".jpg")
        assert RawDataset(tmp_path / "rgb", "rgb").pictures.encoded_image(entry) == file.read_bytes()


def test_both_sources_agree_on_the_hand_that_both_know(release_dir, imported, mano_dir, tmp_path):
    """The made-up model is the joints source's own hand: the labels differ by its coarser mesh and its blending alone."""
    out, report = imported
    other = run_import(configuration(release_dir, labels=LabelSource("mano", str(mano_dir), 20.0)), tmp_path / "mano")
    assert other["pictures"] == report["pictures"]
    a, b = RawDataset(out, "bgr"), RawDataset(tmp_path / "mano", "bgr")
    equal, present = 0, 0
    for first, second in zip(a.entries("val"), b.entries("val"), strict=True):
        labels = [raw.pictures.labels(entry.mask_id) for raw, entry in ((a, first), (b, second))]
        either = (labels[0] > 0) | (labels[1] > 0)
        equal += (labels[0] == labels[1])[either].sum()
        present += either.sum()
    assert equal / present > 0.8


def test_the_imported_set_can_be_prepared_and_looked_at(imported, tmp_path):
    out, _ = imported
    manifest = pack(RawDataset(out, "bgr"), tmp_path / "packed", PackConfig(64, 0.0, 1))
    assert {name: subset.count for name, subset in manifest.subsets.items()} == {
        "train": 4, "unpaired_images": 2, "unpaired_masks": 2, "val": 8, "test": 8,
    }  # fmt: skip
    assert raw_preview(out, "val", "bgr").size[0] > 100


def test_the_record_tells_inputs_and_report(imported, release_dir):
    out, report = imported
    record = json.loads((out / "import.json").read_text())
    assert record["report"] == report
    assert record["inputs"]["release_dir"] == str(release_dir)
