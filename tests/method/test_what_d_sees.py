"""What D is shown as real: nothing but the hands may tell unpaired masks from pairs."""

import numpy as np
import pytest
import torch

from hands.method.phase1 import with_unpaired
from hands.packed.augment import augment
from hands.packed.batches import Shard, seeded_generator
from tests.method.what_d_sees import ALONE, as_packed_and_as_seen, told_apart
from tests.packed.augmented_records import interacting
from tests.small_training import PUBLISHED

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


@pytest.fixture(scope="module")
def views() -> tuple[np.ndarray, ...]:
    """Of pairs, whose boxes are listed, and of masks, whose boxes lie around their pixels."""
    generator, n = np.random.default_rng(0), 200
    pairs = ellipses(generator.uniform(0.7, 0.83, 2 * n), generator.normal(0, 0.034, (2 * n, 2)), generator)
    masks = ellipses(np.full(n, 0.8), np.zeros((n, 2)), generator)
    return as_packed_and_as_seen(pairs, masks, SIZE, seed=0)


def test_frames_do_not_tell_masks_from_pairs(views: tuple[np.ndarray, ...]):
    pairs, _, as_seen = views
    assert told_apart(pairs, as_seen) < 0.6


def test_frames_as_packed_do(views: tuple[np.ndarray, ...]):
    pairs, as_packed, _ = views
    assert told_apart(pairs, as_packed) > 0.8


def test_processes_together_see_what_one_sees():
    generator = np.random.default_rng(0)
    pairs = ellipses(generator.uniform(0.7, 0.83, 8), generator.normal(0, 0.034, (8, 2)), generator)
    masks = ellipses(np.full(4, 0.8), np.zeros((4, 2)), generator)

    def seen(share: slice, shard: Shard) -> torch.Tensor:
        drawn, batches = seeded_generator(0), (interacting(pairs[share]), interacting(masks[share]))
        labels = augment(batches[0], SIZE, PUBLISHED, drawn, shard).labels
        return with_unpaired(labels, batches, SIZE, PUBLISHED, drawn, shard)[-len(masks[share]) :]

    whole = seen(slice(None), ALONE)
    assert len(whole) == 4
    for rank in range(2):
        share = slice(rank, None, 2)
        assert torch.equal(seen(share, Shard(rank, 2)), whole[share])
