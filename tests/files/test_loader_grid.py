"""Crops lie on the pixel grid of the dataset's loaders: same labels, same pictures, scores that compare."""

import cv2
import numpy as np
import pytest
import torch

from hands.evaluation.metrics import confusion_matrices, image_hand_miou
from hands.files.boxes import Box
from hands.files.crop import crop_image, crop_labels, uncrop_probabilities
from tests.files.loader_grid import loader_image, loader_labels, loader_matrix
from tests.packed.blobs import blob_labels

TIE = 2 / 1024  # of a pixel, about half way between two: OpenCV rounds to 1 / 1024 first, and its float32 matrix is as exact
PICTURES = ((512, 334), (334, 512), (60, 41))  # height, width


def random_boxes(count: int, height: int, width: int, generator: np.random.Generator) -> list[Box]:
    """Float32 boxes as lists hold them, most of them reaching outside the picture, from an eighth of its side to twice it."""
    boxes = []
    for _ in range(count):
        side = max(height, width) * 2 ** generator.uniform(-3, 1)
        x, y = generator.uniform(-0.6 * side, width - 0.4 * side), generator.uniform(-0.6 * side, height - 0.4 * side)
        boxes.append(tuple(float(np.float32(number)) for number in (x, y, side, side)))
    return boxes


def half_way(start: float, length: float, size: int) -> np.ndarray:
    """(size,) whether a crop's pixels lie half way between two of the picture's, up to TIE."""
    fraction = (start + np.arange(size) * length / size) % 1
    return np.abs(fraction - 0.5) < TIE


@pytest.mark.parametrize("size", [64, 96, 128, 256])
@pytest.mark.parametrize(("height", "width"), PICTURES)
def test_labels_are_those_of_the_loaders(height: int, width: int, size: int):
    generator = np.random.default_rng(size + height)
    labels = generator.integers(1, 17, (2, height, width), dtype=np.uint8)  # noise: any shift shows
    different = 0
    for box in random_boxes(40, height, width, generator):
        ours, theirs = crop_labels(labels, box, size, 0), loader_labels(labels, box, size)
        certain = ~(half_way(box[1], box[3], size)[:, None] | half_way(box[0], box[2], size))
        assert np.array_equal(ours[:, certain], theirs[:, certain])
        assert (ours == 0).any() or (theirs != 0).all()
        different += (ours != theirs).mean() / 40
    assert different < 0.002


def test_oblong_boxes_too():
    labels = np.random.default_rng(0).integers(1, 17, (2, 60, 41), dtype=np.uint8)
    box = (-3.3, 4.1, 40.7, 55.9)
    assert np.array_equal(crop_labels(labels, box, 64, 0), loader_labels(labels, box, 64))


@pytest.mark.parametrize(("start", "side", "expected"), [
    (0.0, 160.0, [0, 3, 5, 8, 10, 13, 15, 18]),  # 0, 2.5, 5, 7.5, ...
    (3.0, 96.0, [3, 5, 6, 8, 9, 11, 12, 14]),
    (-0.5, 64.0, [0, 1, 2, 3, 4, 5, 6, 7]),
    (7.5, 128.0, [8, 10, 12, 14, 16, 18, 20, 22]),
    (0.5 - 1 / 4096, 64.0, [1, 2, 3, 4, 5, 6, 7, 8]),  # closer to half than OpenCV tells apart
    (0.5 - 1 / 1024, 64.0, [0, 1, 2, 3, 4, 5, 6, 7]),
])  # fmt: skip
def test_half_way_between_two_pixels_the_higher_is_taken_as_opencv_4_does(start: float, side: float, expected: list[int]):
    """The first columns as cv2.warpAffine of OpenCV 4.5.5, 4.10.0 and 4.12.0 gave them."""
    columns = np.arange(250, dtype=np.uint8)[None, None].repeat(2, axis=0).repeat(250, axis=1)
    assert crop_labels(columns, (start, start, side, side), 64, 0)[0, 0, :8].tolist() == expected
    rows = columns.transpose(0, 2, 1)
    assert crop_labels(rows, (start, start, side, side), 64, 0)[1, :8, 0].tolist() == expected


