"""Folders of ordinary pictures: crops, boxes files and the way back."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from hands.errors import InvalidInput
from hands.prediction.photographs import list_photographs, read_boxes, read_photographs, to_picture
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


def test_without_boxes_each_picture_is_padded_to_a_square(folder: Path):
    (batch,) = read_photographs(list_photographs(folder, None), 16, 8)
    assert batch.files == ["a.JPG", "b.png"]
    # a square of 64 pixels is 16 pixels of 4: the first has its centre at pixels 0 to 3 of the square, index 1.5
    assert batch.boxes == [(-8.0 + 1.5, 1.5, 64.0, 64.0), (1.0625, -10.0 + 1.0625, 50.0, 50.0)]
    assert batch.crops.shape == (2, 3, 16, 16)
    assert batch.crops.dtype == torch.uint8
    assert np.array_equal(batch.pictures[1], a_picture(30, 50, 1))
    assert batch.crops[1, :, :2].max() == 0  # the padding above: 10 of 50 pixels, 3.2 of 16, less the filter
    assert batch.crops[1, :, 5:11].float().mean() > 20


def test_batches_follow_the_list(folder: Path):
    batches = list(read_photographs(list_photographs(folder, None), 16, 1))
    assert [batch.files for batch in batches] == [["a.JPG"], ["b.png"]]


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
    (batch,) = read_photographs(list_photographs(folder, folder / name), 16, 8)
    assert batch.boxes == [(10.0, 3.0, 16.0, 16.0)]
    assert np.array_equal(batch.crops[0].permute(1, 2, 0).numpy(), a_picture(30, 50, 1)[3:19, 10:26])


def test_labels_return_to_where_the_crop_was(folder: Path):
    labels = torch.arange(2 * 16 * 16).reshape(2, 16, 16).remainder(17).to(torch.uint8)
    whole = to_picture(labels, (10.0, 3.0, 16.0, 16.0), (30, 50))
    assert whole.shape == (2, 30, 50)
    assert torch.equal(whole[:, 3:19, 10:26], labels)
    assert int((whole > 0).sum()) == int((labels > 0).sum())


def test_a_phones_orientation_is_honoured(tmp_path: Path):
    picture = Image.fromarray(a_picture(20, 40, 3))
    exif = picture.getexif()
    exif[0x0112] = 6  # stored lying on its side, to be shown turned clockwise
    picture.save(tmp_path / "a.png", exif=exif)
    (batch,) = read_photographs(list_photographs(tmp_path, None), 16, 1)
    assert np.array_equal(batch.pictures[0], np.rot90(a_picture(20, 40, 3), -1))


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
        ("boxes.json", '{"../b.png": [1, 2, 3, 4]}', "without a path"),
        ("boxes.json", '{"/etc/passwd": [1, 2, 3, 4]}', "without a path"),
        ("boxes.json", '{"..": [1, 2, 3, 4]}', "without a path"),
        ("boxes.json", '{"c.png": [1, 2, 3, 4]}', "c.png, which is not in"),
        ("boxes.csv", "b.png,1,2,3\n", "four numbers"),
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


def test_names_the_picture_that_is_damaged_or_missed_by_its_box(folder: Path):
    (folder / "boxes.csv").write_text("b.png,1000,1000,5,5\n")
    with pytest.raises(InvalidInput, match=r"b\.png: the box .* lies outside its 50 x 30 image"):
        list(read_photographs(list_photographs(folder, folder / "boxes.csv"), 16, 8))
    (folder / "a.JPG").write_bytes((folder / "a.JPG").read_bytes()[:-30])
    with pytest.raises(InvalidInput, match=r"a\.JPG"):
        list(read_photographs(list_photographs(folder, None), 16, 8))


def test_refuses_folders_without_pictures(tmp_path: Path):
    with pytest.raises(InvalidInput, match="no .png"):
        list_photographs(tmp_path, None)
    with pytest.raises(InvalidInput, match="not a folder"):
        list_photographs(tmp_path / "nowhere", None)


@needs_real_frames
def test_real_frames_with_their_own_boxes(tmp_path: Path):
    data = json.loads((REAL_FRAMES / "test_interhand2.6m_data.json").read_text())
    names = {image["id"]: image["file_name"] for image in data["images"]}
    boxes = {names[annotation["image_id"]]: annotation["bbox"] for annotation in data["annotations"]}
    (tmp_path / "boxes.json").write_text(json.dumps(boxes))
    (batch,) = read_photographs(list_photographs(REAL_FRAMES, tmp_path / "boxes.json"), 128, 8)
    assert sorted(batch.files) == sorted(boxes)
    assert batch.crops.shape == (len(boxes), 3, 128, 128)
    for file, picture, box, crop in zip(batch.files, batch.pictures, batch.boxes, batch.crops, strict=True):
        theirs = cv2.imread(str(REAL_FRAMES / file))[..., ::-1]
        assert np.abs(picture.astype(int) - theirs).max() <= 2
        x, y, w, h = box
        assert w == h
        inside = theirs[max(int(y), 0) : int(y + h), max(int(x), 0) : int(x + w)]
        assert abs(float(crop.float().sum()) * (w / 128) ** 2 / inside.sum() - 1) < 0.03  # the box's light, all of it
