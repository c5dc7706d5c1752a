"""How like real pairs pasted ones are, and what strong augmentation loses beyond the records: medians over a set's train split.

python -m tests.packed.pasted_scenes <packed folder>
"""

import sys

import numpy as np
import torch

from hands.packed.augment import AugmentConfig, augment, centre
from hands.packed.batches import Batch, Shard, seeded_generator
from hands.packed.hand_paste import INTERACTING
from hands.packed.packed_set import PackedSet
from hands.parts import shows_part

BATCH_SIZE = 16


def main(folder: str) -> None:
    subset = PackedSet.open(folder).subset("train")
    records, size = subset.read(np.arange(len(subset)), None), subset.size
    types = torch.from_numpy(subset.hand_types.astype(np.int64))
    shown = shows_part(records[:, 3:])
    edge = torch.ones(subset.side, subset.side, dtype=torch.bool)
    edge[1:-1, 1:-1] = False
    reaching = (shown & edge).flatten(2).any(2).sum()
    ending = ((records[:, :3] == 0).all(1) & edge).flatten(1).any(1).double().mean()
    hands = shown.flatten(2).any(2).sum()
    print(f"{hands} hands, {reaching} of them at their record's edge; {ending:.0%} of records are black somewhere there")
    tell("pictures of two hands", shows_part(centre(records[types == INTERACTING], size)[1]))
    for kind in ("published", "strong"):
        config, scenes = AugmentConfig(kind, hand_paste=1.0), []
        for start in range(0, len(records), BATCH_SIZE):
            batch = Batch(records[start : start + BATCH_SIZE], types[start : start + BATCH_SIZE])
            crops = augment(batch, size, config, seeded_generator(0, start), Shard(0, 1))
            scenes.append(shows_part(crops.labels[(crops.hand_types == INTERACTING) & (batch.hand_types != INTERACTING)]))
        tell(f"{kind}, pasted", torch.cat(scenes))


def tell(name: str, shown: torch.Tensor) -> None:
    """shown: (N, 2, S, S), where either hand is."""
    overlap = shown.all(1).flatten(1).sum(1) / shown.any(1).flatten(1).sum(1).clamp(min=1)
    extent = torch.maximum(shown.any(2).sum(2), shown.any(3).sum(2)).flatten() / shown.shape[-1]
    print(f"{name}: intersection over union of the two hands {overlap.median():.2f}, a hand's extent {extent.median():.2f} of"
          f" the crop's side")  # fmt: skip


if __name__ == "__main__":
    main(*sys.argv[1:])
