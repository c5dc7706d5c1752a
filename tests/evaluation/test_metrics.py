"""Every metric by hand on labels small enough to count."""

import math

import numpy as np
import pytest
import torch
from sklearn.metrics import jaccard_score
from torchmetrics import JaccardIndex

from hands.evaluation.judged import min_part_pixels
from hands.evaluation.metrics import (
    HandsIoU,
    confusion_matrices,
    image_hand_miou,
    overlap_confusion,
    paints_absent_hand,
    part_iou,
)
from hands.parts import PART_SCORES

LEFT, RIGHT, INTERACTING = 0, 1, 2


def empty(n: int, side: int) -> torch.Tensor:
    return torch.zeros(n, 2, side, side, dtype=torch.int64)


def random_labels(n: int, side: int, seed: int) -> torch.Tensor:
    return torch.randint(0, 17, (n, 2, side, side), generator=torch.Generator().manual_seed(seed))


def scores(predicted: torch.Tensor, labels: torch.Tensor, hand_types: list[int], batch: int | None = None) -> dict[str, float]:
    metric = HandsIoU(labels.shape[-1])
    batch = batch or len(labels)
    for start in range(0, len(labels), batch):
        part = slice(start, start + batch)
        metric.update(
            confusion_matrices(predicted[part], labels[part]),
            overlap_confusion(predicted[part], labels[part]),
            torch.tensor(hand_types[part], dtype=torch.uint8),
        )
    return metric.scores().values


def test_confusion_by_hand():
    labels, predicted = empty(2, 2), empty(2, 2)
    labels[0, 0] = torch.tensor([[0, 3], [3, 3]])
    predicted[0, 0] = torch.tensor([[0, 3], [5, 0]])
    predicted[1, 1, 0, 0] = 16
    confusion = confusion_matrices(predicted, labels)
    expected = torch.zeros(2, 2, 17, 17, dtype=torch.int64)
    expected[0, 0, 0, 0] = expected[0, 0, 3, 3] = expected[0, 0, 3, 5] = expected[0, 0, 3, 0] = 1
    expected[0, 1, 0, 0] = expected[1, 0, 0, 0] = 4
    expected[1, 1, 0, 0], expected[1, 1, 0, 16] = 3, 1
    assert torch.equal(confusion, expected)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int32])
def test_confusion_takes_any_integers_and_leaves_them_alone(dtype: torch.dtype):
    """17 * 16 does not fit into eight bits."""
    labels = random_labels(2, 8, 0)
    predicted = random_labels(2, 8, 1)
    like = predicted.to(dtype), labels.to(dtype)
    assert torch.equal(confusion_matrices(*like), confusion_matrices(predicted, labels))
    assert torch.equal(overlap_confusion(*like), overlap_confusion(predicted, labels))
    assert torch.equal(like[0], predicted) and torch.equal(like[1], labels)


def test_confusion_of_many_images():
    """Cells beyond what 16 bits count."""
    labels = random_labels(300, 2, 0)
    predicted = random_labels(300, 2, 1)
    single = [confusion_matrices(predicted[i : i + 1], labels[i : i + 1]) for i in range(300)]
    assert torch.equal(confusion_matrices(predicted, labels), torch.cat(single))


def test_part_iou_by_hand():
    confusion = torch.zeros(17, 17, dtype=torch.int64)
    confusion[1, 1], confusion[1, 0], confusion[0, 1], confusion[2, 1] = 6, 1, 2, 3  # part 1: 6 / (6 + 1 + 2 + 3)
    iou = part_iou(confusion)
    assert iou.shape == (16,) and iou[0] == 0.5
    assert iou[1] == 0  # part 2 is there and never found
    assert iou[2:].isnan().all()


@pytest.mark.parametrize(("size", "pixels"), [(128, 20), (64, 5), (256, 80), (32, 1.25)])
def test_the_twenty_pixel_rule_scales_with_the_area(size: int, pixels: float):
    assert min_part_pixels(size) == pixels


@pytest.mark.parametrize(("size", "judged_from"), [(128, 20), (64, 5), (32, 2)])
def test_small_parts_are_not_judged(size: int, judged_from: int):
    labels, predicted = empty(2, size), empty(2, size)
    for image, pixels in enumerate((judged_from - 1, judged_from)):
        labels[image, 0].view(-1)[100:200] = 9
        predicted[image, 0].view(-1)[100:200] = 9
        labels[image, 0].view(-1)[:pixels] = 4  # never predicted: IoU 0 where it is judged
    miou = image_hand_miou(confusion_matrices(predicted, labels), size)
    assert miou[0, 0] == 1.0
    assert miou[1, 0] == 0.5


