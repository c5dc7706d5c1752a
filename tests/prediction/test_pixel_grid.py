"""Photographs and requests lie on the grid that packed crops lie on, and whole pictures are seen to their edges."""

import base64
import io
import json
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from hands.files.boxes import whole
from hands.files.crop import crop_image, crop_labels, uncrop_probabilities
from hands.files.photograph import Photograph
from hands.prediction.labelling import Labeller, find_box
from hands.prediction.photographs import list_photographs, read_photograph
from hands.prediction.served import ServedHands
from tests.files.loader_grid import loader_image, loader_labels

SIZE = 32


def a_picture(height: int, width: int) -> np.ndarray:
    generator = np.random.default_rng(0)
    coarse = Image.fromarray(generator.integers(0, 256, (12, 10, 3), dtype=np.uint8))
    return np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC))


def png(picture: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "PNG")
    return file.getvalue()


@pytest.mark.parametrize(("height", "width"), [(300, 200), (200, 300), (64, 64), (20, 31)])
def test_a_whole_picture_is_seen_and_labelled_to_its_edges(height: int, width: int):
    picture = np.full((height, width, 3), 200, np.uint8)
    box = whole(width, height, SIZE)
    assert box[2] == box[3] == max(height, width)
    crop = crop_image(picture, box, SIZE, 0)
    shown = max(height, width) / SIZE
    assert abs((crop > 100).all(2).sum() - height * width / shown**2) <= SIZE  # at most half a line at each edge of the bars
    assert np.array_equal(crop, crop[::-1, ::-1])  # centred
    everywhere = np.zeros((17, SIZE, SIZE), np.float32)
    everywhere[9] = 1
    assert (uncrop_probabilities(everywhere, box, height, width) == 9).all()


@pytest.mark.parametrize("shrunk", [1, 2, 8])
def test_a_large_photograph_is_cropped_where_a_small_one_is(shrunk: int):
    """Of a picture that is decoded at half or an eighth of its size the crop lies where it lies of all its pixels."""
    picture = a_picture(32 * SIZE, 24 * SIZE)
    side = 4.0 * SIZE * shrunk
    box = (20.3, -7.1, min(side, 20.0 * SIZE), min(side, 20.0 * SIZE))
    of_all = crop_image(picture, box, SIZE, 0).astype(int)
    crop = Photograph.of_pixels(picture, "a").crop(box, SIZE).astype(int)
    moved = crop_image(picture, (box[0] + box[2] / SIZE / 4, *box[1:]), SIZE, 0).astype(int)  # by a quarter of a crop's pixel
    assert np.abs(crop - of_all).mean() < np.abs(moved - of_all).mean() / 2


def test_a_box_is_found_around_the_middle_of_what_is_seen():
    """A square spot in the picture: the box has its middle where the spot's pixels have theirs."""
    picture = np.zeros((256, 256, 3), np.uint8)
    picture[64:128, 96:160] = 255  # middle at indices 95.5 and 127.5

    def spot(crop: np.ndarray) -> np.ndarray:
        probabilities = np.zeros((2, 17, SIZE, SIZE), np.float32)
        probabilities[:, 0] = 1
        probabilities[0, 0], probabilities[0, 9] = 1 - (crop[..., 0] > 127), crop[..., 0] > 127
        return probabilities

    found = find_box(spot, Photograph.of_pixels(picture, "a"), SIZE)
    x, y, side, _ = found.box
    assert (x + side / 2, y + side / 2) == pytest.approx((127.5, 95.5), abs=1)
    assert side == pytest.approx(1.3 * 64, rel=0.05)


def test_a_photographs_box_gives_the_loaders_crop(tmp_path: Path):
    (tmp_path / "pictures").mkdir()
    picture, box = a_picture(90, 60), (4.3, -3.2, 16.4, 16.4)
    (tmp_path / "pictures" / "a.png").write_bytes(png(picture))
    (tmp_path / "boxes.json").write_text(json.dumps({"a.png": box}))
    (listed,) = list_photographs(tmp_path / "pictures", tmp_path / "boxes.json").photographs
    crop = read_photograph(listed).crop(listed.boxes[0], SIZE).astype(int)
    inside = slice(8, SIZE)  # below the picture's upper edge
    assert np.abs(crop - loader_image(picture, box, SIZE))[inside].max() <= 3  # OpenCV 4 places pixels to 1 / 32
    half = (16.4 / SIZE - 1) / 2  # of what pixels' centres at half numbers would make of it
    off = loader_image(picture, (box[0] + half, box[1] + half, *box[2:]), SIZE)
    assert np.abs(crop - off)[inside].max() > 6


class Remembers(torch.nn.Module):
    """Says part 9 of the left hand where the crop is bright."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.images = images
        logits = torch.zeros(len(images), 34, *images.shape[2:])
        logits[:, [0, 17]] = 0.5
        logits[:, 9] = (images.mean(1) > 0.5).float()
        return logits


def test_a_served_model_answers_on_the_same_grid():
    """The network sees the crop that `prepare` would pack, and a spot's labels return to the spot."""
    served = ServedHands()
    network = Remembers()
    served.labeller = Labeller(network, SIZE, torch.device("cpu"), nullcontext, False)
    rows, columns = np.mgrid[:300, :400]
    spot = (columns - 190.0) ** 2 + (rows - 140.0) ** 2 < 50**2
    picture = np.where(spot[..., None], np.uint8(255), np.uint8(0)).repeat(3, axis=2)
    box = [62.5, 11.0, 250.0, 250.0]
    answer = served._segment(0, {"image": base64.b64encode(png(picture)).decode(), "box": box})
    expected = torch.from_numpy(crop_image(picture, tuple(box), SIZE, 0).copy()).permute(2, 0, 1) / 255
    assert torch.equal(network.images[0], expected)
    left = np.asarray(Image.open(io.BytesIO(base64.b64decode(answer["left"])))) == 9
    assert left.shape == (300, 400)
    middle = [grid[left].mean() for grid in (columns, rows)]
    assert np.abs(np.subtract(middle, (190, 140))).max() < 1  # a pixel of the crop is eight of the picture
    assert (left & spot).sum() / (left | spot).sum() > 0.9


def test_predicted_crops_are_scored_on_the_loaders_masks():
    """Labels predicted on the loaders' crop of a picture are those of its masks cropped the loaders' way."""
    labels = np.zeros((2, 90, 60), np.uint8)
    labels[0, 20:60, 10:40], labels[1, 30:80, 25:55] = 9, 4
    box = (2.7, 15.3, 60.8, 60.8)
    assert np.array_equal(crop_labels(labels, box, SIZE, 0), loader_labels(labels, box, SIZE))
