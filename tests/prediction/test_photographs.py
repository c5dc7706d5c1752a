"""Boxes files, photographs to crops, and probabilities back to pictures."""

import io
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from hands.errors import InvalidInput
from hands.files.boxes import square, whole
from hands.files.crop import uncrop_probabilities
from hands.files.photograph import Photograph
from hands.prediction.boxes_file import read_boxes
from hands.prediction.photographs import list_photographs, read_photograph
from tests.raw.independent_layout import a_picture, jpeg, png
from tests.real_frames import REAL_FRAMES, needs_real_frames


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """b.png (30 high, 50 wide) and a.JPG (64 x 48), ordinary RGB files, beside a text."""
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    (pictures / "b.png").write_bytes(png(a_picture(30, 50, 1)[..., ::-1]))
    (pictures / "a.JPG").write_bytes(jpeg(a_picture(64, 48, 2)[..., ::-1]))
    (pictures / "notes.txt").write_text("no picture")
    return pictures


def read(folder: Path, file: str) -> Photograph:
    (listed,) = (listed for listed in list_photographs(folder, None).photographs if listed.file == file)
    return read_photograph(listed)


def test_all_of_a_picture_is_padded_to_a_square(folder: Path):
    photograph = read(folder, "b.png")
    assert (photograph.width, photograph.height) == (50, 30)
    box = whole(50, 30, 16)
    # a square of 50 pixels is 16 pixels of 3.125: the first has its centre 1.0625 pixels inside the first of these
    assert box == (1.0625, -10.0 + 1.0625, 50.0, 50.0)
    crop = photograph.crop(box, 16)
    assert crop.shape == (16, 16, 3) and crop.dtype == np.uint8
    assert crop[:2].max() == 0  # the padding above: 10 of 50 pixels, 3.2 of 16, less the filter
    assert crop[5:11].mean() > 20


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("boxes.json", json.dumps({"b.png": [10, 5, 16, 12.0]})),
        ("boxes.csv", "b.png,10,5,16,12.0\n"),
        ("boxes.csv", "\ufefffile,x,y,w,h\nb.png, 10, 5, 16, 12\n\n"),
    ],
)
def test_boxes_are_read_and_made_square(folder: Path, name: str, text: str):
    (folder / name).write_text(text, encoding="utf-8")
    ((box,),) = read_boxes(folder / name).values()
    assert box == (10.0, 5.0, 16.0, 12.0) and square(box) == (10.0, 3.0, 16.0, 16.0)
    assert np.array_equal(read(folder, "b.png").crop(square(box), 16), a_picture(30, 50, 1)[3:19, 10:26])


@pytest.mark.parametrize("orientation", [1, 6, 8])
def test_a_phones_orientation_is_honoured(tmp_path: Path, orientation: int):
    picture = Image.fromarray(a_picture(20, 40, 3))
    exif = picture.getexif()
    exif[0x0112] = orientation  # 6: stored lying on its side, to be shown turned clockwise
    picture.save(tmp_path / "a.png", exif=exif)
    photograph = read(tmp_path, "a.png")
    expected = np.rot90(a_picture(20, 40, 3), {1: 0, 6: -1, 8: 1}[orientation])
    assert (photograph.height, photograph.width) == expected.shape[:2]
    assert np.array_equal(photograph.small(40), expected)


def encoded(picture: np.ndarray, kind: str, **how: object) -> bytes:
    file = io.BytesIO()
    Image.fromarray(picture).save(file, kind, **how)
    return file.getvalue()


@pytest.mark.parametrize(("kind", "how"), [("PNG", {}), ("JPEG", {"quality": 95}), ("WEBP", {"lossless": True})])
def test_a_crop_of_a_shrunk_picture_lies_where_it_would_lie(kind: str, how: dict):
    """A slope of 16 levels a crop's pixel, shrunk by 8 on the way: a tenth of a pixel would show."""
    slope = np.linspace(0, 255, 515)[None, :, None].repeat(301, 0).repeat(3, 2).round().astype(np.uint8)
    photograph = Photograph(encoded(slope, kind, **how), "x")
    for turned, axis in ((slope, 1), (slope.transpose(1, 0, 2), 0)):
        photograph = Photograph(encoded(turned, kind, **how), "x")
        crop = photograph.crop((1.0, 1.0, 512.0, 512.0), 16).mean(axis=2)
        values = (crop[3] if axis else crop[:, 3])[2:-2]
        assert np.abs(values - (1 + 32 * np.arange(2, 14)) * 255 / 514).max() < 1.1


def test_a_crop_of_a_large_picture_is_that_of_its_pixels():
    picture = cv2.resize(a_picture(40, 60, 4), (1200, 800), interpolation=cv2.INTER_CUBIC)
    photograph = Photograph(encoded(picture, "PNG"), "x")
    for box in ((100.5, 200.25, 90.0, 90.0), (-50.0, -70.0, 400.0, 400.0), (900.0, 500.0, 600.0, 600.0)):
        exact = Photograph.of_pixels(picture, "x").crop(box, 32)
        assert np.array_equal(photograph.crop(box, 32), exact)


def test_probabilities_return_to_where_the_crop_was():
    labels = np.arange(256).reshape(16, 16).astype(np.uint8) % 17
    probabilities = np.eye(17, dtype=np.float32)[labels].transpose(2, 0, 1)
    back = uncrop_probabilities(probabilities, (10.0, 3.0, 16.0, 16.0), 30, 50)
    assert back.shape == (30, 50) and np.array_equal(back[3:19, 10:26], labels)
    assert int((back > 0).sum()) == int((labels > 0).sum())
    assert uncrop_probabilities(probabilities, (100.0, 0.0, 4.0, 4.0), 30, 50).max() == 0