def test_what_is_predicted_of_small_parts_still_costs_the_others():
    """A judged part's union holds every pixel said to be it, wherever."""
    labels, predicted = empty(1, 128), empty(1, 128)
    labels[0, 0].view(-1)[:30] = 9
    predicted[0, 0].view(-1)[:60] = 9
    assert image_hand_miou(confusion_matrices(predicted, labels), 128)[0, 0] == 0.5


def test_a_hand_without_judged_parts_is_left_out():
    labels = empty(1, 128)
    labels[0, 1, 0, :30] = 7
    miou = image_hand_miou(confusion_matrices(labels, labels), 128)
    assert miou[0, 0].isnan() and miou[0, 1] == 1


def test_miou_is_the_mean_over_image_hands_not_over_images():
    """Three judged hands: 1, 0.5, 0.25. The mean over images first would be ((1 + 0.5) / 2 + 0.25) / 2."""
    labels, predicted = empty(2, 128), empty(2, 128)
    for image, hand, found in ((0, 0, 40), (0, 1, 20), (1, 1, 10)):
        labels[image, hand].view(-1)[:40] = 3
        predicted[image, hand].view(-1)[:found] = 3
    values = scores(predicted, labels, [INTERACTING, RIGHT])
    assert values["miou"] == pytest.approx((1 + 0.5 + 0.25) / 3)
    assert values["miou_interacting"] == pytest.approx(0.75)
    assert values["miou_single"] == pytest.approx(0.25)


def test_single_hands_are_left_and_right():
    labels, predicted = empty(3, 128), empty(3, 128)
    labels[:, :, 0, :40] = 3
    for image, found in enumerate((40, 20, 10)):
        predicted[image, :, 0, :found] = 3
    labels[0, 1] = labels[1, 0] = predicted[0, 1] = predicted[1, 0] = 0
    values = scores(predicted, labels, [LEFT, RIGHT, INTERACTING])
    assert values["miou_single"] == pytest.approx((1 + 0.5) / 2)
    assert values["miou_interacting"] == pytest.approx(0.25)


def test_dataset_miou_adds_pixels_up_before_dividing():
    """Left hand, part 3: 40 of 40 and 10 of 40 found: 50 / 80, not the mean of 1 and 1/4; right hand, part 3: 0 of 20."""
    labels, predicted = empty(2, 128), empty(2, 128)
    labels[:, 0, 0, :40] = 3
    predicted[0, 0, 0, :40] = predicted[1, 0, 0, :10] = 3
    labels[0, 1, 0, :20] = 3
    values = scores(predicted, labels, [INTERACTING, LEFT])
    assert values["miou_dataset_l"] == pytest.approx(50 / 80)
    assert values["miou_dataset_r"] == 0
    assert values["miou_dataset"] == values["iou/pinky_proximal"] == pytest.approx(50 / 100)
    assert math.isnan(values["iou/middle_proximal"])


def test_dataset_miou_counts_small_parts_too():
    labels, predicted = empty(1, 128), empty(1, 128)
    labels[0, 0, 0, :40] = predicted[0, 0, 0, :40] = 3
    labels[0, 0, 1, 0] = 4
    assert scores(predicted, labels, [LEFT])["miou_dataset"] == 0.5


def test_a_part_seen_only_in_predictions_counts_as_missed_in_the_dataset():
    labels, predicted = empty(1, 128), empty(1, 128)
    labels[0, 0, 0, :40] = predicted[0, 0, 0, :40] = 3
    predicted[0, 0, 1, 0] = 4
    assert scores(predicted, labels, [LEFT])["miou_dataset"] == 0.5


def test_overlap_looks_only_where_both_hands_are():
    labels, predicted = empty(1, 128), empty(1, 128)
    labels[0, 0, 0, :40] = 3
    labels[0, 1, 0, 30:60] = 5  # ten pixels of both
    predicted[0, 0, 0, :35] = 3  # five of the ten
    predicted[0, 1, 0, 30:60] = 5
    predicted[0, 1, 5, :] = 5  # outside of both hands: no matter
    values = scores(predicted, labels, [INTERACTING])
    assert values["miou_overlap"] == pytest.approx((5 / 10 + 10 / 10) / 2)


def test_overlap_equals_counting_pixels():
    labels, predicted = random_labels(3, 16, 0), random_labels(3, 16, 1)
    counts = np.zeros((2, 17, 17), dtype=np.int64)
    for image in range(3):
        for y in range(16):
            for x in range(16):
                truth = labels[image, :, y, x]
                if truth.min() > 0:
                    for hand in range(2):
                        counts[hand, truth[hand], predicted[image, hand, y, x]] += 1
    assert np.array_equal(overlap_confusion(predicted, labels).numpy(), counts)


