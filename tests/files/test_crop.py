"""Where pixels of a box land, by hand."""

import cv2
import numpy as np
import pytest

from hands.files.crop import box_around, crop_image, crop_labels, uncrop_probabilities
from hands.files.decoding import BrokenEntry


def grey(values: list[list[int]]) -> np.ndarray:
    return np.repeat(np.array(values, np.uint8)[..., None], 3, axis=2)


def test_a_box_of_the_crops_size_copies_pixels():
    image = np.random.default_rng(0).integers(0, 256, (24, 30, 3), dtype=np.uint8)
    assert np.array_equal(crop_image(image, (5.0, 3.0, 16.0, 16.0), 16, 0), image[3:19, 5:21])
    labels = image[..., :2].transpose(2, 0, 1) % 17
    assert np.array_equal(crop_labels(labels, (5.0, 3.0, 16.0, 16.0), 16, 0), labels[:, 3:19, 5:21])


def test_outside_the_picture_is_zero():
    image = np.full((4, 4, 3), 200, np.uint8)
    cropped = crop_image(image, (-2.0, 1.0, 8.0, 8.0), 8, 0)
    expected = np.zeros((8, 8, 3), np.uint8)
    expected[0:3, 2:6] = 200
    assert np.array_equal(cropped, expected)
    assert np.array_equal(crop_labels(image[..., :2].transpose(2, 0, 1), (-2.0, 1.0, 8.0, 8.0), 8, 0)[0], expected[..., 0])


def test_halving_averages_and_doubling_interpolates():
    image = grey([[0, 0, 0, 0, 100, 100, 100, 100]] * 8)
    # Halved: centres at pixels 0, 2, 4, 6; a triangle of half-width 2 weighs a pixel and its neighbours 1, 2, 1: 0, 75, 100.
    assert crop_image(image, (0.0, 0.0, 8.0, 8.0), 4, 0)[1, 1:4, 0].tolist() == [0, 75, 100]
    # Doubled: centres at 2, 2.5, 3, 3.5, 4, 4.5, ...
    doubled = crop_image(image, (2.0, 2.0, 4.0, 4.0), 8, 0)
    assert doubled[4, 2:6, 0].tolist() == [0, 50, 100, 100]


def test_half_a_pixel_blends_two_neighbours():
    image = grey([[10, 30, 50, 70]] * 4)
    assert crop_image(image, (0.5, 0.0, 3.0, 3.0), 3, 0)[1, :, 0].tolist() == [20, 40, 60]


def test_labels_take_the_nearest_pixel_of_two_the_higher():
    labels = np.arange(8, dtype=np.uint8).reshape(1, 1, 8).repeat(8, axis=1).repeat(2, axis=0)
    assert crop_labels(labels, (0.0, 0.0, 8.0, 8.0), 4, 0)[0, 0].tolist() == [0, 2, 4, 6]
    assert crop_labels(labels, (0.0, 0.0, 4.0, 4.0), 8, 0)[0, 0].tolist() == [0, 1, 1, 2, 2, 3, 3, 4]  # 0, 0.5, 1, 1.5, ...
    assert crop_labels(labels, (5.0, 0.0, 8.0, 8.0), 8, 0)[1, 7].tolist() == [5, 6, 7, 0, 0, 0, 0, 0]
    assert crop_labels(labels, (4.4, 0.0, 8.0, 8.0), 8, 0)[1, 7].tolist() == [4, 5, 6, 7, 0, 0, 0, 0]


@pytest.mark.parametrize(("size", "margin"), [(16, 2), (64, 8), (128, 16)])
@pytest.mark.parametrize("box", [(3.7, -9.2, 41.3, 41.3), (-20.0, -20.0, 90.0, 90.0), (10.1, 12.9, 7.3, 7.3)])
def test_the_centre_of_the_enlarged_crop_is_the_crop(size: int, margin: int, box):
    generator = np.random.default_rng(1)
    image = generator.integers(0, 256, (50, 40, 3), dtype=np.uint8)
    labels = generator.integers(0, 17, (2, 50, 40), dtype=np.uint8)
    centre = slice(margin, margin + size)
    whole, exact = crop_image(image, box, size, margin)[centre, centre], crop_image(image, box, size, 0)
    assert np.abs(whole.astype(int) - exact).max() <= 1  # fixed-point rounding of the filter weights
    assert np.array_equal(crop_labels(labels, box, size, margin)[:, centre, centre], crop_labels(labels, box, size, 0))


def test_agrees_with_an_affine_warp_by_opencv_where_nothing_is_shrunk():
    image = cv2.resize(np.random.default_rng(2).integers(0, 256, (6, 5, 3), dtype=np.uint8), (50, 60))
    x, y, w = 7.25, -4.5, 40.0
    matrix = np.array([[w / 64, 0, x], [0, w / 64, y]])
    theirs = cv2.warpAffine(image, matrix, (64, 64), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)
    assert np.abs(crop_image(image, (x, y, w, w), 64, 0).astype(int) - theirs).max() <= 6  # OpenCV's 1/32 pixel steps


def test_fine_stripes_do_not_alias():
    stripes = np.zeros((320, 320, 3), np.uint8)
    stripes[:, ::2] = 255
    assert np.abs(crop_image(stripes, (0.0, 0.0, 320.0, 320.0), 64, 0)[2:-2, 2:-2].astype(int) - 127.5).max() < 8


def test_labels_go_back_to_their_place():
    sure = np.eye(17, dtype=np.float32)[np.array([[1, 2], [3, 4]])].transpose(2, 0, 1)
    # the crop's pixels lie at columns 1 and 3, rows -1 and 1; half way between two of them the lower id is taken
    whole = uncrop_probabilities(sure, (1.0, -1.0, 4.0, 4.0), 4, 6)
    assert whole.tolist() == [[1, 1, 1, 2, 0, 0], [3, 3, 3, 4, 0, 0], [0] * 6, [0] * 6]
    assert uncrop_probabilities(sure, (100.0, 0.0, 4.0, 4.0), 4, 6).max() == 0


def test_box_around_both_hands():
    labels = np.zeros((2, 30, 40), np.uint8)
    assert box_around(labels) is None
    labels[0, 10, 4] = 1
    labels[1, 13, 11] = 16
    # columns 4 to 11, rows 10 to 13: side 8, middle (7.5, 11.5), enlarged to 10
    assert box_around(labels) == (2.5, 6.5, 10.0, 10.0)


@pytest.mark.parametrize("box", [(40.0, 0.0, 5.0, 5.0), (0.0, -6.0, 5.0, 5.0), (-5.0, 0.0, 5.0, 5.0)])
def test_refuses_boxes_that_miss_the_picture(box):
    with pytest.raises(BrokenEntry, match="lies outside its 40 x 30 image"):
        crop_image(np.zeros((30, 40, 3), np.uint8), box, 16, 2)


def test_refuses_boxes_that_would_take_all_memory():
    with pytest.raises(BrokenEntry, match="50,000,000"):
        crop_image(np.zeros((30, 40, 3), np.uint8), (-5e5, -5e5, 1e6, 1e6), 16, 2)
