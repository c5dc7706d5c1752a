"""Mean intersection over union of amodal hand parts, from confusion matrices counted on the device.

Pixels whose ground truth is IGNORED are counted nowhere.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torchmetrics import Metric

from hands.evaluation.judged import min_part_pixels
from hands.packed.ignored import known_pixels
from hands.parts import HAND_SUFFIXES, HAND_TYPES, HANDS, NUM_CLASSES, PART_SCORES, shows_part


def confusion_matrices(predicted: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Counts pixels by image, hand, ground-truth class and predicted class.

    Args:
        predicted, labels: (N, 2, S, S) integer, 0..16; labels may be IGNORED.

    Returns:
        (N, 2, 17, 17) int64.
    """
    n = labels.shape[0]
    rows = NUM_CLASSES + 1  # ignored pixels fall into one more, which is dropped
    cells = rows * NUM_CLASSES
    image_hand = torch.arange(n * len(HANDS), dtype=torch.int32, device=labels.device).view(n, len(HANDS), 1, 1)
    index = labels.to(torch.int32, copy=True)  # 612 n cells; with int64 it takes more than twice as long
    known = known_pixels(labels)
    if known is not None:
        index.masked_fill_(~known, NUM_CLASSES)
    index *= NUM_CLASSES
    index += predicted
    index += image_hand * cells
    counts = torch.bincount(index.flatten(), minlength=n * len(HANDS) * cells)
    return counts.view(n, len(HANDS), rows, NUM_CLASSES)[:, :, :NUM_CLASSES]


def overlap_confusion(predicted: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Like confusion_matrices summed over the batch, only over pixels where both ground-truth hands are: (2, 17, 17)."""
    present = shows_part(labels)
    both = present[:, 0] & present[:, 1]
    hand = torch.arange(len(HANDS), dtype=torch.int32, device=labels.device).view(len(HANDS), 1)
    truth = labels.transpose(0, 1)[:, both]
    index = (hand * NUM_CLASSES + truth) * NUM_CLASSES + predicted.transpose(0, 1)[:, both]
    counts = torch.bincount(index.flatten(), minlength=len(HANDS) * NUM_CLASSES * NUM_CLASSES)
    return counts.view(len(HANDS), NUM_CLASSES, NUM_CLASSES)


def part_iou(confusion: torch.Tensor) -> torch.Tensor:
    """IoU of parts 1..16 from (..., 17, 17) counts: (..., 16) float64, NaN where neither truth nor prediction has it."""
    true_positive = confusion.diagonal(dim1=-2, dim2=-1).double()
    union = confusion.sum(-1) + confusion.sum(-2) - true_positive
    return (true_positive / union)[..., 1:]


def image_hand_miou(confusions: torch.Tensor, size: int) -> torch.Tensor:
    """Mean IoU of each image and hand over the parts that are big enough there.

    Args:
        confusions: (N, 2, 17, 17) of pictures of side `size`.

    Returns:
        (N, 2) float64; NaN for an image-hand without a part of at least min_part_pixels(size).
    """
    judged = confusions.sum(-1)[..., 1:] >= min_part_pixels(size)
    iou = torch.where(judged, part_iou(confusions), 0.0)
    return iou.sum(-1) / judged.sum(-1)


def paints_absent_hand(confusions: torch.Tensor, size: int) -> tuple[torch.Tensor, torch.Tensor]:
    """(N, 2) booleans: the hand is absent from the ground truth; and it is painted all the same (too many pixels).

    A hand that is ignored anywhere may be there: only pictures that are known to the last pixel tell that one is absent.
    """
    absent = confusions[..., 0, :].sum(-1) == size * size
    painted = confusions[..., :, 1:].sum((-2, -1)) > min_part_pixels(size)
    return absent, absent & painted


@dataclass(frozen=True)
class Scores:
    """What one split scored. NaN where nothing could be judged.

    Attributes:
        values: metric name (without the split's prefix) -> value in [0, 1].
        confusion: (2, 17, 17) int64 of the whole split.
    """

    values: dict[str, float]
    confusion: np.ndarray


class HandsIoU(Metric):
    """Accumulates a split's scores; states are sums, so several processes add up."""

    full_state_update = False

    def __init__(self, size: int):
        super().__init__()
        self.size = size
        shape = (len(HANDS), NUM_CLASSES, NUM_CLASSES)
        self.add_state("confusion", torch.zeros(shape, dtype=torch.int64), dist_reduce_fx="sum")
        self.add_state("overlap", torch.zeros(shape, dtype=torch.int64), dist_reduce_fx="sum")
        by_type = len(HAND_TYPES)
        self.add_state("miou_sum", torch.zeros(by_type, dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("miou_count", torch.zeros(by_type, dtype=torch.int64), dist_reduce_fx="sum")
        self.add_state("absent", torch.zeros(2, dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, confusions: torch.Tensor, overlap: torch.Tensor, hand_types: torch.Tensor) -> None:
        """Adds a batch: confusion_matrices (N, 2, 17, 17), overlap_confusion (2, 17, 17), codes of HAND_TYPES (N,)."""
        self.confusion += confusions.sum(0)
        self.overlap += overlap
        miou = image_hand_miou(confusions, self.size)
        judged = ~miou.isnan()
        types = hand_types.to(miou.device).long()
        self.miou_sum += torch.bincount(types, miou.nan_to_num(0).sum(1), minlength=len(HAND_TYPES))
        self.miou_count.index_add_(0, types, judged.sum(1))
        absent, painted = paints_absent_hand(confusions, self.size)
        self.absent += torch.stack([painted.sum(), absent.sum()])

    def compute(self) -> dict[str, torch.Tensor]:
        """The scores by name, float64 scalars, and "confusion" (2, 17, 17) int64."""
        confusion = self.confusion.cpu()
        there = confusion[:, 1:].sum((1, 2)) > 0  # a hand that is nowhere has no score, whatever is painted
        per_hand = part_iou(confusion).nanmean(1).where(there, torch.nan)  # (2,)
        both = part_iou(confusion.sum(0))  # (16,)
        sums, counts = self.miou_sum.cpu(), self.miou_count.cpu().double()
        painted, absent = self.absent.cpu().double()
        interacting = HAND_TYPES.index("interacting")
        values = {
            "miou": sums.sum() / counts.sum(),
            "miou_single": (sums.sum() - sums[interacting]) / (counts.sum() - counts[interacting]),
            "miou_interacting": sums[interacting] / counts[interacting],
            "miou_dataset": both.nanmean(),
            "miou_overlap": part_iou(self.overlap.cpu().sum(0)).nanmean(),
            "absent_hand": painted / absent,
        }
        for hand, suffix in enumerate(HAND_SUFFIXES):
            values[f"miou_dataset_{suffix}"] = per_hand[hand]
        return values | dict(zip(PART_SCORES, both, strict=True)) | {"confusion": confusion}

    def scores(self) -> Scores:
        values = dict(self.compute())
        confusion = values.pop("confusion").numpy()
        return Scores({name: float(value) for name, value in values.items()}, confusion)
