"""Trains every step on a tiny packed set, in as many processes as asked for, and says what came out, as JSON.

python -m tests.method.two_processes <packed folder> <processes> <out.json>
"""

import json
import sys
from pathlib import Path

import torch
from torch import nn

from hands.packed.packed_set import PackedSet
from hands.training.device_config import DeviceConfig
from hands.training.devices import create_fabric
from tests.small_training import Notebook, new_discriminator
from tests.training_steps import PHASE1, STEPS, Start

# every pixel weighs the same, so that the mean of two half batches' gradients is the whole batch's
GIVEN = {
    "epochs": 5, "batch_size": 4, "lr": 5e-3, "d_lr": 1e-4, "class_weights": "none", "ce_weight": 1.0, "dice_weight": 0.0,
    "loss": "ce", "drop_fraction": 0.0, "memory_format": "contiguous",
}  # fmt: skip


class Frozen(nn.BatchNorm2d):
    """Batch norm that always normalises with its running statistics."""

    def train(self, mode: bool = True) -> nn.Module:
        return super().train(False)


NORMS = {"plain": lambda _: nn.Identity(), "batch_norm": nn.BatchNorm2d, "frozen_batch_norm": Frozen}
CASES = {step.name: (step, "plain") for step in STEPS}
CASES |= {norm: (PHASE1, norm) for norm in ("batch_norm", "frozen_batch_norm")}


def network_with(norm: str, seed: int) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(3, 16, 5, padding=2), NORMS[norm](16), nn.ReLU(),
        nn.Conv2d(16, 32, 5, padding=2), NORMS[norm](32), nn.ReLU(),
        nn.Conv2d(32, 34, 1),
    )  # fmt: skip


def outcomes(folder: str, processes: str) -> tuple[bool, dict[str, dict]]:
    """Whether this is the first process, and of each case: every epoch's metrics, the best one's, weights and statistics of
    the network, and whether all processes have the same of all that is trained."""
    torch.set_num_threads(1)
    strategy = "auto" if processes == "1" else "ddp"
    fabric = create_fabric(DeviceConfig("cpu", processes, 1, strategy, "32-true", "contiguous", "disk"))
    fabric.launch()
    packed, found = PackedSet.open(folder), {}
    for case, (step, norm) in CASES.items():
        start, notebook = Start(network_with(norm, 0), network_with("plain", 1), new_discriminator()), Notebook()
        best = step.train(packed, start, notebook, fabric=fabric, **GIVEN)
        trained = torch.cat([numbers(network) for network in step.trained(start).values()])
        first = fabric.broadcast(trained)
        alike = fabric.all_reduce(torch.tensor(float(torch.equal(trained, first))), reduce_op="mean").item() == 1
        epochs = [metrics for _, metrics in notebook.epochs]
        found[case] = {"epochs": epochs, "best": best, "weights": numbers(start.network).tolist(), "alike": alike}
    return fabric.global_rank == 0, found


def numbers(network: nn.Module) -> torch.Tensor:
    """All weights and statistics, one after the other."""
    return torch.cat([value.detach().double().flatten() for value in network.state_dict().values()])


def main(folder: str, processes: str, out: str) -> None:
    is_first, found = outcomes(folder, processes)
    if is_first:
        Path(out).write_text(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
