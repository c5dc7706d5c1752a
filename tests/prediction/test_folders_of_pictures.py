"""Folders of pictures as people have them: what is labelled, what is passed over, what is said, and which boxes are used."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from hands.errors import InvalidInput
from hands.files.boxes import whole
from hands.files.photograph import Photograph
from hands.prediction.boxes_file import read_boxes
from hands.prediction.labelling import MAX_PASSES, Framed, Labeller, confidence_of, find_box, labels_at
from hands.prediction.photographs import list_photographs, named
from tests.raw.independent_layout import a_picture, jpeg

SIZE = 32


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    pictures = tmp_path / "pictures"
    (pictures / "trip" / ".thumbnails").mkdir(parents=True)
    for name in ("a.JPG", "b.jfif", "trip/c.jpeg", "trip/.thumbnails/d.jpg"):
        (pictures / name).write_bytes(jpeg(a_picture(40, 30, 1)))
    Image.fromarray(a_picture(20, 30, 2)).save(pictures / "e.webp")
    (pictures / "._a.JPG").write_bytes(b"\0\5\26\7 of macOS")
    (pictures / "notes.txt").write_text("no picture")
    (pictures / "f.HEIC").write_bytes(b"heic")
    return pictures


def test_what_is_read_and_what_is_named(folder: Path):
    listing = list_photographs(folder, None)
    assert [listed.file for listed in listing.photographs] == ["a.JPG", "b.jfif", "e.webp", "trip/c.jpeg"]
    assert all(listed.boxes == () for listed in listing.photographs)
    assert listing.not_read == ["f.HEIC", "notes.txt"] and listing.without_box == []


def test_a_folder_of_other_formats_says_which(tmp_path: Path):
    (tmp_path / "f.heic").write_bytes(b"heic")
    with pytest.raises(InvalidInput, match=r"\(f.heic cannot be read: save them as one of these\)"):
        list_photographs(tmp_path, None)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("boxes.json", '{"a.JPG": [1, 2, 10, 12], "trip/c.jpeg": [3, 4, 5, 6], "a.JPG": [15, 2, 10, 12]}'),
        ("boxes.json", '{"a.JPG": [[1, 2, 10, 12], [15, 2, 10, 12]], "trip/c.jpeg": [3, 4, 5, 6]}'),
        ("boxes.csv", "file,x,y,w,h\na.JPG,1,2,10,12\ntrip/c.jpeg,3,4,5,6\na.JPG,15,2,10,12\n"),
    ],
)
def test_two_boxes_of_one_picture_and_pictures_without(folder: Path, name: str, text: str):
    (folder / name).write_text(text)
    listing = list_photographs(folder, folder / name)
    boxes = {listed.file: listed.boxes for listed in listing.photographs}
    assert boxes["a.JPG"] == ((1, 2, 10, 12), (15, 2, 10, 12)) and boxes["trip/c.jpeg"] == ((3, 4, 5, 6),)
    assert listing.without_box == ["b.jfif", "e.webp"]
    assert name not in listing.not_read  # the boxes file itself


@pytest.mark.parametrize("name", ["../a.JPG", "/etc/passwd", "..", "trip//c.jpeg", "trip\\c.jpeg"])
def test_boxes_of_files_outside_the_folder(folder: Path, name: str):
    (folder / "boxes.json").write_text(json.dumps({name: [1, 2, 3, 4]}))
    with pytest.raises(InvalidInput, match="expected names of files in the folder"):
        read_boxes(folder / "boxes.json")


def test_named_says_how_many_more():
    assert named([f"{n}" for n in range(12)]) == "0, 1, 2, 3, 4, 5, 6, 7, 8, 9 and 2 more"


# Where the hands are


def sees(box: tuple[float, float, float, float]):
    """A network in a picture's place: sure of the left hand's part 9 on exactly the pixels of `box`."""

    def probabilities(crop: np.ndarray) -> np.ndarray:
        hand = crop[..., 0] > 127
        answer = np.zeros((2, 17, *hand.shape), np.float32)
        answer[0, 9], answer[0, 0], answer[1, 0] = hand, ~hand, 1
        return answer

    x, y, w, h = box
    picture = np.zeros((300, 400, 3), np.uint8)
    picture[y : y + h, x : x + w] = 255
    return probabilities, Photograph.of_pixels(picture, "x")


def test_the_box_comes_to_lie_around_the_hand():
    probabilities, photograph = sees((40, 60, 50, 80))
    framed = find_box(probabilities, photograph, SIZE)
    assert framed.box == pytest.approx((13, 48, 104, 104), abs=6)  # 1.3 times the longer side about (65, 100)
    assert 3 <= framed.passes <= MAX_PASSES


def test_a_speck_beside_the_hand_is_left_out():
    probabilities, photograph = sees((40, 60, 100, 160))
    pixels = np.asarray(photograph.small(400)).copy()
    pixels[280:299, 380:399] = 255
    framed = find_box(probabilities, Photograph.of_pixels(pixels, "x"), SIZE)
    assert framed.box == pytest.approx((-14, 36, 208, 208), abs=8)


def test_where_nothing_is_found_all_of_the_picture_is_the_box():
    probabilities, _ = sees((0, 0, 1, 1))
    blank = Photograph.of_pixels(np.zeros((30, 50, 3), np.uint8), "x")
    assert find_box(probabilities, blank, SIZE) == Framed(whole(50, 30, SIZE), 2)


def test_a_given_box_takes_one_pass():
    labeller = Labeller(torch.nn.Identity(), SIZE, torch.device("cpu"), None, flip=False)
    photograph = Photograph.of_pixels(np.zeros((30, 50, 3), np.uint8), "x.png")
    assert labeller.frame(photograph, (10, 5, 16, 12)) == Framed((10, 3, 16, 16), 1)
    with pytest.raises(InvalidInput, match=r"x\.png: the box 60, 5, 16, 12 lies outside its 50 x 30 pixels"):
        labeller.frame(photograph, (60, 5, 16, 12))  # as it was written, not squared


def test_confidence_is_the_mean_over_the_hands_own_pixels():
    probabilities = np.zeros((2, 17, 2, 2), np.float32)
    probabilities[0, 3, 0], probabilities[0, 0, 0] = (0.9, 0.6), (0.1, 0.4)
    probabilities[0, 0, 1] = probabilities[1, 0] = 1
    assert confidence_of(probabilities) == pytest.approx([0.75, 0.0])
    assert labels_at(probabilities, (0, 0, 2, 2), 2, 2)[0].tolist() == [[3, 3], [0, 0]]


def rows_of(file: Path) -> list[dict[str, str]]:
    with file.open(newline="") as lines:
        return list(csv.DictReader(lines))
