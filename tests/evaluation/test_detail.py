"""Scores in detail: those of score_subset, and how far confidence can be trusted."""

from contextlib import nullcontext

import numpy as np
import pytest
import torch

from hands.evaluation.detail import BINS, calibration_error, reliability_counts, score_in_detail
from hands.evaluation.inference import score_subset
from hands.networks.hands_network import HandsNetwork, network_spec
from hands.packed.batches import RecordReader, Shard


def test_scores_are_those_of_an_evaluation(tiny_packed):
    torch.manual_seed(0)
    network = HandsNetwork(network_spec("light"), None)
    reader = RecordReader(tiny_packed.subset("val"), "disk", torch.device("cpu"))
    detail = score_in_detail(network, reader, 4, nullcontext)
    scores, mious = score_subset(network, reader, 4, nullcontext, Shard(0, 1), progress=False)
    assert detail.scores.values == pytest.approx(scores.values, nan_ok=True)
    judged = ~np.isnan(detail.mious)
    with np.errstate(invalid="ignore"):
        assert np.nansum(detail.mious, 1) / judged.sum(1) == pytest.approx(mious, nan_ok=True)
    assert np.nanmean(detail.mious) == pytest.approx(scores.values["miou"])


def test_reliability_of_three_pixels():
    """Part 1, sure and right; part 1, unsure, where nothing is; background where nothing is, which does not count."""
    logits = torch.full((1, 34, 1, 3), -50.0)
    logits[:, 17] = 50.0  # the right hand is background everywhere
    logits[0, 1, 0, 0] = 50.0
    logits[0, 1, 0, 1] = float(np.log(0.65 / 0.35)) - 50.0 + 60.0
    logits[0, 0, 0, 1] = 10.0
    logits[0, 0, 0, 2] = 50.0
    labels = torch.zeros(1, 2, 1, 3, dtype=torch.int64)
    labels[0, 0, 0, 0] = 1
    predicted = torch.zeros(1, 2, 1, 3, dtype=torch.uint8)
    predicted[0, 0, 0, :2] = 1
    counts = reliability_counts(logits, predicted, labels).numpy()
    expected = np.zeros((BINS, 3))
    expected[9] = (1, 1, 1)
    expected[6] = (1, 0.65, 0)
    assert counts == pytest.approx(expected, abs=1e-5)
    assert calibration_error(counts) == pytest.approx(0.65 / 2, abs=1e-5)
    assert np.isnan(calibration_error(np.zeros((BINS, 3))))
