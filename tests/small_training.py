"""Training small enough for tests: networks, learners, readers, and a recorder that keeps what it is told."""

import torch
from lightning.fabric import Fabric
from torch import nn

from hands.networks.discriminator import Discriminator
from hands.packed.augment import AugmentConfig
from hands.packed.batches import Batch, RecordReader
from hands.packed.packed_set import PackedSet
from hands.training.learner import Learner

CPU = torch.device("cpu")
PUBLISHED = AugmentConfig("published", hand_paste=0.0)


def one_process() -> Fabric:
    return Fabric(accelerator="cpu", devices=1, precision="32-true")


def small_network(seed: int) -> nn.Module:
    """Pictures (N, 3, S, S) -> logits (N, 34, S, S); the weights are the seed's."""
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(3, 16, 5, padding=2), nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, 34, 3, padding=1))


def new_discriminator(seed: int = 9) -> Discriminator:
    torch.manual_seed(seed)
    return Discriminator()


def a_learner(network: nn.Module, lr: float = 0.01, ema_decay: float = 0.0) -> Learner:
    return Learner(one_process(), network, lr, ema_decay, "contiguous")


def reader(packed: PackedSet, subset: str) -> RecordReader:
    return RecordReader(packed.subset(subset), "disk", CPU)


def first_batch(packed: PackedSet, subset: str, n: int) -> Batch:
    """The first n records of a subset, as a step gets them."""
    records = packed.subset(subset)
    return Batch(records.read(range(n), None), torch.from_numpy(records.hand_types[:n].astype("int64")))


def frozen_copy(network: nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in network.state_dict().items()}


def is_unchanged(network: nn.Module, before: dict[str, torch.Tensor]) -> bool:
    """Whether all weights and statistics are those of `before`, bit by bit."""
    return all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


class Notebook:
    """A recorder that, like MLflow, keeps what was reported before a process died.

    epochs: (epoch, metrics without the speed); rates: images per second; evaluations: (epoch, whether it was the best);
    restored: epochs that were handed over with a checkpoint.
    """

    def __init__(self):
        self.epochs: list[tuple[int, dict[str, float]]] = []
        self.rates: list[float] = []
        self.evaluations: list[tuple[int, bool]] = []
        self.restored: list[int] | None = None

    def epoch(self, epoch: int, metrics: dict[str, float]) -> None:
        timeless = dict(metrics)
        self.rates.append(timeless.pop("train/images_per_s"))
        self.epochs.append((epoch, timeless))

    def evaluated(self, epoch: int, network: nn.Module, is_best: bool) -> None:
        self.evaluations.append((epoch, is_best))

    def restore(self, history: list[tuple[int, dict[str, float]]]) -> None:
        self.restored = [epoch for epoch, _ in history]
