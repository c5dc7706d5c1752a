"""What D is shown as real: nothing but the hands may tell unpaired masks from pairs."""

import numpy as np
import pytest
import torch
from sklearn.ensemble import RandomForestClassifier
from sklearn.model_selection import cross_val_predict

from hands.method.phase1 import with_unpaired
from hands.packed.augment import augment
from hands.packed.batches import Shard, seeded_generator
from hands.parts import shows_part

ALONE = Shard(0, 1)
SIZE, SIDE = 64, 80


def ellipses(sides: np.ndarray, middles: np.ndarray, generator: np.random.Generator) -> torch.Tensor:
    """Records (N, 2, P, P) with an ellipse of one hand each.

    Args:
        sides: (N,) longer side, of the box's side.
        middles: (N, 2) x, y off the box's middle, of its side.
    """
    rows, columns = np.mgrid[:SIDE, :SIDE] + 0.5 - SIDE / 2
    records = np.zeros((len(sides), 2, SIDE, SIDE), np.uint8)
    for record, side, (x, y) in zip(records, sides * SIZE, middles * SIZE, strict=True):
        axes = generator.permutation([side, side * generator.uniform(0.5, 1)]) / 2
        inside = ((columns - x) / axes[0]) ** 2 + ((rows - y) / axes[1]) ** 2 < 1
        record[generator.integers(2)][inside] = 9
    return torch.from_numpy(records)


def frames_of(labels: torch.Tensor) -> np.ndarray:
    """(N, 5) width, height, middle x, y and area of the parts of labels (N, 2, S, S), of the crop."""
    present = shows_part(labels).any(dim=1).numpy()
    found = []
    for shown in present:
        rows, columns = np.flatnonzero(shown.any(axis=1)), np.flatnonzero(shown.any(axis=0))
        box = np.ptp(columns) + 1, np.ptp(rows) + 1, columns[0] + columns[-1], rows[0] + rows[-1]
        found.append([*box, shown.sum()])
    return np.array(found)


def told_apart(first: torch.Tensor, second: torch.Tensor) -> float:
    """Share of labels of which a forest says rightly whose frames they have."""
    seen = np.concatenate([frames_of(first), frames_of(second)])
    truth = np.repeat([0, 1], [len(first), len(second)])
    forest = RandomForestClassifier(100, min_samples_leaf=3, random_state=0)
    return (cross_val_predict(forest, seen, truth, cv=5) == truth).mean()


@pytest.fixture(scope="module")
def batches() -> tuple[torch.Tensor, torch.Tensor]:
    """Pairs, whose boxes are listed, and half as many masks, whose boxes lie around their pixels."""
    generator, n = np.random.default_rng(0), 400
    pairs = ellipses(generator.uniform(0.73, 0.86, n) - 0.03, generator.normal(0, 0.034, (n, 2)), generator)
    return pairs, ellipses(np.full(n // 2, 0.8), np.zeros((n // 2, 2)), generator)


def test_frames_do_not_tell_masks_from_pairs(batches: tuple[torch.Tensor, torch.Tensor]):
    pairs, masks = batches
    generator = seeded_generator(0)
    labels = augment(pairs, SIZE, generator, ALONE)[1]
    seen = with_unpaired(labels, batches, SIZE, generator, ALONE)
    assert len(seen) == len(pairs)
    assert told_apart(*seen.split(len(masks))) < 0.6


def test_frames_as_packed_do(batches: tuple[torch.Tensor, torch.Tensor]):
    pairs, masks = batches
    generator = seeded_generator(0)
    labels = augment(pairs, SIZE, generator, ALONE)[1]
    assert told_apart(labels[len(masks) :], augment(masks, SIZE, generator, ALONE)[1]) > 0.75
