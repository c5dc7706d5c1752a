"""Batched prediction: shared by the training steps' evaluation, `evaluate`, `predict` and the served model."""

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


def predict_subset(
    network: nn.Module, reader: RecordReader, indices: np.ndarray, batch_size: int, autocast: Autocast
) -> Iterator[tuple[np.ndarray, torch.Tensor, torch.Tensor, torch.Tensor]]:
    """Yields (indices, images, ground-truth labels, predicted labels uint8) batch by batch; evaluation mode is set."""
    network.eval()
    size = reader.subset.size
    for start in range(0, len(indices), batch_size):
        batch = indices[start : start + batch_size]
        with torch.inference_mode(), autocast():
            images, labels = centre(reader.read(batch), size)
            predicted = labels_of(network(images))
        yield batch, images, labels, predicted


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
    require_labels(reader.subset)
    metric = HandsIoU(reader.subset.size).to(reader.device)
    hand_types = torch.from_numpy(np.asarray(reader.subset.hand_types))
    mious = [torch.empty(0, dtype=torch.float64, device=reader.device)]
    share = np.arange(shard.rank, len(reader.subset), shard.world_size)
    batches = predict_subset(network, reader, share, batch_size, autocast)
    with Progress(f"scoring {reader.subset.name}", len(share), "images", shown=progress) as shown:
        for batch, _, labels, predicted in batches:
            confusions = confusion_matrices(predicted, labels)
            metric.update(confusions, overlap_confusion(predicted, labels), hand_types[torch.from_numpy(batch)])
            mious.append(image_hand_miou(confusions, reader.subset.size).nanmean(dim=1))
            shown.update(len(batch))
    return metric.scores(), torch.cat(mious).cpu().numpy()
