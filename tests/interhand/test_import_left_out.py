"""What an import leaves out, counted, and what it refuses."""

import copy
from pathlib import Path

import numpy as np
import pytest

from hands.errors import InvalidInput
from hands.interhand.importer import run_import
from hands.interhand.labels import LabelSource
from hands.interhand.splits import Shares
from tests.interhand.made_mano import write_mano_npz
from tests.interhand.made_release import ReleaseFiles
from tests.interhand.whole_imports import CAMERAS, PICTURES, configuration, lists


def spoiled(release_files: ReleaseFiles, tmp_path: Path, change, **changes) -> tuple[dict, Path]:
    spoilt = copy.deepcopy(release_files)
    change(spoilt)
    folder = spoilt.write(tmp_path / "release")
    shares = Shares("subject", 0, 0, 1, 0)
    return run_import(configuration(folder, shares=shares, **changes), tmp_path / "data"), tmp_path / "data"


def counted(kind: dict) -> dict[str, int]:
    return {reason: found["count"] for reason, found in kind.items()}


def test_pictures_that_are_not_there_black_damaged_or_of_another_size_are_counted(release_files, tmp_path):
    names = [image["file_name"] for image in release_files.data["images"]]

    def change(f):
        del f.pictures[names[0]]
        f.pictures[names[1]] = np.zeros_like(f.pictures[names[1]])
        f.pictures[names[2]] = f.pictures[names[2]][:-1]
        f.data["annotations"][3]["bbox"] = [5000.0, 5000.0, 10.0, 10.0]

    report, out = spoiled(release_files, tmp_path, change)
    assert counted(report["dropped"]) == {
        "picture missing": 1, "picture all black": 1, "picture of another size": 1, "box outside the picture": 1,
    }  # fmt: skip
    assert report["pictures"]["paired"] == PICTURES - 4 == len(lists(out)["train"])
    assert report["dropped"]["picture missing"]["examples"] == ["train/" + names[0].removesuffix(".jpg")]


def test_hands_with_invalid_joints_are_left_out_and_their_pictures_unpaired(release_files, tmp_path):
    capture, (frame, record) = "0", next(iter(release_files.joint_3d["0"].items()))
    hand = next(hand for hand, rows in (("right", 0), ("left", 21)) if record["joint_valid"][rows][0])

    def change(f):
        f.joint_3d[capture][frame]["joint_valid"][3 if hand == "right" else 24] = [False]
        del f.joint_3d["1"]["1000"]
        f.data["annotations"][-1]["hand_type_valid"] = 0
        other = f.data["images"][-2]
        f.camera[str(other["capture"])]["camrot"].pop(other["camera"])

    report, out = spoiled(release_files, tmp_path, change)
    assert counted(report["hands_left_out"])["invalid joints"] == CAMERAS
    assert report["hands_left_out"]["invalid joints"]["examples"][0].endswith(hand)
    assert counted(report["hands_left_out"])["no joints in joint_3d"] >= CAMERAS
    assert counted(report["without_labels"]) == {
        "a hand left out": 2 * CAMERAS, "camera without extrinsics": 2, "hand_type not valid": 1,
    }  # fmt: skip
    assert report["pictures"]["unpaired_image"] == 2 * CAMERAS + 3 == len(lists(out)["unpaired_images"])
    assert report["dropped"] == {}


def test_in_val_a_picture_without_labels_is_dropped(release_files, tmp_path):
    spoilt = copy.deepcopy(release_files)
    for moments in spoilt.joint_3d.values():
        del moments["1000"]
    config = configuration(spoilt.write(tmp_path / "release"), shares=Shares("subject", 1, 0, 1, 0))
    report = run_import(config, tmp_path / "data")
    assert counted(report["dropped"]) == {"no labels": PICTURES // 2}
    assert report["pictures"]["val"] == PICTURES // 2


def test_fits_that_are_null_do_not_match_or_miss_the_joints_are_left_out(release_files, mano_dir, tmp_path):
    shown = {(c, m): record["hand_type"] for c, moments in release_files.joint_3d.items() for m, record in moments.items()}
    both = [moment for moment, hand_type in shown.items() if hand_type == "interacting"]
    one = [moment for moment, hand_type in shown.items() if hand_type != "interacting"]

    def change(f):
        f.mano[both[0][0]][both[0][1]]["left"] = None
        f.mano[both[1][0]][both[1][1]]["right"]["trans"][0] += 0.05
        fits = f.mano[one[0][0]][one[0][1]]
        for hand in fits:
            fits[hand] = fits[hand] or next(fit for fit in fits.values() if fit)
        del f.mano[both[2][0]][both[2][1]]

    report, _ = spoiled(release_files, tmp_path, change, labels=LabelSource("mano", str(mano_dir), 20.0))
    assert counted(report["hands_left_out"]) == {
        "no MANO fit": 3 * CAMERAS, "MANO fit above max_fit_error_mm": CAMERAS,
    }  # fmt: skip
    assert counted(report["without_labels"]) == {"a hand left out": 3 * CAMERAS, "MANO fits do not match hand_type": CAMERAS}


def test_nothing_left_and_wrong_sources_are_refused(release_files, release_dir, tmp_path):
    with pytest.raises(InvalidInput, match=r"No picture could be imported: picture missing \(24\)"):
        spoiled(release_files, tmp_path, lambda f: setattr(f, "pictures", {"another.jpg": np.zeros((8, 8, 3), np.uint8)}))
    assert not (tmp_path / "data").exists()
    with pytest.raises(InvalidInput, match="MANO_LEFT"):
        run_import(configuration(release_dir, labels=LabelSource("mano", str(tmp_path), 20.0)), tmp_path / "mano")
    folder = write_mano_npz(tmp_path / "npz")
    (folder / "MANO_RIGHT.npz").write_bytes(b"PK\x03\x04")
    with pytest.raises(InvalidInput, match="MANO_RIGHT.npz is no MANO model"):
        run_import(configuration(release_dir, labels=LabelSource("mano", str(folder), 20.0)), tmp_path / "mano")
    assert not (tmp_path / "mano").exists()


def test_a_missing_key_is_refused_and_nothing_is_written(release_files, tmp_path):
    with pytest.raises(InvalidInput, match=r"images\[3\] has no 'subject'"):
        spoiled(release_files, tmp_path, lambda f: f.data["images"][3].pop("subject"))
    assert not (tmp_path / "data").exists()
