"""The entry point `predict`: a folder of pictures, a split, the test split."""

import csv
import io
import json
import tarfile

import numpy as np
import pytest
from PIL import Image

from entrypoints.predict import N_PREVIEWS
from hands.pictures.figures import GAP, TILE, sheet_font
from tests.project import artifact_paths, invoke, newest_run
from tests.real_frames import REAL_FRAMES, needs_real_frames

SHAPES = {"upright.png": (90, 60, 3), "lying.jpg": (40, 100, 3), "grey.png": (64, 64), "tiny.png": (9, 7, 3)}
BOXES = {"upright.png": [5, 20, 50, 50], "grey.png": [-10, 0, 40, 30]}


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """A folder of pictures of several sizes, in colour and grey, and a file that is none."""
    folder = tmp_path_factory.mktemp("my pictures")
    generator = np.random.default_rng(0)
    for name, shape in SHAPES.items():
        Image.fromarray(generator.integers(0, 256, shape, dtype=np.uint8)).save(folder / name)
    (folder / "notes.txt").write_text("not a picture")
    return folder


@pytest.fixture
def predict(store, logged, tmp_path):
    """Runs the entry point with the small network; the folder it wrote."""

    def run(**overrides: object):
        result = invoke("predict", model=logged.g2_uri, out_dir=tmp_path / "out dir", **overrides)
        assert result.exit_code == 0, result.output
        return tmp_path / "out dir"

    return run


def labels_of(folder, name: str) -> np.ndarray:
    return np.stack([np.asarray(Image.open(folder / "labels" / f"{name}__{hand}.png")) for hand in "lr"])


def test_every_picture_gets_labels_of_its_own_size(predict, pictures, store):
    folder = predict(images=pictures)
    for name, shape in SHAPES.items():
        labels = labels_of(folder, name)
        assert labels.shape == (2, *shape[:2]) and labels.dtype == np.uint8 and labels.max() <= 16
        overlay = Image.open(folder / "overlays" / f"{name}.png")
        side = max(TILE, shape[1])
        assert overlay.width == 2 * (side + GAP) + 2 * GAP and overlay.height > side * shape[0] / shape[1]
    assert len(list((folder / "labels").iterdir())) == 2 * len(SHAPES)
    run = newest_run(store)
    assert artifact_paths(store, run, "overlays") == {f"overlays/{name}.png" for name in SHAPES}
    assert "predictions.csv" in artifact_paths(store, run)
    assert run.data.tags["hands.output.predictions"] == str(folder)


def write_json(file, boxes) -> None:
    file.write_text(json.dumps(boxes))


def write_csv(file, boxes) -> None:
    with file.open("w", newline="") as lines:
        csv.writer(lines).writerows([["file", "x", "y", "w", "h"], *([name, *box] for name, box in boxes.items())])


@pytest.mark.parametrize(("name", "write"), [("boxes.json", write_json), ("boxes.csv", write_csv)])
def test_with_boxes_nothing_is_painted_outside_of_them(predict, pictures, tmp_path, name, write):
    write(tmp_path / name, BOXES)
    folder = predict(images=pictures, boxes=tmp_path / name)
    assert len(list((folder / "labels").iterdir())) == 2 * len(SHAPES)  # the others' boxes are found
    rows = {row["file"]: row for row in csv.DictReader((folder / "predictions.csv").open(newline=""))}
    assert [float(rows["upright.png"][n]) for n in "xywh"] == [5, 20, 50, 50]
    assert {name: (row["found"], row["passes"] == "1") for name, row in rows.items()} == {
        name: ("no", True) if name in BOXES else ("yes", False) for name in SHAPES
    }
    labels = labels_of(folder, "upright.png")
    assert labels[:, 20:70, 5:55].any()
    labels[:, 20:70, 5:55] = 0
    assert not labels.any()
    assert labels_of(folder, "grey.png").shape == (2, 64, 64)


def test_two_people_in_one_picture(predict, pictures, tmp_path):
    (tmp_path / "boxes.csv").write_text("upright.png,0,0,30,30\nlying.jpg,0,0,40,40\nupright.png,30,50,30,40\n")
    folder = predict(images=pictures, boxes=tmp_path / "boxes.csv")
    assert labels_of(folder, "upright.png__box2").shape == (2, 90, 60)
    outside = labels_of(folder, "upright.png__box1").copy()
    outside[:, :30, :30] = 0
    assert not outside.any() and labels_of(folder, "upright.png__box1").any()
    assert (folder / "overlays" / "upright.png__box1.png").is_file() and not (folder / "overlays" / "upright.png.png").exists()
    rows = [row for row in csv.DictReader((folder / "predictions.csv").open(newline="")) if row["file"] == "upright.png"]
    assert [(row["box"], row["w"]) for row in rows] == [("1", "30.00"), ("2", "40.00")]


