"""Class weights by hand."""

import math
from dataclasses import replace

import numpy as np
import pytest

from hands.errors import InvalidInput
from hands.method.class_weights import SCHEMES, ClassWeightConfig, class_weight_table, class_weights
from hands.parts import FINGER_IDS, FINGERTIP_IDS, PALM_IDS

PLAIN = ClassWeightConfig("none", exponent=1, background=1, palm=1, fingertips=1, fingers=1)
# background 1600, one part of 100, fifteen of 400: the median is 400
COUNTS = [1600, 100] + 15 * [400]


def test_manual_weights_as_published():
    published = [0.1, 0.8, 0.8, 0.8, 0.8, 1, 1, 1, 0.35, 0.35, 0.8, 0.8, 1, 0.8, 0.8, 0.8, 0.8]
    np.testing.assert_allclose(class_weights(replace(PLAIN, scheme="manual"), COUNTS), published, rtol=1e-6)


def test_strong_weights():
    expected = np.full(17, 4.2)
    expected[0], expected[8], expected[9] = 0.07, 0.4, 0.4
    np.testing.assert_allclose(class_weights(replace(PLAIN, scheme="strong"), COUNTS), expected, rtol=1e-6)


def test_none_is_ones():
    assert np.array_equal(class_weights(PLAIN, COUNTS), np.ones(17, dtype=np.float32))


def of_mean_one(weights: list[float]) -> np.ndarray:
    return np.array(weights) * 17 / sum(weights)


def test_inverse_and_median_frequency_by_hand():
    # 400 / n: 1/4, 4, and 1 fifteen times; inverse differs by the factor that the mean takes away
    expected = of_mean_one([0.25, 4.0] + 15 * [1.0])
    for scheme in ("median_frequency", "inverse"):
        np.testing.assert_allclose(class_weights(replace(PLAIN, scheme=scheme), COUNTS), expected, rtol=1e-6)


def test_effective_number_by_hand():
    counts = [4_000_000, 100_000] + 15 * [1_000_000]
    expected = of_mean_one([1 / (1 - 0.999999**n) for n in counts])
    weights = class_weights(replace(PLAIN, scheme="effective_number"), counts)
    np.testing.assert_allclose(weights, expected, rtol=1e-5)
    # 1 / (1 - e^-n/1e6): far above a million pixels more of them change little, far below it is the inverse
    assert weights[0] / weights[2] == pytest.approx((1 - math.exp(-1)) / (1 - math.exp(-4)), rel=1e-4)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_class_without_pixels_gets_a_finite_weight(scheme: str):
    weights = class_weights(replace(PLAIN, scheme=scheme), [1000] + 16 * [0])
    assert weights.shape == (17,) and weights.dtype == np.float32
    assert np.isfinite(weights).all() and (weights > 0).all()


@pytest.mark.parametrize("scheme", SCHEMES)
def test_exponent_zero_levels_and_two_sharpens(scheme: str):
    once = class_weights(replace(PLAIN, scheme=scheme), COUNTS)
    assert np.array_equal(class_weights(replace(PLAIN, scheme=scheme, exponent=0), COUNTS), np.ones(17))
    np.testing.assert_allclose(class_weights(replace(PLAIN, scheme=scheme, exponent=2), COUNTS), once**2, rtol=1e-5)


def test_factors_scale_their_groups():
    config = ClassWeightConfig("none", exponent=3, background=2, palm=3, fingertips=5, fingers=7)
    expected = np.zeros(17)
    expected[0] = 2
    expected[[8, 9]] = 3
    expected[[5, 6, 7, 12, 13]] = 5
    expected[[1, 2, 3, 4, 10, 11, 14, 15, 16]] = 7
    assert np.array_equal(class_weights(config, COUNTS), expected)


def test_groups_share_the_classes_out():
    assert sorted((0, *PALM_IDS, *FINGERTIP_IDS, *FINGER_IDS)) == list(range(17))


@pytest.mark.parametrize(
    "change",
    [
        {"scheme": "focal"},
        {"exponent": -1},
        {"background": -0.1},
        {"palm": math.nan},
        {"fingers": math.inf},
        {"background": 0, "palm": 0, "fingertips": 0, "fingers": 0},
    ],
)
def test_refuses(change: dict):
    with pytest.raises(InvalidInput):
        class_weights(replace(PLAIN, **change), COUNTS)


@pytest.mark.parametrize("exponent", [100, 1000])
def test_refuses_an_exponent_that_leaves_the_range_of_float32(exponent: float):
    with pytest.raises(InvalidInput, match="exponent"):
        class_weights(replace(PLAIN, scheme="inverse", exponent=exponent), COUNTS)


def test_table_counts_both_hands():
    left, right = [10] + 16 * [1], [30] + 16 * [3]
    table = class_weight_table((left, right))
    assert table["id"] == list(range(17)) and table["part"][9] == "palm and wrist"
    assert table["pixels_left"] == left and table["pixels_right"] == right
    assert table["share"][0] == pytest.approx(40 / 104, abs=1e-6) and table["share"][1] == pytest.approx(4 / 104, abs=1e-6)
    expected = class_weights(replace(PLAIN, scheme="inverse"), np.add(left, right))
    np.testing.assert_allclose(table["inverse"], expected, atol=1e-4)
