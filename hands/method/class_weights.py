"""Cross-entropy weights of the 17 classes, the same for both hands."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hands.errors import InvalidInput
from hands.parts import FINGER_IDS, FINGERTIP_IDS, NUM_CLASSES, PALM_IDS, PART_NAMES

MANUAL = (0.1, 0.8, 0.8, 0.8, 0.8, 1, 1, 1, 0.35, 0.35, 0.8, 0.8, 1, 0.8, 0.8, 0.8, 0.8)
STRONG = (0.07,) + tuple(0.4 if part in PALM_IDS else 4.2 for part in range(1, NUM_CLASSES))
EFFECTIVE_NUMBER_BETA = 0.999999  # pixels, not samples, are counted: beta near 1 keeps classes of 1e6 pixels apart
SCHEMES = ("manual", "strong", "none", "inverse", "median_frequency", "effective_number")


@dataclass(frozen=True)
class ClassWeightConfig:
    """scheme: one of SCHEMES; exponent >= 0 flattens (< 1) or sharpens (> 1) it; factors >= 0 scale groups of classes."""

    scheme: str
    exponent: float
    background: float
    palm: float
    fingertips: float
    fingers: float


def class_weights(config: ClassWeightConfig, class_pixels: Sequence[int]) -> np.ndarray:
    """Weights w_c = scheme_c ** exponent * factor of c's group.

    Args:
        config: scheme, exponent and group factors.
        class_pixels: (17,) pixels of each class in the training labels, both hands together (the manifest's count).

    Returns:
        (17,) float32, finite, >= 0. Only ratios matter: the loss divides by the weights' sum.

    Raises:
        InvalidInput: unknown scheme, a negative factor or exponent, or weights that are all zero or too large.

    Sources: median_frequency: Eigen and Fergus, arXiv:1411.4734; effective_number: Cui et al., arXiv:1901.05555,
    (1 - beta) / (1 - beta ** n).
    """
    factors = (config.exponent, config.background, config.palm, config.fingertips, config.fingers)
    if not np.all(np.isfinite(factors)) or min(factors) < 0:
        raise InvalidInput(f"class weight exponent and factors are {factors}; expected finite numbers >= 0.")
    with np.errstate(over="ignore"):
        weights = _scheme_weights(config.scheme, np.asarray(class_pixels, dtype=np.float64)) ** config.exponent
    for ids, factor in (
        ((0,), config.background),
        (PALM_IDS, config.palm),
        (FINGERTIP_IDS, config.fingertips),
        (FINGER_IDS, config.fingers),
    ):
        weights[list(ids)] *= factor
    if weights.sum() == 0:
        raise InvalidInput("all class weights are zero, so that cross-entropy cannot learn; raise one of the factors.")
    if weights.max() > np.finfo(np.float32).max:
        raise InvalidInput(f"class weights with exponent {config.exponent} leave the range of numbers; lower it.")
    return weights.astype(np.float32)


def class_weight_table(class_pixels: Sequence[Sequence[int]]) -> dict[str, list]:
    """Columns for a table of the 17 classes: pixels of each hand (2, 17), and the weight each scheme gives."""
    left, right = (np.asarray(pixels) for pixels in class_pixels)
    columns = {"id": list(range(NUM_CLASSES)), "part": list(PART_NAMES)}
    columns |= {"pixels_left": left.tolist(), "pixels_right": right.tolist()}
    columns["share"] = ((left + right) / max(1, (left + right).sum())).round(6).tolist()
    for scheme in SCHEMES:
        columns[scheme] = _scheme_weights(scheme, (left + right).astype(np.float64)).round(4).tolist()
    return columns


def _scheme_weights(scheme: str, class_pixels: np.ndarray) -> np.ndarray:
    """Data-derived schemes have mean 1 over the classes; a class without a pixel is counted as one pixel."""
    if scheme == "manual":
        return np.array(MANUAL, dtype=np.float64)
    if scheme == "strong":
        return np.array(STRONG, dtype=np.float64)
    if scheme == "none":
        return np.ones(NUM_CLASSES)
    if scheme not in SCHEMES:
        raise InvalidInput(f"class_weights is '{scheme}'; expected one of {', '.join(SCHEMES)}.")
    counts = np.maximum(class_pixels, 1)
    if scheme == "inverse":
        weights = 1 / counts
    elif scheme == "median_frequency":
        weights = np.median(counts) / counts
    else:
        weights = (1 - EFFECTIVE_NUMBER_BETA) / -np.expm1(counts * np.log(EFFECTIVE_NUMBER_BETA))
    return weights / weights.mean()