def test_what_cannot_be_read_costs_nothing_else(store, logged, tmp_path):
    pictures, out_dir = tmp_path / "pictures", tmp_path / "out"
    (pictures / "trip").mkdir(parents=True)
    whole = Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8))
    for name in ("a.jpg", "trip/b.webp", "trip/c.jfif"):
        whole.save(pictures / name, "WEBP" if name.endswith("webp") else "JPEG")
    (pictures / "cut.jpg").write_bytes((pictures / "a.jpg").read_bytes()[:-400])
    (pictures / "._a.jpg").write_bytes(b"macOS")
    (pictures / "d.heic").write_bytes(b"heic")
    result = invoke("predict", model=logged.g2_uri, images=pictures, out_dir=out_dir, eval_batch_size=2)
    assert result.exit_code == 1
    assert "1 of 4 pictures could not be labelled (cut.jpg); all others are in" in result.output
    assert "Not read, for they are no PNG, JPEG or WebP: d.heic" in result.output and "._a.jpg" not in result.output
    assert labels_of(out_dir, "trip/b.webp").shape == labels_of(out_dir, "trip/c.jfif").shape == (2, 40, 50)
    run = newest_run(store)
    assert run.info.status == "FAILED" and "cut.jpg" in run.data.tags["hands.failure"]
    assert run.data.tags["hands.output.predictions"] == str(out_dir)
    assert artifact_paths(store, run, "overlays/trip") == {"overlays/trip/b.webp.png", "overlays/trip/c.jfif.png"}


def test_outputs_within_the_pictures_are_refused(store, logged, pictures):
    result = invoke("predict", model=logged.g2_uri, images=pictures, out_dir=pictures / "labels")
    assert result.exit_code == 1 and "the next call would label it" in result.output


def test_flip_averages_two_looks(predict, pictures):
    folder = predict(images=pictures, flip=True, precision="32-true")
    assert labels_of(folder, "upright.png").any()


@needs_real_frames
def test_real_frames(predict):
    folder = predict(images=REAL_FRAMES)
    for file in REAL_FRAMES.glob("*.jpg"):
        width, height = Image.open(file).size
        assert labels_of(folder, file.name).shape == (2, height, width)


def test_a_split_is_written_by_path(predict, tiny_packed, store):
    folder = predict(packed_dir=tiny_packed.folder, split="val")
    subset = tiny_packed.subset("val")
    for path in subset.paths:
        assert labels_of(folder, path).shape == (2, subset.size, subset.size)
        assert (folder / "overlays" / f"{path}.png").is_file()
    assert "predicted_val.png" in artifact_paths(store, newest_run(store))
    assert len(subset) < N_PREVIEWS


def test_the_test_split_becomes_the_submission_archive(predict, tiny_packed):
    folder = predict(packed_dir=tiny_packed.folder, split="test")
    with tarfile.open(folder / "test.lmdb.tar.gz") as archive:
        assert {"test.lmdb", "test.lmdb/data.mdb", "test.lmdb/im_path.pt"} <= set(archive.getnames())
        paths = archive.extractfile("test.lmdb/im_path.pt").read()
    assert all(f"{path}.jpg".encode() in paths for path in tiny_packed.subset("test").paths)


def test_labels_do_not_depend_on_the_batch(store, logged, tiny_packed, tmp_path):
    for size in (1, 64):
        result = invoke(
            "predict", model=logged.g2_uri, packed_dir=tiny_packed.folder, split="val", out_dir=tmp_path / str(size),
            eval_batch_size=size, precision="32-true",
        )  # fmt: skip
        assert result.exit_code == 0, result.output
    for path in tiny_packed.subset("val").paths:
        same = labels_of(tmp_path / "1", path) == labels_of(tmp_path / "64", path)
        assert same.mean() > 0.999


def test_a_failed_prediction_leaves_no_folder(store, logged, tmp_path):
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    (pictures / "a.png").write_bytes(b"no picture")
    result = invoke("predict", model=logged.g2_uri, images=pictures, out_dir=tmp_path / "out")
    assert result.exit_code == 1 and "a.png" in result.output
    assert list(tmp_path.iterdir()) == [pictures]


def enlarged(picture: np.ndarray) -> np.ndarray:
    """To the width of a tile."""
    height, width = picture.shape[:2]
    return np.asarray(Image.fromarray(picture).resize((TILE, TILE * height // width), Image.NEAREST))


def test_overlays_are_pictures_of_both_hands(predict, pictures):
    folder = predict(images=pictures)
    overlay = np.asarray(Image.open(folder / "overlays" / "upright.png.png"))
    picture = enlarged(np.asarray(Image.open(pictures / "upright.png")))
    height, width = picture.shape[:2]
    top = 2 * round(1.4 * sheet_font(overlay.shape[1], TILE).size)  # below headings and name
    tiles = [overlay[top : top + height, left : left + width] for left in (GAP, width + 2 * GAP)]
    for part, labels in zip(tiles, map(enlarged, labels_of(folder, "upright.png")), strict=True):
        assert np.array_equal(part[labels == 0], picture[labels == 0])
        assert labels.any() and not np.array_equal(part[labels > 0], picture[labels > 0])


def test_output_is_readable_by_others(predict, pictures):
    folder = predict(images=pictures)
    assert folder.stat().st_mode & 0o055
    assert io.BytesIO((folder / "labels" / "tiny.png__l.png").read_bytes()).getvalue()
