"""How long augmentation of a batch takes on this machine's CPU: published, strong, and strong with hand paste.

python -m tests.packed.augmentation_times [rounds]
"""

import sys
import time

import torch

from hands.packed.augment import AugmentConfig, augment
from hands.packed.batches import Batch, Shard, seeded_generator
from hands.packed.manifest import record_side
from hands.parts import HAND_TYPES, NUM_CLASSES

KINDS = {
    "published": AugmentConfig("published", hand_paste=0.0),
    "strong": AugmentConfig("strong", hand_paste=0.0),
    "strong, hand_paste=0.5": AugmentConfig("strong", hand_paste=0.5),
}


def records(n: int, size: int) -> Batch:
    """Noise: what takes the time does not depend on what is seen. Left, right and interacting take turns."""
    side = record_side(size)
    batch = torch.randint(0, 256, (n, 5, side, side), dtype=torch.uint8)
    batch[:, 3:] %= NUM_CLASSES
    return Batch(batch, torch.arange(n) % len(HAND_TYPES))


def main(rounds: str = "30") -> None:
    print(f"milliseconds a batch, the least of {rounds}, {torch.get_num_threads()} threads")
    for n, size in ((16, 64), (64, 64), (16, 128), (64, 128)):
        batch, times = records(n, size), {kind: [] for kind in KINDS}
        for step in range(int(rounds)):
            for kind, config in KINDS.items():
                started = time.perf_counter()
                augment(batch, size, config, seeded_generator(0, step), Shard(0, 1))
                times[kind].append(1000 * (time.perf_counter() - started))
        print(f"{n} pictures, {size} px: " + ", ".join(f"{kind} {min(found):.1f}" for kind, found in times.items()))


if __name__ == "__main__":
    main(*sys.argv[1:])
