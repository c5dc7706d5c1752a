"""Imports onto a data set that is there."""

import dataclasses

import pytest

from hands.errors import InvalidInput
from hands.interhand import importer
from hands.interhand.importer import run_import
from hands.interhand.splits import Shares
from hands.raw.layout import RawDataset
from hands.raw.layout_writer import RawDatasetWriter
from tests.interhand.made_release import ReleaseFiles, make_release
from tests.interhand.whole_imports import configuration, lists


def test_pictures_are_added_to_a_base(imported, release_dir, tmp_path):
    base, _ = imported
    small = another_capture()
    config = configuration(small.write(tmp_path / "release"), base_dir=str(base), shares=Shares("subject", 0, 0, 1, 0))
    report = run_import(config, tmp_path / "both")
    assert report["base"] == {"paired": 4, "unpaired_image": 2, "unpaired_masks": 2, "val": 8, "test": 8}
    before, after = lists(base), lists(tmp_path / "both")
    assert len(after["train"]) == 4 + 2 and len(after["unpaired_masks"]) == 2
    raw, both = RawDataset(base, "bgr"), RawDataset(tmp_path / "both", "bgr")
    for name in ("train", "val", "test"):
        for old, new in zip(before[name], after[name], strict=False):
            assert dataclasses.replace(old, mask_id="") == dataclasses.replace(new, mask_id="")
            assert raw.pictures.encoded_image(old) == both.pictures.encoded_image(new)
            assert raw.pictures.encoded_labels(old.mask_id) == both.pictures.encoded_labels(new.mask_id)
    with pytest.raises(InvalidInput, match="base_dir has it already"):
        run_import(configuration(release_dir, base_dir=str(base)), tmp_path / "twice")


def another_capture() -> ReleaseFiles:
    """One moment of capture 0 at two cameras, its frame number not in the module's release."""
    made = make_release(1, 1, 2, seed=5)
    for image in made.data["images"]:
        image["frame_idx"] = 77
    made.joint_3d["0"]["77"] = made.joint_3d["0"].pop("1000")
    return made


def test_a_base_whose_test_has_no_labels_keeps_it_so(imported, release_dir, tmp_path):
    with RawDatasetWriter(tmp_path / "base") as writer:
        frame = next(iter(importer.base_chunks(RawDataset(imported[0], "bgr"))))[0]
        writer.add_frame(dataclasses.replace(frame, split="test", role="test", path="test/Capture9/s/cam1/image1",
                                             labels_l=None, labels_r=None))  # fmt: skip
    run_import(configuration(release_dir, base_dir=str(tmp_path / "base")), tmp_path / "both")
    raw = RawDataset(tmp_path / "both", "bgr")
    assert not raw.test_is_labelled
    assert len(raw.entries("test")) == 9
