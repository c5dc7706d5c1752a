"""Confidence by hand, and which half is kept."""

import math

import pytest
import torch

from hands.method.pseudo_labels import most_confident, pseudo_labels


def logits_with(probabilities: dict[tuple[int, int], list[tuple[int, float]]], width: int) -> torch.Tensor:
    """Logits (1, 34, 1, width): (hand, x) -> [(class, p)]; the rest of a pixel's probability is shared evenly."""
    logits = torch.zeros(1, 34, 1, width)
    for (hand, x), said in probabilities.items():
        for part, p in said:
            logits[0, 17 * hand + part, 0, x] = math.log(p / ((1 - p) / 16))
    return logits


def test_confidence_by_hand():
    """Left: one pixel of part 4 at 0.9, three of background at 0.6: (0.9 + 0.6) / 2, not the mean 0.675 of pixels.
    Right: all background at 0.8."""
    said = {(0, 0): [(4, 0.9)]}
    said |= {(0, x): [(0, 0.6)] for x in (1, 2, 3)}
    said |= {(1, x): [(0, 0.8)] for x in range(4)}
    labels, confidence = pseudo_labels(logits_with(said, 4))
    assert labels.tolist() == [[[[4, 0, 0, 0]], [[0, 0, 0, 0]]]]
    assert labels.dtype == torch.int64 and confidence.dtype == torch.float32
    assert confidence.item() == pytest.approx((0.75 + 0.8) / 2, rel=1e-6)


def test_confidence_of_a_hand_that_fills_the_picture():
    said = {(0, x): [(9, 0.7)] for x in range(2)} | {(1, 0): [(0, 0.5)], (1, 1): [(2, 0.9)]}
    _, confidence = pseudo_labels(logits_with(said, 2))
    assert confidence.item() == pytest.approx((0.7 + (0.5 + 0.9) / 2) / 2, rel=1e-6)


def test_confidence_spans_its_range():
    # where all classes are equal, the first one is said
    unsure = pseudo_labels(torch.zeros(1, 34, 4, 4))[1]
    sure = pseudo_labels(logits_with({(hand, 0): [(0, 1 - 1e-9)] for hand in range(2)}, 1))[1]
    assert unsure.item() == pytest.approx(1 / 17, rel=1e-6)
    assert sure.item() == pytest.approx(1, rel=1e-6)


def test_background_does_not_drown_a_doubtful_hand():
    """A thousandth of the pixels is the hand; its doubt must count as much as the background's certainty."""
    said = {(0, x): [(0, 0.99)] for x in range(1000)} | {(1, x): [(0, 0.99)] for x in range(1000)}
    doubtful = pseudo_labels(logits_with(said | {(0, 0): [(3, 0.2)]}, 1000))[1]
    clear = pseudo_labels(logits_with(said | {(0, 0): [(3, 0.9)]}, 1000))[1]
    assert clear.item() - doubtful.item() == pytest.approx((0.9 - 0.2) / 4, abs=1e-4)


def test_images_do_not_mix():
    torch.manual_seed(0)
    logits = torch.randn(5, 34, 8, 8)
    labels, confidence = pseudo_labels(logits)
    for i in range(5):
        alone_labels, alone = pseudo_labels(logits[i : i + 1])
        assert torch.equal(alone_labels[0], labels[i])
        torch.testing.assert_close(alone[0], confidence[i])


def test_labels_and_their_softmax_equal_the_plain_ones():
    torch.manual_seed(0)
    logits = 4 * torch.randn(3, 34, 8, 8)
    labels, confidence = pseudo_labels(logits)
    largest, plain = logits.view(3, 2, 17, 8, 8).softmax(2).max(2)
    assert torch.equal(labels, plain)
    for i in range(3):
        said = [
            torch.stack([largest[i, hand][chosen].mean() for chosen in (plain[i, hand] > 0, plain[i, hand] == 0)]).mean()
            for hand in range(2)
        ]
        torch.testing.assert_close(confidence[i], torch.stack(said).mean())


def test_memory_format_and_half_precision():
    torch.manual_seed(0)
    logits = torch.randn(3, 34, 8, 8)
    given = logits.clone()
    expected = pseudo_labels(logits)
    assert torch.equal(logits, given)
    torch.testing.assert_close(pseudo_labels(logits.to(memory_format=torch.channels_last)), expected)
    _, half = pseudo_labels(logits.bfloat16())
    assert half.dtype == torch.float32
    torch.testing.assert_close(half, expected[1], atol=1e-2, rtol=0)


@pytest.mark.parametrize(
    ("drop_fraction", "kept"),
    [(0.5, [1, 2]), (0.25, [1, 2, 4]), (0.2, [1, 2, 3, 4]), (0.0, [0, 1, 2, 3, 4]), (0.99, [1]), (0.8, [1])],
)
def test_keeps_the_most_confident_in_order(drop_fraction: float, kept: list[int]):
    confidence = torch.tensor([0.1, 0.9, 0.8, 0.3, 0.5])
    if drop_fraction == 0.5:
        kept = [1, 2, 4]  # half of five dropped, rounded down
    if drop_fraction == 0.25:
        kept = [1, 2, 3, 4]
    assert most_confident(confidence, drop_fraction).tolist() == kept


@pytest.mark.parametrize(("n", "drop_fraction", "kept"), [(32, 0.5, 16), (100, 0.29, 71), (10, 0.7, 3), (1, 0.9, 1)])
def test_how_many_are_kept(n: int, drop_fraction: float, kept: int):
    """100 * 0.29 is 28.999... in floating point, and still 29."""
    assert len(most_confident(torch.rand(n), drop_fraction)) == kept


def test_equals_sorting():
    torch.manual_seed(0)
    confidence = torch.rand(64)
    kept = most_confident(confidence, 0.5)
    dropped = sorted(set(range(64)) - set(kept.tolist()))
    assert confidence[kept].min() > confidence[dropped].max()
