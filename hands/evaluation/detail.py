"""All that a comparison needs of a model on a split, in one pass: scores, each picture's, how far its confidence goes."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from hands.evaluation.inference import Autocast, SubsetScores, logits_of_subset
from hands.evaluation.metrics import Scores
from hands.networks.logits import hand_rows, labels_of
from hands.packed.batches import RecordReader
from hands.parts import IGNORED
from hands.processes.progress import Progress

BINS = 10  # of confidence, from 0 to 1


@dataclass(frozen=True)
class Detail:
    """What one model scored on one split.

    Attributes:
        scores: of the split.
        mious: (N, 2) mean IoU of each picture and hand, NaN where nothing is judged.
        reliability: (BINS, 3) of the known pixels that prediction or truth call a part, by the probability of what was
            predicted: how many, the sum of their probabilities, and how many are right.
    """

    scores: Scores
    mious: np.ndarray
    reliability: np.ndarray


def score_in_detail(network: nn.Module, reader: RecordReader, batch_size: int, autocast: Autocast) -> Detail:
    """Scores a labelled subset in this process.

    Raises:
        InvalidInput: the subset has no labels.
    """
    scored, reliability = SubsetScores(reader), torch.zeros(BINS, 3, dtype=torch.float64)
    indices = np.arange(len(reader.subset))
    with Progress(f"scoring {reader.subset.name}", len(indices), "images") as progress:
        for batch, _, labels, logits in logits_of_subset(network, reader, indices, batch_size, autocast):
            predicted = labels_of(logits)
            reliability += reliability_counts(logits, predicted, labels).cpu()
            del logits
            scored.add(batch, labels, predicted)
            progress.update(len(batch))
    return Detail(scored.scores(), scored.mious().cpu().numpy(), reliability.numpy())


def reliability_counts(logits: torch.Tensor, predicted: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """(BINS, 3) float64, as Detail has it: logits (N, 34, S, S), predicted and true labels (N, 2, S, S)."""
    confidence = hand_rows(logits).float().softmax(dim=4).amax(dim=4).permute(0, 3, 1, 2)  # (N, 2, S, S)
    judged = ((predicted > 0) | (labels > 0)) & (labels != IGNORED)
    confidence, right = confidence[judged].double(), (predicted == labels)[judged].double()
    place = (confidence * BINS).long().clamp(max=BINS - 1)
    columns = (torch.ones_like(confidence), confidence, right)
    return torch.stack([torch.bincount(place, column, minlength=BINS) for column in columns], dim=1)


def calibration_error(reliability: np.ndarray) -> float:
    """Expected calibration error, 0 to 1: the mean distance of confidence and share right, bins weighed by their pixels."""
    pixels, confidence, right = reliability.T
    return float(np.abs(confidence - right).sum() / pixels.sum()) if pixels.sum() else float("nan")
