"""What a network says of a picture: the labels of both hands at the picture's own size, how sure it is, and where it looked.

Networks were trained on crops whose box has the hands within its central four fifths. Of a picture without a box they see
such a framing only once the hands are found: by the network itself, in several passes (find_box).
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from scipy import ndimage
from torch import nn

from hands.files.boxes import Box, overlap, square, whole
from hands.files.crop import uncrop_probabilities
from hands.files.photograph import Photograph
from hands.networks.flipped import FlipAveraged
from hands.networks.logits import probabilities_of

# All measured, on synthetic pictures (docs/predict.md).
MAX_PASSES = 5  # the last one, whose labels are taken, included
SETTLED = 0.9  # overlap of a box and the next one from which on they count as the same
BOX_SCALE = 1.3  # a listed box's side, by the extent of the labels in it
MIN_HAND = 0.2  # of the largest piece's pixels: smaller pieces are no hand


@dataclass(frozen=True)
class Framed:
    """Where a network looks. box: a square. passes: forward passes up to the labels; 1 where the box was given."""

    box: Box
    passes: int


class Labeller:
    """A network with what it takes to use it.

    network: in evaluation mode, on `device`. size: S, of its crops. autocast: makes the context that it runs in.
    flip: whether labels are averaged over the picture and its mirror image.
    """

    def __init__(self, network: nn.Module, size: int, device: torch.device, autocast: Callable, flip: bool):
        self.size = size
        self._device, self._autocast = device, autocast
        self._search = FlipAveraged(network)
        self._network = self._search if flip else network

    def probabilities(self, crops: list[np.ndarray]) -> np.ndarray:
        """Of N crops (S, S, 3) uint8: (N, 2, 17, S, S) float32."""
        return self._run(self._network, crops)

    def frame(self, photograph: Photograph, box: Box | None) -> Framed:
        """The box squared, or found where none is given.

        Raises:
            BrokenEntry: the box lies outside of the picture, or this is damaged.
        """
        if box is not None:
            photograph.require(box)
            return Framed(square(box), 1)
        return find_box(lambda crop: self._run(self._search, [crop])[0], photograph, self.size)

    def _run(self, network: nn.Module, crops: list[np.ndarray]) -> np.ndarray:
        images = torch.from_numpy(np.stack(crops)).to(self._device).permute(0, 3, 1, 2).float() / 255
        with torch.inference_mode(), self._autocast():
            return probabilities_of(network(images)).cpu().numpy()


def find_box(probabilities: Callable[[np.ndarray], np.ndarray], photograph: Photograph, size: int) -> Framed:
    """The square box around the hands of a picture: first the square around all of it, then, again and again, the box
    around what was found, until it stays or MAX_PASSES - 1 passes are made. Where nothing is found, it stays.

    Args:
        probabilities: of one crop (S, S, 3) uint8: (2, 17, S, S).
    """
    box = whole(photograph.width, photograph.height, size)
    for passes in range(1, MAX_PASSES):
        found = _box_around(probabilities(photograph.crop(box, size)), box)
        if found is None or overlap(found, box) > SETTLED:
            return Framed(box, passes + 1)
        box = found
    return Framed(box, MAX_PASSES)


def _box_around(probabilities: np.ndarray, box: Box) -> Box | None:
    """The square around pixels that are more probably some hand than none, small pieces left out; None without any."""
    hand = 1 - probabilities[0, 0] * probabilities[1, 0] > 0.5
    pieces, count = ndimage.label(hand)
    if count == 0:
        return None
    pixels = np.bincount(pieces.ravel())
    pixels[0] = 0  # what is no hand
    kept = (pixels >= MIN_HAND * pixels.max())[pieces]
    rows, columns = np.flatnonzero(kept.any(axis=1)), np.flatnonzero(kept.any(axis=0))
    (x, y, side, _), step = box, box[2] / hand.shape[0]
    left, right, top, bottom = columns[0], columns[-1], rows[0], rows[-1]
    side = BOX_SCALE * step * (1 + max(right - left, bottom - top))
    return x + step * (left + right) / 2 - side / 2, y + step * (top + bottom) / 2 - side / 2, side, side


def labels_at(probabilities: np.ndarray, box: Box, height: int, width: int) -> list[np.ndarray]:
    """Both hands' labels (height, width) uint8 at the size of the picture that (2, 17, S, S) probabilities are a crop of."""
    return [uncrop_probabilities(hand, box, height, width) for hand in probabilities]


def confidence_of(probabilities: np.ndarray) -> list[float]:
    """How sure a network is of each hand, from (2, 17, S, S): the mean, over the crop's pixels that it labels as a part of
    the hand, of the label's probability; 0 for a hand of which it labels nothing."""
    labels, largest = probabilities.argmax(axis=1), probabilities.max(axis=1)
    return [float(sure[part > 0].mean()) if part.any() else 0.0 for part, sure in zip(labels, largest, strict=True)]
