"""Differences of models with their intervals: hand-made values, and how often intervals hold what they should."""

import numpy as np
import pytest

from hands.errors import InvalidInput
from hands.evaluation import differences
from hands.evaluation.differences import in_words, mean_interval, paired_difference, seeds_difference


def pictures(generator: np.random.Generator, subjects: int, difference: float, spread: float) -> tuple:
    """Two models' (N, 2) scores on pictures of some subjects, the first one `difference` better; and the subjects."""
    counts = generator.integers(6, 20, subjects)
    names = np.repeat(np.arange(subjects).astype(str), counts)
    of_subject = np.repeat(generator.normal(difference, spread, subjects), counts)
    second = generator.uniform(0.2, 0.8, (len(names), 2))
    first = second + of_subject[:, None] + generator.normal(0, 0.1, second.shape)
    absent = generator.random(len(names)) < 0.3
    first[absent, 0] = second[absent, 0] = np.nan
    return first, second, names


def test_the_difference_is_that_of_the_means_over_judged_hands():
    first = np.array([[0.5, np.nan], [0.7, 0.9]])
    second = np.array([[0.4, np.nan], [0.5, 0.6]])
    found = paired_difference(first, second, ["a", "b"], seed=0)
    assert found.value == pytest.approx((0.1 + 0.2 + 0.3) / 3)
    assert found.units == "2 subjects"


def test_one_subject_is_resampled_by_pictures():
    first, second, names = pictures(np.random.default_rng(0), 1, 0.03, 0)
    assert paired_difference(first, second, names, seed=0).units == f"{len(names)} pictures"


def test_subjects_are_resampled_whole():
    """Pictures of a subject that say the same again tell nothing new: the interval stays as wide."""
    first, second, names = pictures(np.random.default_rng(1), 12, 0.02, 0.03)
    once = paired_difference(first, second, names, seed=0)
    again = paired_difference(np.tile(first, (5, 1)), np.tile(second, (5, 1)), np.tile(names, 5), seed=0)
    assert (again.value, again.low, again.high) == pytest.approx((once.value, once.low, once.high))


def test_three_points_on_a_thousand_pictures_are_more_than_chance():
    first, second, names = pictures(np.random.default_rng(2), 80, 0.03, 0.01)
    assert 900 < len(names) < 1200
    found = paired_difference(first, second, names, seed=0)
    assert found.beyond_chance and found.low > 0.015 and found.high < 0.045
    assert "A is better than B by 3" in in_words("A", "B", found) and "more than chance" in in_words("A", "B", found)
    assert in_words("B", "A", found.reversed()) == in_words("A", "B", found)


def test_chance_alone_is_called_chance():
    first, second, names = pictures(np.random.default_rng(3), 80, 0.0, 0.01)
    found = paired_difference(first, second, names, seed=0)
    assert found.low < 0 < found.high
    assert "no more than chance explains" in in_words("A", "B", found)


@pytest.mark.parametrize("subjects", [10, 30])
def test_intervals_hold_the_truth_in_95_of_100(subjects: int, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(differences, "RESAMPLES", 1000)
    generator = np.random.default_rng(4)
    held = 0
    for number in range(1500):
        first, second, names = pictures(generator, subjects, 0.01, 0.02)
        found = paired_difference(first, second, names, seed=number)
        held += found.low <= 0.01 <= found.high
    assert 0.93 <= held / 1500 <= 0.97


def test_of_pictures_without_a_judged_hand_nothing_is_said():
    with pytest.raises(InvalidInput, match="1 of the pictures"):
        paired_difference(np.array([[0.5, 0.5]]), np.array([[0.4, 0.4]]), ["a"], seed=0)


def test_seeds():
    found = seeds_difference([0.50, 0.52, 0.54], [0.40, 0.42, 0.44])
    # s = 0.02 each, standard error sqrt(2 * 0.02 ** 2 / 3), 4 degrees of freedom: t = 2.776
    assert (found.value, found.low, found.high) == pytest.approx((0.1, 0.1 - 2.776 * 0.01633, 0.1 + 2.776 * 0.01633), abs=1e-4)
    assert found.beyond_chance and found.units == "3 and 3 seeds"
    assert not seeds_difference([0.5, 0.6], [0.45, 0.62]).beyond_chance
    assert seeds_difference([0.5, 0.5], [0.4, 0.4]).low == pytest.approx(0.1)


def test_mean_interval():
    assert mean_interval([0.50, 0.52, 0.54]) == pytest.approx((0.52 - 4.303 * 0.011547, 0.52 + 4.303 * 0.011547), abs=1e-4)
