"""Whole imports of a made-up release: what lands where, interruptions, and what is left out, counted or refused."""

import copy
import dataclasses
import json
import os
import pickle
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import psutil
import pytest
from PIL import Image

from hands.errors import InvalidInput
from hands.files.lmdb_files import environment
from hands.interhand import importer
from hands.interhand.importer import ImportConfig, run_import
from hands.interhand.labels import LabelSource
from hands.interhand.selection import Filters
from hands.interhand.splits import Shares
from hands.packed.prepare import PackConfig, pack
from hands.pictures.previews import raw_preview
from hands.raw.layout import RawDataset
from hands.raw.layout_writer import RawDatasetWriter
from tests.interhand.made_release import ReleaseFiles, make_release, write_mano, write_mano_npz
from tests.project import wait_until

CAPTURES, MOMENTS, CAMERAS = 6, 2, 2
PICTURES = CAPTURES * MOMENTS * CAMERAS
JOINTS = LabelSource("joints", "", 20.0)


@pytest.fixture(scope="module")
def files() -> ReleaseFiles:
    return make_release(CAPTURES, MOMENTS, CAMERAS, seed=0)


@pytest.fixture(scope="module")
def release_dir(files, tmp_path_factory) -> Path:
    return files.write(tmp_path_factory.mktemp("release"))


@pytest.fixture(scope="module")
def mano_dir(tmp_path_factory) -> Path:
    return write_mano(tmp_path_factory.mktemp("mano") / "models")


def configuration(release_dir: Path, **changes) -> ImportConfig:
    shares = Shares(by="subject", val=0.3, test=0.3, paired=0.5, unpaired_masks=0.5)
    config = ImportConfig(str(release_dir), "train", Filters("", "", "", "", 1, 0), JOINTS, shares, 0, "bgr", "", 1)
    return dataclasses.replace(config, **changes)


@pytest.fixture(scope="module")
def imported(release_dir, tmp_path_factory) -> tuple[Path, dict]:
    out = tmp_path_factory.mktemp("imported") / "data"
    return out, run_import(configuration(release_dir), out)


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


def test_entries_keep_the_releases_records(imported, files):
    out, _ = imported
    records = {}
    for image, annotation in zip(files.data["images"], files.data["annotations"], strict=True):
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


# again, interrupted, in parallel


def test_a_finished_import_is_recognised_and_another_is_refused(imported, release_dir, monkeypatch):
    out, report = imported
    monkeypatch.setattr(importer, "_import_chunks", None)  # nothing may be imported again
    assert run_import(configuration(release_dir, workers=2), out) == report
    with pytest.raises(InvalidInput, match="other parameters"):
        run_import(configuration(release_dir, seed=1), out)


def test_a_changed_annotation_is_another_import(files, imported, tmp_path):
    """The same folder, one coordinate of one joint moved."""
    out = tmp_path / "data"
    release = files.write(tmp_path / "release")
    run_import(configuration(release), out)
    changed = copy.deepcopy(files)
    changed.joint_3d["0"]["1000"]["world_coord"][0][0] += 0.1
    changed.write(release)
    with pytest.raises(InvalidInput, match="other parameters, inputs or code"):
        run_import(configuration(release), out)


def test_workers_and_an_error_midway_do_not_show(imported, release_dir, tmp_path, monkeypatch):
    out, report = imported
    monkeypatch.setattr(importer, "_CHUNK", 4)
    original, calls = importer.RawFolderWriter.add_frame, []

    def failing(self, frame):
        calls.append(frame.path)
        if len(calls) == 11:
            raise OSError("disk full")
        original(self, frame)

    monkeypatch.setattr(importer.RawFolderWriter, "add_frame", failing)
    with pytest.raises(OSError, match="disk full"):
        run_import(configuration(release_dir), tmp_path / "data")
    assert not (tmp_path / "data").exists()
    with pytest.raises(InvalidInput, match="has no datalist"):
        RawDataset(tmp_path / ".data.importing", "bgr")
    resumed = run_import(configuration(release_dir, workers=2), tmp_path / "data")
    assert len(calls) == 11 + PICTURES - 8  # two chunks of four were kept
    assert same(tmp_path / "data", out)
    assert {**resumed, "seconds": 0} == {**report, "seconds": 0}
    assert not (tmp_path / ".data.importing").exists()


