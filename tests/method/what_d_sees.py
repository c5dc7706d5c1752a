"""Whether unpaired masks can be told from pairs by how they lie in their frames, as packed and as D sees them.

python -m tests.method.what_d_sees <packed folder>
"""

import sys

import numpy as np
import torch
from sklearn.ensemble import RandomForestClassifier
from sklearn.model_selection import cross_val_predict

from hands.method.phase1 import with_unpaired
from hands.packed.augment import augment
from hands.packed.batches import Shard, seeded_generator
from hands.packed.packed_set import PackedSet
from hands.parts import shows_part
from tests.packed.augmented_records import interacting
from tests.small_training import PUBLISHED

ALONE = Shard(0, 1)
BOX = 4  # the first columns of frames_of


def frames_of(labels: torch.Tensor) -> np.ndarray:
    """(N, 6) of labels (N, 2, S, S) that show a part each: width, height and twice the middle x, y of the parts' box, their
    area in pixels, and how many hands there are."""
    shown = shows_part(labels).numpy()
    found = []
    for hands in shown:
        present = hands.any(axis=0)
        rows, columns = np.flatnonzero(present.any(axis=1)), np.flatnonzero(present.any(axis=0))
        box = np.ptp(columns) + 1, np.ptp(rows) + 1, columns[0] + columns[-1], rows[0] + rows[-1]
        found.append([*box, present.sum(), hands.any(axis=(1, 2)).sum()])
    return np.array(found)


def told_apart(first: np.ndarray, second: np.ndarray) -> float:
    """Share of rows of which a forest that has not seen them says rightly where they are from."""
    seen = np.concatenate([first, second])
    truth = np.repeat([0, 1], [len(first), len(second)])
    forest = RandomForestClassifier(100, min_samples_leaf=3, random_state=0)
    return (cross_val_predict(forest, seen, truth, cv=5) == truth).mean()


def as_packed_and_as_seen(pairs: torch.Tensor, masks: torch.Tensor, size: int, seed: int) -> tuple[np.ndarray, ...]:
    """frames_of pairs, of masks as they are packed, and of masks as D sees them, all augmented.

    Args:
        pairs: records, twice as many as masks: those of the first half lend their frames, those of the second are compared.
    """
    pairs, masks = interacting(pairs), interacting(masks)  # hand types matter where hands are pasted alone
    labels = augment(pairs, size, PUBLISHED, seeded_generator(seed, 0), ALONE).labels
    as_packed = augment(masks, size, PUBLISHED, seeded_generator(seed, 1), ALONE).labels
    seen = with_unpaired(labels, (pairs, masks), size, PUBLISHED, seeded_generator(seed, 1), ALONE)
    kept, framed = seen.split(len(as_packed))
    return frames_of(kept), frames_of(as_packed), frames_of(framed)


def main(folder: str) -> None:
    packed = PackedSet.open(folder)
    train, unpaired = packed.subset("train"), packed.subset("unpaired_masks")
    masks = unpaired.read(np.arange(len(unpaired)), None)
    found = {name: [] for name in ("box", "box, area", "box, area, hands")}
    for seed in range(3):
        chosen = np.random.default_rng(seed).permutation(len(train))[: 2 * len(masks)]
        pairs, *views = as_packed_and_as_seen(train.read(chosen, None), masks, packed.manifest.size, seed)
        for columns, scores in enumerate(found.values(), BOX):
            scores.append([told_apart(pairs[:, :columns], view[:, :columns]) for view in views])
    for name, scores in found.items():
        print(f"{name}: as packed {np.mean(scores, axis=0)[0]:.3f}, as D sees them {np.mean(scores, axis=0)[1]:.3f}")


if __name__ == "__main__":
    main(*sys.argv[1:])