def test_a_perfect_prediction_is_perfect_on_the_loaders_masks():
    """On the synthetic set's masks it scored 0.76 at size 64 while crops took their pixels from other places."""
    generator = np.random.default_rng(3)
    ours, theirs, shifted = [], [], []
    for box in ((31.3, 15.9, 300.2, 300.2), (-40.7, 60.3, 260.9, 260.9), (80.1, -20.2, 210.4, 210.4)):
        labels = blob_labels(400, "interacting", generator)
        ours.append(crop_labels(labels, box, 64, 0))
        theirs.append(loader_labels(labels, box, 64))
        half = (box[2] / 64 - 1) / 2  # what pixels' centres at half numbers make of it
        shifted.append(crop_labels(labels, (box[0] + half, box[1] + half, *box[2:]), 64, 0))

    def score(predicted: list[np.ndarray]) -> float:
        pairs = (torch.from_numpy(np.stack(labels)) for labels in (predicted, theirs))
        return image_hand_miou(confusion_matrices(*pairs), 64).mean().item()

    assert score(ours) == 1.0
    assert score(shifted) < 0.96


@pytest.mark.parametrize("margin", [8, 16])
@pytest.mark.parametrize(("height", "width"), PICTURES[:2])
def test_the_centre_of_a_record_is_the_loaders_crop_to_the_last_rounding(height: int, width: int, margin: int):
    generator = np.random.default_rng(margin)
    labels = generator.integers(1, 17, (2, height, width), dtype=np.uint8)
    size, centre = 8 * margin, slice(margin, 9 * margin)
    for box in (*random_boxes(20, height, width, generator), (3.5, -2.5, 2.5 * size, 2.5 * size)):
        assert np.array_equal(crop_labels(labels, box, size, margin)[:, centre, centre], crop_labels(labels, box, size, 0))


@pytest.mark.parametrize(("height", "width"), PICTURES)
def test_pictures_are_those_of_the_loaders_where_nothing_shrinks(height: int, width: int):
    generator = np.random.default_rng(height)
    image = cv2.resize(generator.integers(0, 256, (height // 8, width // 8, 3), dtype=np.uint8), (width, height))
    for box in random_boxes(20, height, width, generator):
        size = 16 * (int(box[2]) // 16 + 1)
        ours = crop_image(image, box, size, 0).astype(int)
        inside = loader_image(np.full_like(image, 255), box, size) == 255  # at the edges both fade out, each in its way
        assert np.abs(ours - loader_image(image, box, size))[inside].max() <= 3  # OpenCV 4 places pixels to 1 / 32
        if size > 1.5 * box[2]:
            quarter = (box[0] + 0.25, box[1] + 0.25, *box[2:])
            assert np.abs(ours - loader_image(image, quarter, size))[inside].max() > 6


@pytest.mark.parametrize("size", [32, 64, 128])
def test_what_shrinks_stays_in_its_place(size: int):
    """A spot's centre of mass lies where the grid puts its pixel, in the picture and in the labels."""
    image, labels = np.zeros((400, 500, 3), np.uint8), np.zeros((2, 400, 500), np.uint8)
    rows, columns = np.mgrid[:400, :500]
    spot = (columns - 260) ** 2 + (rows - 190) ** 2 < 60**2
    image[spot], labels[0][spot] = 200, 9
    x, y, w = 71.3, 22.6, 352.7
    expected = (260 - x) * size / w, (190 - y) * size / w
    of_image = crop_image(image, (x, y, w, w), size, 0)[..., 0].astype(float)
    for found, exactness in ((of_image, 0.03), (crop_labels(labels, (x, y, w, w), size, 0)[0] / 9, 0.1)):
        middle = [(found * grid).sum() / found.sum() for grid in np.mgrid[:size, :size][::-1]]
        assert np.abs(np.subtract(middle, expected)).max() < exactness


@pytest.mark.parametrize(("height", "width"), PICTURES)
def test_labels_go_back_on_the_same_grid(height: int, width: int):
    """As the loaders' inverse matrix takes them back, and cropped again they are what they were."""
    generator = np.random.default_rng(width)
    for size, box in zip((16, 24, 32), random_boxes(3, height, width, generator), strict=True):
        probabilities = generator.dirichlet(np.ones(17), (size, size)).astype(np.float32).transpose(2, 0, 1)
        whole = uncrop_probabilities(probabilities, box, height, width)
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        back = [
            cv2.warpAffine(part, loader_matrix(box, size), (width, height), flags=flags, borderMode=cv2.BORDER_REPLICATE)
            for part in probabilities
        ]
        there = crop_back(box, size, height, width)
        assert (whole != np.argmax(back, axis=0) * there).mean() < 0.005 and not whole[~there].any()


def crop_back(box: Box, size: int, height: int, width: int) -> np.ndarray:
    """Which pixels of a picture (height, width) are nearest to one of the crop's."""
    flags = cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine(np.ones((size, size), np.uint8), loader_matrix(box, size), (width, height), flags=flags) > 0
