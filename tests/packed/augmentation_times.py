"""How long augmentation of a batch takes on this machine's CPU: published, strong, and strong with hand paste.

python -m tests.packed.augmentation_times [rounds]
"""

import statistics
import sys
import time
from collections.abc import Callable

import torch

from hands.method.losses import SegmentationLoss
from hands.networks.hands_network import HandsNetwork, network_spec
from hands.packed.augment import AugmentConfig, Augmented, augment
from hands.packed.batches import Batch, Shard, seeded_generator
from hands.packed.manifest import record_side
from hands.parts import HAND_TYPES, NUM_CLASSES
from hands.training.device_config import DeviceConfig
from hands.training.devices import create_fabric
from hands.training.learner import Learner

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


def main(rounds: str = "20") -> None:
    torch.set_num_threads(1)  # processor time of one thread does not depend on what else the machine does
    fabric = create_fabric(DeviceConfig("cpu", "1", 1, "auto", "auto", "auto", "device"))
    learner = Learner(fabric, HandsNetwork(network_spec("light"), None), 1e-3, 0.99, "auto")
    loss = SegmentationLoss(0.35, 0.65, "dice", 0.0, NUM_CLASSES * [1.0])

    def learn(crops: Augmented) -> None:
        learner.update(loss(learner.forward(crops.images), crops.labels)["loss_total"])

    print(f"milliseconds of processor time a batch, median of {rounds}; last the light network's step on it")
    for n, size in ((16, 64), (64, 64), (16, 128), (64, 128)):
        batch, times = records(n, size), {}
        for step in range(int(rounds)):
            for kind, config in KINDS.items():
                took = times.setdefault(kind, [])
                crops = timed(took, augment, batch, size, config, seeded_generator(0, step), Shard(0, 1))
            timed(times.setdefault("step", []), learn, crops)
        print(f"{n} pictures, {size} px: " + ", ".join(f"{kind} {statistics.median(took):.1f}" for kind, took in times.items()))


def timed(times: list[float], work: Callable, *arguments: object) -> object:
    started = time.process_time()
    result = work(*arguments)
    times.append(1000 * (time.process_time() - started))
    return result


if __name__ == "__main__":
    main(*sys.argv[1:])
