"""Batched prediction: shared by the training steps' evaluation, `evaluate`, `compare`, `predict` and the served model."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

import numpy as np
import torch
from torch import nn

from hands.evaluation.coverage import require_labels
from hands.evaluation.metrics import HandsIoU, Scores, confusion_matrices, image_hand_miou, overlap_confusion
from hands.networks.logits import labels_of
from hands.packed.augment import centre
from hands.packed.batches import RecordReader, Shard
from hands.processes.progress import Progress

Autocast = Callable[[], AbstractContextManager]


def logits_of_subset(
    network: nn.Module, reader: RecordReader, indices: np.ndarray, batch_size: int, autocast: Autocast
) -> Iterator[tuple[np.ndarray, torch.Tensor, torch.Tensor, torch.Tensor]]:
    """Yields (indices, images, ground-truth labels, logits) batch by batch; evaluation mode is set.

    Logits take most of the memory: who asks for the next ones deletes these first.
    """
    network.eval()
    for start in range(0, len(indices), batch_size):
        batch = indices[start : start + batch_size]
        yield batch, *_seen(network, reader.read(batch), reader.subset.size, autocast)


def _seen(network: nn.Module, records: torch.Tensor, size: int, autocast: Autocast) -> tuple[torch.Tensor, ...]:
    """Images, labels and logits, in a function of its own: the generator would hold them while it waits."""
    with torch.inference_mode(), autocast():
        images, labels = centre(records, size)
        return images, labels, network(images)


def predict_subset(
    network: nn.Module, reader: RecordReader, indices: np.ndarray, batch_size: int, autocast: Autocast
) -> Iterator[tuple[np.ndarray, torch.Tensor, torch.Tensor, torch.Tensor]]:
    """Yields (indices, images, ground-truth labels, predicted labels uint8) batch by batch; evaluation mode is set."""
    for batch, images, labels, logits in logits_of_subset(network, reader, indices, batch_size, autocast):
        predicted = labels_of(logits)
        del logits
        yield batch, images, labels, predicted


class SubsetScores:
    """Scores of a labelled subset, as far as its batches have come.

    Raises:
        InvalidInput: the subset has no labels.
    """

    def __init__(self, reader: RecordReader):
        require_labels(reader.subset)
        self._size = reader.subset.size
        self._metric = HandsIoU(self._size).to(reader.device)
        self._hand_types = torch.from_numpy(np.asarray(reader.subset.hand_types))
        self._mious = [torch.empty(0, 2, dtype=torch.float64, device=reader.device)]

    def add(self, indices: np.ndarray, labels: torch.Tensor, predicted: torch.Tensor) -> None:
        """True and predicted labels (N, 2, S, S) of the pictures at N indices."""
        confusions = confusion_matrices(predicted, labels)
        self._metric.update(confusions, overlap_confusion(predicted, labels), self._hand_types[torch.from_numpy(indices)])
        self._mious.append(image_hand_miou(confusions, self._size))

    def scores(self) -> Scores:
        """Of all processes together."""
        return self._metric.scores()

    def mious(self) -> torch.Tensor:
        """(N, 2) float64 mean IoU of each picture that this process has added, and hand; NaN where nothing is judged."""
        return torch.cat(self._mious)


def score_subset(
    network: nn.Module, reader: RecordReader, batch_size: int, autocast: Autocast, shard: Shard, progress: bool
) -> tuple[Scores, np.ndarray]:
    """Scores a labelled subset.

    Returns:
        the scores (of all processes together) and the mean IoU of each image of this process's share (N / world_size,),
        the mean over its judged hands, NaN where none was judged. `progress` shows how far it is.

    Raises:
        InvalidInput: the subset has no labels.
    """
    scored = SubsetScores(reader)
    share = np.arange(shard.rank, len(reader.subset), shard.world_size)
    with Progress(f"scoring {reader.subset.name}", len(share), "images", shown=progress) as shown:
        for batch, _, labels, predicted in predict_subset(network, reader, share, batch_size, autocast):
            scored.add(batch, labels, predicted)
            shown.update(len(batch))
    return scored.scores(), scored.mious().nanmean(dim=1).cpu().numpy()
