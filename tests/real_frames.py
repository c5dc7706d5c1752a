"""Four real frames of InterHand2.6M, which lie beside the project and are no part of it."""

import shutil
from pathlib import Path

import pytest

from tests.project import ROOT

REAL_FRAMES = ROOT.parent / "shared" / "real-frames"
needs_real_frames = pytest.mark.skipif(not REAL_FRAMES.is_dir(), reason="the real frames are not beside this project")


def real_release(folder: Path) -> Path:
    """The four real frames in the release's own folders."""
    (folder / "annotations" / "test").mkdir(parents=True)
    for kind in ("data", "camera", "joint_3d"):
        shutil.copy(REAL_FRAMES / f"test_interhand2.6m_{kind}.json",
                    folder / "annotations" / "test" / f"InterHand2.6M_test_{kind}.json")  # fmt: skip
    (folder / "images").mkdir()
    (folder / "images" / "test").symlink_to(REAL_FRAMES)
    return folder
