"""Whole imports of the room's made-up release, and what has landed where."""

import dataclasses
from pathlib import Path

from hands.files.lmdb_files import environment
from hands.interhand.importer import ImportConfig
from hands.interhand.labels import LabelSource
from hands.interhand.selection import Filters
from hands.interhand.splits import Shares
from hands.raw.layout import RawDataset

CAPTURES, MOMENTS, CAMERAS = 6, 2, 2
PICTURES = CAPTURES * MOMENTS * CAMERAS
JOINTS = LabelSource("joints", "", 20.0)


def configuration(release_dir: Path, **changes) -> ImportConfig:
    shares = Shares(by="subject", val=0.3, test=0.3, paired=0.5, unpaired_masks=0.5)
    config = ImportConfig(str(release_dir), "train", Filters("", "", "", "", 1, 0), JOINTS, shares, 0, "bgr", "", 1)
    return dataclasses.replace(config, **changes)


def content(folder: Path) -> dict[str, bytes]:
    """Every record of both LMDBs."""
    records = {}
    for name in ("interhand.lmdb", "segm_train_val_mp.lmdb"):
        with environment(folder / name).begin() as transaction:
            records |= {f"{name}/{key.decode()}": value for key, value in transaction.cursor()}
    return records


def lists(folder: Path) -> dict[str, list]:
    raw = RawDataset(folder, "bgr")
    return {name: raw.entries(name) for name in ("train", "unpaired_images", "val", "test")} | {
        "unpaired_masks": raw.unpaired_mask_ids
    }


def same(a: Path, b: Path) -> bool:
    return content(a) == content(b) and lists(a) == lists(b)