@pytest.mark.parametrize(("size", "threshold"), [(128, 20), (64, 5), (32, 1)])
def test_an_absent_hand_is_painted_above_the_threshold(size: int, threshold: int):
    labels, predicted = empty(3, size), empty(3, size)
    for image, pixels in enumerate((0, threshold, threshold + 1)):
        predicted[image, 0].view(-1)[:pixels] = 1 + torch.arange(pixels) % 16
    absent, painted = paints_absent_hand(confusion_matrices(predicted, labels), size)
    assert absent.all()
    assert painted[:, 0].tolist() == [False, False, True] and not painted[:, 1].any()


def test_absent_hand_is_the_share_of_absent_hands():
    labels, predicted = empty(2, 128), empty(2, 128)
    labels[0, 0, 0, :40] = 3
    predicted[0, 0, 0, :60] = 3  # a hand that is there may be painted
    labels[1, 1, 0, :1] = 3  # one pixel is enough to be there
    predicted[1, 0, :2] = 3  # of the two absent hands, the second picture's left one is painted
    assert scores(predicted, labels, [LEFT, RIGHT])["absent_hand"] == 0.5


def test_nan_where_nothing_can_be_judged():
    labels = empty(1, 128)
    labels[0, :, 0, :40] = 3
    values = scores(labels, labels, [INTERACTING])
    assert math.isnan(values["miou_single"]) and math.isnan(values["absent_hand"])
    assert values["miou"] == values["miou_overlap"] == 1
    background = scores(empty(1, 128), empty(1, 128), [LEFT])
    assert all(math.isnan(value) for name, value in background.items() if name != "absent_hand")
    assert background["absent_hand"] == 0


def test_perfect_and_hopeless():
    labels = random_labels(4, 32, 0)
    perfect = scores(labels, labels, [0, 1, 2, 2])
    assert all(value == 1 for name, value in perfect.items() if name != "absent_hand")
    hopeless = scores((labels + 1) % 17, labels, [0, 1, 2, 2])
    assert all(value == 0 for name, value in hopeless.items() if name != "absent_hand")


def test_dataset_iou_equals_torchmetrics_and_sklearn():
    labels, predicted = random_labels(3, 16, 0), random_labels(3, 16, 1)
    predicted = torch.where(torch.rand(labels.shape, generator=torch.Generator().manual_seed(2)) < 0.6, labels, predicted)
    values = scores(predicted, labels, [0, 1, 2])
    for hand, suffix in enumerate("lr"):
        theirs = JaccardIndex(task="multiclass", num_classes=17, average="none")(predicted[:, hand], labels[:, hand])
        assert values[f"miou_dataset_{suffix}"] == pytest.approx(theirs[1:].mean().item(), rel=1e-6)
    per_part = jaccard_score(labels.flatten(), predicted.flatten(), average=None, labels=range(1, 17))
    assert [values[name] for name in PART_SCORES] == pytest.approx(per_part.tolist())
    assert values["miou_dataset"] == pytest.approx(per_part.mean())


def test_image_miou_equals_sklearn_on_each_hand():
    labels, predicted = random_labels(2, 32, 0), random_labels(2, 32, 1)
    predicted = torch.where(torch.arange(32) < 20, labels, predicted)
    miou = image_hand_miou(confusion_matrices(predicted, labels), 32)
    for image in range(2):
        for hand in range(2):
            truth, said = labels[image, hand].flatten(), predicted[image, hand].flatten()
            expected = jaccard_score(truth, said, average="macro", labels=range(1, 17))
            assert miou[image, hand].item() == pytest.approx(expected)


@pytest.mark.parametrize("batch", [1, 2, 3, 7])
def test_scores_do_not_depend_on_the_batches(batch: int):
    labels, predicted = random_labels(7, 16, 0), random_labels(7, 16, 1)
    labels[:2, 0] = labels[2:4, 1] = 0
    hand_types = [1, 1, 0, 0, 2, 2, 2]
    whole = scores(predicted, labels, hand_types)
    assert scores(predicted, labels, hand_types, batch) == pytest.approx(whole, rel=1e-12, nan_ok=True)


def test_names():
    names = set(scores(empty(1, 32), empty(1, 32), [0]))
    parts = set(PART_SCORES)
    by_hand = {"miou_dataset_l", "miou_dataset_r"}
    assert names == {"miou", "miou_single", "miou_interacting", "miou_dataset", "miou_overlap", "absent_hand"} | parts | by_hand


def test_a_reset_metric_starts_anew():
    metric = HandsIoU(16)
    labels, predicted = random_labels(2, 16, 0), random_labels(2, 16, 1)
    types = torch.tensor([0, 2])
    metric.update(confusion_matrices(predicted, labels), overlap_confusion(predicted, labels), types)
    metric.reset()
    metric.update(confusion_matrices(labels, labels), overlap_confusion(labels, labels), types)
    assert metric.scores().values["miou"] == 1
    assert metric.scores().confusion.sum() == 2 * 2 * 16 * 16
