"""Scores where the ground truth is unknown in places: such pixels count nowhere."""

import numpy as np
import pytest
import torch

from hands.evaluation.inference import score_subset
from hands.evaluation.metrics import (
    HandsIoU,
    confusion_matrices,
    image_hand_miou,
    overlap_confusion,
    paints_absent_hand,
)
from hands.packed.batches import RecordReader, Shard
from hands.packed.packed_set import PackedSet
from hands.parts import IGNORED


def empty(n: int, side: int) -> torch.Tensor:
    return torch.zeros(n, 2, side, side, dtype=torch.int64)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int64])
def test_confusion_by_hand(dtype: torch.dtype):
    labels, predicted = empty(2, 2).to(dtype), empty(2, 2).to(dtype)
    labels[0, 0] = torch.tensor([[0, IGNORED], [3, IGNORED]])
    predicted[0, 0] = torch.tensor([[0, 3], [5, 0]])
    labels[1, 1] = IGNORED
    predicted[1, 1, 0, 0] = 16
    expected = torch.zeros(2, 2, 17, 17, dtype=torch.int64)
    expected[0, 0, 0, 0] = expected[0, 0, 3, 5] = 1
    expected[0, 1, 0, 0] = expected[1, 0, 0, 0] = 4
    before = labels.clone()
    assert torch.equal(confusion_matrices(predicted, labels), expected)
    assert torch.equal(labels, before)


def test_overlap_needs_both_hands_to_be_known():
    labels, predicted = empty(1, 2), empty(1, 2)
    labels[0, 0] = torch.tensor([[1, 2], [IGNORED, 4]])
    labels[0, 1] = torch.tensor([[5, IGNORED], [7, 0]])
    predicted[0, 0] = 1
    expected = torch.zeros(2, 17, 17, dtype=torch.int64)
    expected[0, 1, 1] = expected[1, 5, 0] = 1  # the first pixel alone
    assert torch.equal(overlap_confusion(predicted, labels), expected)


def test_the_twenty_pixels_of_a_part_are_known_ones():
    labels, predicted = empty(2, 128), empty(2, 128)
    for image, known in enumerate((19, 20)):
        hand = labels[image, 0].view(-1)
        hand[:40] = 4  # never predicted: IoU 0 where it is judged
        hand[known:40] = IGNORED
        hand[100:200] = predicted[image, 0].view(-1)[100:200] = 9
    miou = image_hand_miou(confusion_matrices(predicted, labels), 128)
    assert miou[:, 0].tolist() == [1.0, 0.5]


def test_what_is_painted_on_ignored_pixels_costs_nothing():
    labels, predicted = empty(1, 64), empty(1, 64)
    labels[0, 0, :, 32:] = IGNORED
    labels[0, 0, :8, :8] = predicted[0, 0, :8, :8] = 9
    predicted[0, 0, :, 32:] = 9
    assert image_hand_miou(confusion_matrices(predicted, labels), 64)[0, 0] == 1.0


def test_a_hand_that_is_ignored_somewhere_is_not_called_absent():
    labels, predicted = empty(3, 64), empty(3, 64)
    labels[0, 0, 0, 0] = IGNORED
    labels[1, 0] = IGNORED
    predicted[:, 0, :8, :8] = 9
    absent, painted = paints_absent_hand(confusion_matrices(predicted, labels), 64)
    assert absent.tolist() == [[False, True], [False, True], [True, True]]
    assert painted.tolist() == [[False, False], [False, False], [True, False]]


def test_scores_are_those_of_the_known_half():
    """Labels cut in half or half ignored: every score over parts is the same."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(0, 17, (4, 2, 64, 64), generator=generator)
    predicted = torch.where(torch.rand(labels.shape, generator=generator) < 0.6, labels, labels.roll(1))
    types = torch.tensor([0, 1, 2, 2], dtype=torch.uint8)

    def scored(predicted: torch.Tensor, labels: torch.Tensor) -> dict[str, float]:
        metric = HandsIoU(64)
        metric.update(confusion_matrices(predicted, labels), overlap_confusion(predicted, labels), types)
        values = metric.scores().values
        del values["absent_hand"]
        return values

    cut = scored(predicted[..., :32], labels[..., :32])
    labels[..., 32:] = IGNORED
    assert scored(predicted, labels) == pytest.approx(cut)


class Always(torch.nn.Module):
    """Says background everywhere."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits = torch.zeros(len(images), 34, *images.shape[2:])
        logits[:, [0, 17]] = 1
        return logits


def test_a_split_that_is_ignored_as_a_whole_has_no_score(tiny_packed: PackedSet):
    reader = RecordReader(tiny_packed.subset("val"), "device", torch.device("cpu"))
    reader.resident[:, 3:] = IGNORED
    scores, mious = score_subset(Always(), reader, 4, torch.no_grad, Shard(0, 1), progress=False)
    assert np.isnan(scores.values["miou"]) and np.isnan(scores.values["absent_hand"]) and np.isnan(mious).all()
    assert scores.confusion.sum() == 0