def test_other_parameters_do_not_go_on_with_an_unfinished_import(release_dir, tmp_path, monkeypatch):
    monkeypatch.setattr(importer, "_CHUNK", 4)
    monkeypatch.setattr(importer.Tally, "report", lambda *arguments: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        run_import(configuration(release_dir), tmp_path / "data")
    monkeypatch.undo()
    with pytest.raises(InvalidInput, match="unfinished import"):
        run_import(configuration(release_dir, seed=1), tmp_path / "data")
    run_import(configuration(release_dir), tmp_path / "data")


def test_a_torn_journal_line_is_done_again(imported, release_dir, tmp_path, monkeypatch):
    monkeypatch.setattr(importer, "_CHUNK", 8)
    monkeypatch.setattr(importer.Tally, "report", lambda *arguments: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        run_import(configuration(release_dir), tmp_path / "data")
    monkeypatch.undo()
    monkeypatch.setattr(importer, "_CHUNK", 8)
    journal = tmp_path / ".data.importing" / "journal.jsonl"
    journal.write_bytes(journal.read_bytes()[:-40])
    run_import(configuration(release_dir), tmp_path / "data")
    assert same(tmp_path / "data", imported[0])


def test_killed_outright_it_leaves_nothing_whole_and_goes_on(imported, release_dir, tmp_path, monkeypatch):
    """kill -9 after two chunks: no data set, no process is left behind; repeated, the same data set."""
    out = tmp_path / "data"
    script = tmp_path / "run.py"
    script.write_text(
        "if __name__ == '__main__':\n"
        "    import pickle, sys, time\n"
        "    from hands.interhand import importer\n"
        "    importer._CHUNK = 2\n"
        "    record = importer.Staging.record\n"
        "    importer.Staging.record = lambda self, line: (record(self, line), time.sleep(0.4 if 'chunk' in line else 0))\n"
        "    importer.run_import(pickle.load(open(sys.argv[1], 'rb')), sys.argv[2])\n"
    )
    (tmp_path / "config").write_bytes(pickle.dumps(configuration(release_dir, workers=2)))
    environ = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    process = subprocess.Popen([sys.executable, str(script), str(tmp_path / "config"), str(out)], env=environ)
    journal = tmp_path / ".data.importing" / "journal.jsonl"
    try:
        wait_until(lambda: journal.exists() and journal.read_bytes().count(b"\n") >= 3, process)
        children = psutil.Process(process.pid).children(recursive=True)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert not out.exists()
    done = journal.read_bytes().count(b"\n") - 1
    assert 2 <= done < PICTURES // 2
    assert psutil.wait_procs(children, timeout=100)[1] == []
    monkeypatch.setattr(importer, "_CHUNK", 2)
    run_import(configuration(release_dir), out)
    assert same(out, imported[0])


def test_two_imports_at_once_are_refused(release_dir, tmp_path):
    with importer.Staging(tmp_path / "data", "key"):
        with pytest.raises(InvalidInput, match="Another import"):
            run_import(configuration(release_dir), tmp_path / "data")


def test_an_occupied_folder_is_refused(release_dir, tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "mine.txt").write_text("")
    with pytest.raises(InvalidInput, match="already holds files"):
        run_import(configuration(release_dir), tmp_path / "data")
    (tmp_path / "data" / "import.json").write_text("{")
    with pytest.raises(InvalidInput, match="import.json is damaged"):
        run_import(configuration(release_dir), tmp_path / "data")


# onto a data set that is there


def test_pictures_are_added_to_a_base(imported, release_dir, tmp_path):
    base, _ = imported
    small = files_of_another_capture()
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


def files_of_another_capture() -> ReleaseFiles:
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


# bad input


def spoiled(files: ReleaseFiles, tmp_path: Path, change, **changes) -> tuple[dict, Path]:
    spoilt = copy.deepcopy(files)
    change(spoilt)
    folder = spoilt.write(tmp_path / "release")
    shares = Shares("subject", 0, 0, 1, 0)
    return run_import(configuration(folder, shares=shares, **changes), tmp_path / "data"), tmp_path / "data"


def counted(kind: dict) -> dict[str, int]:
    return {reason: found["count"] for reason, found in kind.items()}


def test_pictures_that_are_not_there_black_damaged_or_of_another_size_are_counted(files, tmp_path):
    names = [image["file_name"] for image in files.data["images"]]

    def change(f):
        del f.pictures[names[0]]
        f.pictures[names[1]] = np.zeros_like(f.pictures[names[1]])
        f.pictures[names[2]] = f.pictures[names[2]][:-1]
        f.data["annotations"][3]["bbox"] = [5000.0, 5000.0, 10.0, 10.0]

    report, out = spoiled(files, tmp_path, change)
    assert counted(report["dropped"]) == {
        "picture missing": 1, "picture all black": 1, "picture of another size": 1, "box outside the picture": 1,
    }  # fmt: skip
    assert report["pictures"]["paired"] == PICTURES - 4 == len(lists(out)["train"])
    assert report["dropped"]["picture missing"]["examples"] == ["train/" + names[0].removesuffix(".jpg")]


def test_hands_with_invalid_joints_are_left_out_and_their_pictures_unpaired(files, tmp_path):
    capture, (frame, record) = "0", next(iter(files.joint_3d["0"].items()))
    hand = next(hand for hand, rows in (("right", 0), ("left", 21)) if record["joint_valid"][rows][0])

    def change(f):
        f.joint_3d[capture][frame]["joint_valid"][3 if hand == "right" else 24] = [False]
        del f.joint_3d["1"]["1000"]
        f.data["annotations"][-1]["hand_type_valid"] = 0
        other = f.data["images"][-2]
        f.camera[str(other["capture"])]["camrot"].pop(other["camera"])

    report, out = spoiled(files, tmp_path, change)
    assert counted(report["hands_left_out"])["invalid joints"] == CAMERAS
    assert report["hands_left_out"]["invalid joints"]["examples"][0].endswith(hand)
    assert counted(report["hands_left_out"])["no joints in joint_3d"] >= CAMERAS
    assert counted(report["without_labels"]) == {
        "a hand left out": 2 * CAMERAS, "camera without extrinsics": 2, "hand_type not valid": 1,
    }  # fmt: skip
    assert report["pictures"]["unpaired_image"] == 2 * CAMERAS + 3 == len(lists(out)["unpaired_images"])
    assert report["dropped"] == {}


def test_in_val_a_picture_without_labels_is_dropped(files, tmp_path):
    spoilt = copy.deepcopy(files)
    for moments in spoilt.joint_3d.values():
        del moments["1000"]
    config = configuration(spoilt.write(tmp_path / "release"), shares=Shares("subject", 1, 0, 1, 0))
    report = run_import(config, tmp_path / "data")
    assert counted(report["dropped"]) == {"no labels": PICTURES // 2}
    assert report["pictures"]["val"] == PICTURES // 2


def test_fits_that_are_null_do_not_match_or_miss_the_joints_are_left_out(files, mano_dir, tmp_path):
    both = [(c, m) for c, moments in files.joint_3d.items() for m, r in moments.items() if r["hand_type"] == "interacting"]
    one = [(c, m) for c, moments in files.joint_3d.items() for m, r in moments.items() if r["hand_type"] != "interacting"]

    def change(f):
        f.mano[both[0][0]][both[0][1]]["left"] = None
        f.mano[both[1][0]][both[1][1]]["right"]["trans"][0] += 0.05
        fits = f.mano[one[0][0]][one[0][1]]
        for hand in fits:
            fits[hand] = fits[hand] or next(fit for fit in fits.values() if fit)
        del f.mano[both[2][0]][both[2][1]]

    report, _ = spoiled(files, tmp_path, change, labels=LabelSource("mano", str(mano_dir), 20.0))
    assert counted(report["hands_left_out"]) == {
        "no MANO fit": 3 * CAMERAS, "MANO fit above max_fit_error_mm": CAMERAS,
    }  # fmt: skip
    assert counted(report["without_labels"]) == {"a hand left out": 3 * CAMERAS, "MANO fits do not match hand_type": CAMERAS}


def test_nothing_left_and_wrong_sources_are_refused(files, release_dir, tmp_path):
    with pytest.raises(InvalidInput, match=r"No picture could be imported: picture missing \(24\)"):
        spoiled(files, tmp_path, lambda f: setattr(f, "pictures", {"another.jpg": np.zeros((8, 8, 3), np.uint8)}))
    assert not (tmp_path / "data").exists()
    with pytest.raises(InvalidInput, match="MANO_LEFT"):
        run_import(configuration(release_dir, labels=LabelSource("mano", str(tmp_path), 20.0)), tmp_path / "mano")
    folder = write_mano_npz(tmp_path / "npz")
    (folder / "MANO_RIGHT.npz").write_bytes(b"PK\x03\x04")
    with pytest.raises(InvalidInput, match="MANO_RIGHT.npz is no MANO model"):
        run_import(configuration(release_dir, labels=LabelSource("mano", str(folder), 20.0)), tmp_path / "mano")
    assert not (tmp_path / "mano").exists()


def test_a_missing_key_is_refused_and_nothing_is_written(files, tmp_path):
    with pytest.raises(InvalidInput, match=r"images\[3\] has no 'subject'"):
        spoiled(files, tmp_path, lambda f: f.data["images"][3].pop("subject"))
    assert not (tmp_path / "data").exists()


def test_the_record_tells_inputs_and_report(imported, release_dir):
    out, report = imported
    record = json.loads((out / "import.json").read_text())
    assert record["report"] == report
    assert record["inputs"]["release_dir"] == str(release_dir)
