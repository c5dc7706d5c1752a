"""Is one model better than another beyond chance? Differences of scores with 95 % intervals.

Two sources of chance are told apart. Between one model and another, the pictures: the same ones are resampled for both (paired
bootstrap), all of a subject together, since pictures of one subject resemble each other. Between several seeds and several
seeds, the seeds: Welch's t interval over their scores.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from hands.errors import InvalidInput

LEVEL = 0.95
RESAMPLES = 10_000


@dataclass(frozen=True)
class Difference:
    """A minus B in a score from 0 to 1, with the ends of its 95 % interval; units: what was resampled and how many of them,
    such as "10 subjects"."""

    value: float
    low: float
    high: float
    units: str

    @property
    def beyond_chance(self) -> bool:
        return self.low > 0 or self.high < 0

    def reversed(self) -> "Difference":
        """B minus A."""
        return Difference(-self.value, -self.high, -self.low, self.units)


def paired_difference(first: np.ndarray, second: np.ndarray, subjects: Sequence[str], seed: int) -> Difference:
    """Difference of two models' `miou` on the same pictures, by a paired bootstrap.

    The interval is the expanded percentile interval (Hesterberg 2015, "What Teachers Should Know About the Bootstrap",
    arXiv:1411.5279, section 5.4): percentiles are taken where Student's t with as many degrees of freedom as there are subjects
    less one has them, since plain percentiles of few subjects are too narrow (10 subjects: 89 % coverage instead of 95).

    Args:
        first, second: (N, 2) mean IoU of each picture and hand, NaN where nothing is judged, which the ground truth decides.
        subjects: N names; pictures of one subject are resampled together, or each picture alone where there is one subject.

    Raises:
        InvalidInput: fewer than two pictures can be judged.
    """
    differences = first - second
    names, group = np.unique(subjects, return_inverse=True)
    unit = "subject"
    if len(names) < 2:
        group, unit = np.arange(len(differences)), "picture"
    sums = np.bincount(group, np.nansum(differences, axis=1))
    counts = np.bincount(group, (~np.isnan(differences)).sum(axis=1))
    sums, counts = sums[counts > 0], counts[counts > 0]
    n = len(sums)
    if n < 2:
        raise InvalidInput(f"{n} of the pictures can be judged; a difference needs two at least: choose a larger split.")
    drawn = np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), size=RESAMPLES)
    resampled = (drawn @ sums) / (drawn @ counts)
    tail = stats.norm.cdf(np.sqrt(n / (n - 1)) * stats.t.ppf((1 - LEVEL) / 2, n - 1))
    low, high = np.quantile(resampled, [tail, 1 - tail])
    return Difference(float(sums.sum() / counts.sum()), float(low), float(high), f"{n} {unit}s")


def seeds_difference(first: Sequence[float], second: Sequence[float]) -> Difference:
    """Difference of the means of two groups of seeds' scores, by Welch's t interval.

    Args:
        first, second: the scores, two or more each.
    """
    if np.ptp(first) == 0 and np.ptp(second) == 0:  # seeds that change nothing: no chance is left
        value = float(np.mean(first) - np.mean(second))
        return Difference(value, value, value, f"{len(first)} and {len(second)} seeds")
    compared = stats.ttest_ind(first, second, equal_var=False)
    interval = compared.confidence_interval(LEVEL)
    value = float(np.mean(first) - np.mean(second))
    return Difference(value, float(interval.low), float(interval.high), f"{len(first)} and {len(second)} seeds")


def mean_interval(scores: Sequence[float]) -> tuple[float, float]:
    """The 95 % t interval of the mean of two or more scores."""
    half = stats.sem(scores) * stats.t.ppf((1 + LEVEL) / 2, len(scores) - 1)
    return float(np.mean(scores) - half), float(np.mean(scores) + half)


def in_words(first: str, second: str, difference: Difference) -> str:
    """One sentence for people."""
    if difference.value < 0:
        return in_words(second, first, difference.reversed())
    points = f"{100 * difference.value:.1f} points of miou"
    interval = f"95 % interval {100 * difference.low:.1f} to {100 * difference.high:.1f}, over {difference.units}"
    if difference.beyond_chance:
        return f"{first} is better than {second} by {points} ({interval}): more than chance explains."
    return f"{first} and {second} differ by {points} ({interval}): no more than chance explains."
