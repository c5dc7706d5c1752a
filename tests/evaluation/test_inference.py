"""Batched prediction and scoring of a subset."""

import weakref
from contextlib import nullcontext

import numpy as np
import pytest
import torch
from torch import nn

from hands.errors import InvalidInput
from hands.evaluation.detail import score_in_detail
from hands.evaluation.inference import labels_of, predict_subset, score_subset
from hands.evaluation.metrics import HandsIoU, confusion_matrices, image_hand_miou, overlap_confusion
from hands.packed.augment import centre
from hands.packed.batches import Shard
from hands.packed.packed_set import PackedSet
from tests.small_training import reader

ALONE = Shard(0, 1)


def guessing_network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 34, 3, padding=1), nn.Dropout(0.5))


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_labels_of_is_the_argmax_of_each_hand(memory_format: torch.memory_format):
    logits = torch.randn(3, 34, 8, 8, generator=torch.Generator().manual_seed(0)).to(memory_format=memory_format)
    labels = labels_of(logits)
    assert labels.dtype == torch.uint8 and labels.shape == (3, 2, 8, 8)
    assert torch.equal(labels[:, 0].long(), logits[:, :17].argmax(1))
    assert torch.equal(labels[:, 1].long(), logits[:, 17:].argmax(1))


def test_of_equal_logits_the_first_part_is_said():
    """As argmax has it: in bfloat16 equal logits are common."""
    logits = torch.randint(0, 3, (4, 34, 8, 8), generator=torch.Generator().manual_seed(0)).bfloat16()
    first = torch.stack([(hand == hand.amax(1, keepdim=True)).int().argmax(1) for hand in logits.split(17, dim=1)], dim=1)
    assert torch.equal(labels_of(logits).long(), first)
    assert torch.equal(labels_of(logits.to(memory_format=torch.channels_last)).long(), first)


@pytest.mark.parametrize("batch_size", [1, 4, 100])
def test_prediction_does_not_depend_on_the_batch(tiny_packed: PackedSet, batch_size: int):
    network, train = guessing_network(), reader(tiny_packed, "train")
    wanted = np.array([7, 0, 3, 11, 5])
    batches = list(predict_subset(network, train, wanted, batch_size, nullcontext))
    assert np.concatenate([indices for indices, *_ in batches]).tolist() == wanted.tolist()
    images, truth, predicted = (torch.cat(parts) for parts in list(zip(*batches, strict=True))[1:])
    expected_images, expected_truth = centre(train.read(wanted), 32)
    assert torch.equal(images, expected_images) and torch.equal(truth, expected_truth)
    with torch.no_grad():
        torch.testing.assert_close(predicted, labels_of(network.eval()(expected_images)))


class Watched(nn.Module):
    """Refuses a batch while the logits of the one before are still held."""

    def __init__(self):
        super().__init__()
        self.network, self.last, self.batches = guessing_network(), lambda: None, 0

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        assert self.last() is None
        logits = self.network(images)
        self.last, self.batches = weakref.ref(logits), self.batches + 1
        return logits


@pytest.mark.parametrize("use", [
    lambda network, val: list(predict_subset(network, val, np.arange(6), 2, nullcontext)),
    lambda network, val: score_subset(network, val, 2, nullcontext, ALONE, progress=False),
    lambda network, val: score_in_detail(network, val, 2, nullcontext),
], ids=["predict", "score", "in detail"])  # fmt: skip
def test_logits_of_one_batch_alone_are_held(tiny_packed: PackedSet, use):
    network = Watched()
    use(network, reader(tiny_packed, "val"))
    assert network.batches == 3


def test_prediction_is_in_evaluation_mode_without_gradients(tiny_packed: PackedSet):
    network = guessing_network().train()
    next(predict_subset(network, reader(tiny_packed, "val"), np.arange(2), 2, nullcontext))
    assert not network.training


def test_pictures_without_labels_are_predicted(tiny_packed: PackedSet):
    _, images, truth, predicted = next(
        predict_subset(guessing_network(), reader(tiny_packed, "unpaired_images"), np.arange(3), 3, nullcontext)
    )
    assert images.shape == (3, 3, 32, 32) and truth.shape == (3, 0, 32, 32) and predicted.shape == (3, 2, 32, 32)


def test_scores_are_those_of_the_metric(tiny_packed: PackedSet):
    network, val = guessing_network(), reader(tiny_packed, "val")
    scores, mious = score_subset(network, val, 4, nullcontext, ALONE, progress=False)
    images, labels = centre(val.read(np.arange(6)), 32)
    with torch.no_grad():
        predicted = labels_of(network.eval()(images))
    metric = HandsIoU(32)
    confusions = confusion_matrices(predicted, labels)
    metric.update(confusions, overlap_confusion(predicted, labels), torch.from_numpy(val.subset.hand_types))
    assert scores.values == pytest.approx(metric.scores().values, nan_ok=True)
    assert scores.confusion.sum() == 6 * 2 * 32 * 32
    np.testing.assert_allclose(mious, image_hand_miou(confusions, 32).nanmean(1).numpy())


def test_shards_score_their_shares(tiny_packed: PackedSet):
    network, val = guessing_network(), reader(tiny_packed, "val")
    whole, mious = score_subset(network, val, 4, nullcontext, ALONE, progress=False)
    parts = [score_subset(network, val, 4, nullcontext, Shard(rank, 4), progress=False) for rank in range(4)]
    assert np.array_equal(sum(scores.confusion for scores, _ in parts), whole.confusion)
    for rank, (_, own) in enumerate(parts):
        np.testing.assert_array_equal(own, mious[rank::4])


@pytest.mark.filterwarnings("ignore:The ``compute`` method")
def test_a_process_without_a_picture_scores_nothing(tiny_packed: PackedSet):
    scores, mious = score_subset(guessing_network(), reader(tiny_packed, "test"), 4, nullcontext, Shard(5, 6), progress=False)
    assert len(mious) == 0 and scores.confusion.sum() == 0 and np.isnan(scores.values["miou"])


@pytest.mark.parametrize("subset", ["unpaired_images", "unpaired_masks"])
def test_refuses_to_score_what_has_no_pictures_with_labels(tiny_packed: PackedSet, subset: str):
    with pytest.raises(InvalidInput, match=f"'{subset}' cannot be scored"):
        score_subset(guessing_network(), reader(tiny_packed, subset), 4, nullcontext, ALONE, progress=False)
