"""A base that says little of its pictures: they are taken along, and the new lists say as little."""

from dataclasses import replace
from pathlib import Path

import torch

from hands.interhand.base import base_chunks
from hands.raw.layout import RawDataset
from hands.raw.layout_writer import RawDatasetWriter
from tests.raw.independent_layout import small_set


def test_entries_of_three_fields(tmp_path: Path):
    files = small_set({"train": 2, "unpaired_images": 1, "val": 1, "test": 1})
    for name in ("datalist_train_complete.pt", "datalist_train_mp.pt", "datalist_val_mp.pt", "datalist_stud_test.pt"):
        kept = ("img_path", "bbox", "hand_type", "frame")
        files.lists[name] = [{key: entry[key] for key in kept} for entry in files.lists[name]]
    base = RawDataset(files.write(tmp_path / "base"), "bgr")
    with RawDatasetWriter(tmp_path / "copy") as writer:
        for chunk in base_chunks(base):
            for frame in chunk:
                writer.add_frame(frame)
    copy = RawDataset(tmp_path / "copy", "bgr")
    for subset in ("train", "unpaired_images", "val", "test"):
        before, after = base.entries(subset), copy.entries(subset)
        assert [replace(entry, mask_id=None) for entry in after] == [replace(entry, mask_id=None) for entry in before]
    (written,) = torch.load(tmp_path / "copy" / "datalist_val_mp.pt", weights_only=False)
    assert set(written) == {"img_path", "bbox", "hand_type", "file_name", "frame"} and written["frame"] == 17
