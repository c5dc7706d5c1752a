"""Confidence by hand, and which half is kept."""

import math

import pytest
import torch

from hands.method.pseudo_labels import hands_present, kept_shares, most_confident, pseudo_labels

BOTH = torch.tensor([[True, True]])


def logits_with(probabilities: dict[tuple[int, int], list[tuple[int, float]]], width: int) -> torch.Tensor:
    """Logits (1, 34, 1, width): (hand, x) -> [(class, p)]; the rest of a pixel's probability is shared evenly."""
    logits = torch.zeros(1, 34, 1, width)
    for (hand, x), said in probabilities.items():
        for part, p in said:
            logits[0, 17 * hand + part, 0, x] = math.log(p / ((1 - p) / 16))
    return logits


def test_confidence_by_hand():
    """Left: parts at 0.9 and 0.5, background at 0.6: 0.7. Right: a part at 0.4, background at 0.8: 0.4."""
    said = {(0, 0): [(4, 0.9)], (0, 1): [(2, 0.5)], (0, 2): [(0, 0.6)], (0, 3): [(0, 0.6)]}
    said |= {(1, 0): [(9, 0.4)]} | {(1, x): [(0, 0.8)] for x in (1, 2, 3)}
    labels, confidence = pseudo_labels(logits_with(said, 4), BOTH)
    assert labels.tolist() == [[[[4, 2, 0, 0]], [[9, 0, 0, 0]]]]
    assert labels.dtype == torch.int64 and confidence.dtype == torch.float32
    assert confidence.item() == pytest.approx((0.7 + 0.4) / 2, rel=1e-6)


def test_a_hand_that_is_there_and_not_painted_counts_as_unsure():
    """However sure of its background the network is."""
    said = {(0, 0): [(4, 0.9)], (0, 1): [(0, 0.999)], (1, 0): [(0, 0.999)], (1, 1): [(0, 0.999)]}
    labels, confidence = pseudo_labels(logits_with(said, 2), BOTH)
    assert labels.tolist() == [[[[4, 0]], [[0, 0]]]]
    assert confidence.item() == pytest.approx(0.9 / 2, rel=1e-6)
    assert pseudo_labels(logits_with(said, 2), torch.tensor([[False, True]]))[1].item() == 0


def test_a_hand_that_is_absent_is_background_and_counts_nothing():
    said = {(0, 0): [(4, 0.7)], (0, 1): [(0, 0.6)], (1, 0): [(9, 0.95)], (1, 1): [(0, 0.5)]}
    labels, confidence = pseudo_labels(logits_with(said, 2), torch.tensor([[True, False]]))
    assert labels.tolist() == [[[[4, 0]], [[0, 0]]]]
    assert confidence.item() == pytest.approx(0.7, rel=1e-6)
    labels, confidence = pseudo_labels(logits_with(said, 2), torch.tensor([[False, True]]))
    assert labels.tolist() == [[[[0, 0]], [[9, 0]]]]
    assert confidence.item() == pytest.approx(0.95, rel=1e-6)


def test_overlooking_a_hand_does_not_pay():
    """Nothing seen and very sure of it, against two moderately sure hands."""
    nothing = {(hand, x): [(0, 0.995)] for hand in range(2) for x in range(4)}
    two = nothing | {(0, 0): [(3, 0.6)], (1, 1): [(5, 0.7)]}
    overlooked, seen = (pseudo_labels(logits_with(said, 4), BOTH)[1].item() for said in (nothing, two))
    assert overlooked == 0
    assert seen == pytest.approx(0.65, rel=1e-6)


def test_confidence_spans_its_range():
    sure = pseudo_labels(logits_with({(hand, 0): [(1, 1 - 1e-9)] for hand in range(2)}, 1), BOTH)[1]
    unsure = pseudo_labels(logits_with({(hand, 0): [(1, 1 / 17 + 1e-6)] for hand in range(2)}, 1), BOTH)[1]
    assert sure.item() == pytest.approx(1, rel=1e-6)
    assert unsure.item() == pytest.approx(1 / 17, abs=1e-5)


def test_background_drowns_no_hand():
    """A thousandth of the pixels is the hand; its doubt alone counts."""
    said = {(hand, x): [(0, 0.99)] for hand in range(2) for x in range(1000)} | {(1, 1): [(7, 0.9)]}
    doubtful, clear = (pseudo_labels(logits_with(said | {(0, 0): [(3, p)]}, 1000), BOTH)[1].item() for p in (0.2, 0.9))
    assert clear - doubtful == pytest.approx((0.9 - 0.2) / 2, abs=1e-5)


def test_which_hands_a_hand_type_has():
    assert hands_present(torch.tensor([0, 1, 2])).tolist() == [[True, False], [False, True], [True, True]]


def test_images_do_not_mix():
    torch.manual_seed(0)
    logits, present = torch.randn(5, 34, 8, 8), hands_present(torch.tensor([0, 1, 2, 2, 0]))
    labels, confidence = pseudo_labels(logits, present)
    for i in range(5):
        alone_labels, alone = pseudo_labels(logits[i : i + 1], present[i : i + 1])
        assert torch.equal(alone_labels[0], labels[i])
        torch.testing.assert_close(alone[0], confidence[i])


def test_labels_and_their_softmax_equal_the_plain_ones():
    torch.manual_seed(0)
    logits, present = 4 * torch.randn(3, 34, 8, 8), hands_present(torch.tensor([2, 1, 0]))
    labels, confidence = pseudo_labels(logits, present)
    largest, plain = logits.view(3, 2, 17, 8, 8).softmax(2).max(2)
    for i, there in enumerate(((0, 1), (1,), (0,))):
        for hand in range(2):
            assert torch.equal(labels[i, hand], plain[i, hand] if hand in there else torch.zeros_like(plain[i, hand]))
        said = [largest[i, hand][plain[i, hand] > 0].mean() for hand in there]
        torch.testing.assert_close(confidence[i], torch.stack(said).mean())


def test_memory_format_and_half_precision():
    torch.manual_seed(0)
    logits, present = torch.randn(3, 34, 8, 8), hands_present(torch.tensor([2, 1, 0]))
    given = logits.clone()
    expected = pseudo_labels(logits, present)
    assert torch.equal(logits, given)
    torch.testing.assert_close(pseudo_labels(logits.to(memory_format=torch.channels_last), present), expected)
    _, half = pseudo_labels(logits.bfloat16(), present)
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


def test_shares_kept_of_each_hand_type():
    hand_types = torch.tensor([0, 0, 0, 1, 2, 2])  # left, right, interacting
    shares = kept_shares(torch.tensor([0, 4, 5]), hand_types)
    assert {name: share.item() for name, share in shares.items()} == pytest.approx(
        {"kept_left": 1 / 3, "kept_right": 0.0, "kept_interacting": 1.0}
    )


def test_a_hand_type_that_a_batch_lacks_changes_no_mean():
    shares = kept_shares(torch.tensor([0, 1]), torch.tensor([0, 1, 0, 1]))
    assert {name: share.item() for name, share in shares.items()} == pytest.approx(
        {"kept_left": 0.5, "kept_right": 0.5, "kept_interacting": 0.5}
    )