def test_enlarged_probabilities_are_those_of_opencv():
    generator = np.random.default_rng(0)
    coarse = generator.normal(size=(17, 8, 8)).astype(np.float32)
    logits = np.stack([cv2.resize(part, (32, 32), interpolation=cv2.INTER_CUBIC) for part in 4 * coarse])
    probabilities = np.exp(logits) / np.exp(logits).sum(0)
    there = np.array([[10, 0, -7.0], [0, 10, 20.0]])  # of a crop's pixel in the picture
    theirs, nearest = (
        [cv2.warpAffine(part, there, (300, 400), flags=how, borderMode=cv2.BORDER_REPLICATE) for part in probabilities]
        for how in (cv2.INTER_LINEAR, cv2.INTER_NEAREST)
    )
    ours = uncrop_probabilities(probabilities, (-7.0, 20.0, 320.0, 320.0), 400, 300)
    assert np.mean(ours[20:330] == np.argmax(theirs, 0)[20:330]) > 0.999  # OpenCV 4 places pixels to 1 / 32
    assert 0.8 < np.mean(ours[20:330] == np.argmax(nearest, 0)[20:330]) < 0.99


def test_borders_of_enlarged_labels_lie_where_probabilities_are_equal():
    """0.9 and 0.3 of one part, at pixels 0 and 4: half of both at 4 * 2 / 3 = 2.67, not at 2; the box ends at 5.5."""
    probabilities = np.zeros((17, 2, 2), np.float32)
    probabilities[5], probabilities[0] = (0.9, 0.3), (0.1, 0.7)
    assert uncrop_probabilities(probabilities, (0.0, 0.0, 8.0, 8.0), 8, 8)[3].tolist() == [5, 5, 5, 0, 0, 0, 0, 0]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("boxes.json", "{", "not JSON"),
        ("boxes.json", "[]", "not a JSON object"),
        ("boxes.json", "{}", "no boxes"),
        ("boxes.json", '{"b.png": [1, 2, 3]}', "four numbers"),
        ("boxes.json", '{"b.png": [1, 2, 3, "4"]}', "four numbers"),
        ("boxes.json", '{"b.png": [1, 2, 3, NaN]}', "finite"),
        ("boxes.json", '{"b.png": [1, 2, 3, 0]}', "positive"),
        ("boxes.json", '{"b.png": [1, 2, 3, 1' + "0" * 400 + "]}", "beyond any picture"),
        ("boxes.json", '{"../b.png": [1, 2, 3, 4]}', "names of files in the folder"),
        ("boxes.json", '{"/etc/passwd": [1, 2, 3, 4]}', "names of files in the folder"),
        ("boxes.json", '{"..": [1, 2, 3, 4]}', "names of files in the folder"),
        ("boxes.json", '{"c.png": [1, 2, 3, 4]}', "names c.png, not in"),
        ("boxes.csv", "b.png,1,2,3\n", "line 1"),
        ("boxes.csv", "a.JPG,1,2,3,4\nb.png,1,2,3,x\n", "line 2"),
        ("boxes.csv", '"b.png": [1, 2, 3, 4]\n', "line 1"),
        ("boxes.csv", "", "no boxes"),
    ],
)
def test_refuses_boxes_it_cannot_use(folder: Path, name: str, text: str, message: str):
    (folder / name).write_text(text)
    with pytest.raises(InvalidInput, match=message):
        list_photographs(folder, folder / name)


def test_refuses_boxes_that_are_no_text_or_missing(folder: Path):
    (folder / "boxes.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InvalidInput, match="not UTF-8"):
        read_boxes(folder / "boxes.csv")
    with pytest.raises(InvalidInput, match="cannot be read"):
        read_boxes(folder / "nowhere.csv")


def test_names_the_picture_that_is_damaged(folder: Path):
    (folder / "a.JPG").write_bytes((folder / "a.JPG").read_bytes()[:-30])
    with pytest.raises(InvalidInput, match=r"a\.JPG"):
        read(folder, "a.JPG").crop((0.0, 0.0, 10.0, 10.0), 16)


def test_refuses_folders_without_pictures(tmp_path: Path):
    with pytest.raises(InvalidInput, match="no .png"):
        list_photographs(tmp_path, None)
    with pytest.raises(InvalidInput, match="not a folder"):
        list_photographs(tmp_path / "nowhere", None)


@needs_real_frames
def test_real_frames_with_their_own_boxes(tmp_path: Path):
    data = json.loads((REAL_FRAMES / "test_interhand2.6m_data.json").read_text())
    names = {image["id"]: image["file_name"] for image in data["images"]}
    given = {names[annotation["image_id"]]: annotation["bbox"] for annotation in data["annotations"]}
    (tmp_path / "boxes.json").write_text(json.dumps(given))
    listing = list_photographs(REAL_FRAMES, tmp_path / "boxes.json")
    assert sorted(listed.file for listed in listing.photographs) == sorted(given)
    for listed in listing.photographs:
        x, y, w, h = square(listed.boxes[0])
        crop = read_photograph(listed).crop((x, y, w, h), 128)
        theirs = cv2.imread(str(REAL_FRAMES / listed.file))[..., ::-1]
        inside = theirs[max(int(y), 0) : int(y + h), max(int(x), 0) : int(x + w)]
        assert abs(float(crop.sum()) * (w / 128) ** 2 / inside.sum() - 1) < 0.03  # the box's light, all of it
