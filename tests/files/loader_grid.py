"""The crop of InterHand2.6M's own loader and of those made after it: three points of the box, `cv2.warpAffine`."""

import cv2
import numpy as np

Box = tuple[float, float, float, float]


def loader_matrix(box: Box, size: int) -> np.ndarray:
    """(2, 3) from picture to crop: the box's middle goes to (size / 2, size / 2), points half a box below and to the right of
    it go half a crop below and to the right; in float32, as they have it."""
    x, y, w, h = (np.float32(number) for number in box)
    middle = np.array([x + np.float32(0.5) * w, y + np.float32(0.5) * h], np.float32)
    below, beside = np.array([0, 0.5 * h], np.float32), np.array([0.5 * w, 0], np.float32)
    half = np.float32(0.5 * size)
    picture = np.stack([middle, middle + below, middle + beside])
    crop = np.array([(half, half), (half, 2 * half), (2 * half, half)], np.float32)
    return cv2.getAffineTransform(picture, crop).astype(np.float32)


def loader_labels(labels: np.ndarray, box: Box, size: int) -> np.ndarray:
    """(2, size, size) of (2, H, W)."""
    matrix = loader_matrix(box, size)
    return np.stack([cv2.warpAffine(hand, matrix, (size, size), flags=cv2.INTER_NEAREST) for hand in labels])


def loader_image(image: np.ndarray, box: Box, size: int) -> np.ndarray:
    """(size, size, 3) of (H, W, 3)."""
    return cv2.warpAffine(image, loader_matrix(box, size), (size, size), flags=cv2.INTER_LINEAR)
