"""Trains on a tiny packed set in as many processes as asked for and says what came out, as JSON.

python tests/entrypoints/two_processes.py <packed folder> <processes> <out.json>
"""

import json
import sys
from pathlib import Path

import torch
from lightning.fabric import Fabric
from torch import nn

from hands.method.losses import SegmentationLoss
from hands.method.phase1 import Phase1Config, Phase1Data, fit_phase1
from hands.method.phase2_init import Phase2InitConfig, Phase2InitData, fit_phase2_init
from hands.method.phase2_paired import Phase2PairedConfig, Phase2PairedData, fit_phase2_paired
from hands.networks.discriminator import Discriminator
from hands.packed.batches import RecordReader
from hands.packed.packed_set import PackedSet
from hands.training.devices import DeviceConfig, create_fabric
from hands.training.loop import ScheduleConfig

SCHEDULE = ScheduleConfig(seed=0, epochs=5, batch_size=4, lr=5e-3, lr_schedule="constant", ema_decay=0.0, eval_every=1)


class Notebook:
    def __init__(self):
        self.history = []

    def epoch(self, epoch, metrics) -> None:
        self.history.append({name: value for name, value in metrics.items() if name != "train/images_per_s"})

    def evaluated(self, epoch, network, is_best) -> None: ...


class Frozen(nn.BatchNorm2d):
    """Batch norm that always normalises with its running statistics."""

    def train(self, mode: bool = True) -> nn.Module:
        return super().train(False)


NORMS = {"plain": lambda _: nn.Identity(), "batch_norm": nn.BatchNorm2d, "frozen_batch_norm": Frozen}


def small_network(norm: str, seed: int) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(3, 16, 5, padding=2), NORMS[norm](16), nn.ReLU(),
        nn.Conv2d(16, 32, 5, padding=2), NORMS[norm](32), nn.ReLU(),
        nn.Conv2d(32, 34, 1),
    )  # fmt: skip


def train(fabric: Fabric, packed: PackedSet, case: str) -> tuple[nn.Module, list[dict[str, float]], dict[str, float]]:
    def reader(subset: str) -> RecordReader:
        return RecordReader(packed.subset(subset), "disk", fabric.device)

    notebook = Notebook()
    if case in NORMS:
        network, d = small_network(case, 0), Discriminator()
        data = Phase1Data(reader("train"), None, reader("val"))
        config = Phase1Config(SCHEDULE, "one_hot", 1e-4, "contiguous")
        best = fit_phase1(fabric, config, data, network, d, torch.ones(17), notebook)
    elif case == "init":
        g1, network = small_network("plain", 1), small_network("plain", 0)
        data = Phase2InitData(reader("unpaired_images"), reader("val"))
        loss = SegmentationLoss(1.0, 0.0, "ce", 0.0, 17 * [1.0])
        config = Phase2InitConfig(SCHEDULE, 0.0, "contiguous")
        best = fit_phase2_init(fabric, config, data, g1, network, loss, notebook)
    else:
        network, d = small_network("plain", 0), Discriminator()
        data = Phase2PairedData(reader("train"), reader("unpaired_masks"), reader("val"))
        loss = SegmentationLoss(1.0, 0.0, "ce", 0.0, 17 * [1.0])
        config = Phase2PairedConfig(SCHEDULE, 0.1, "one_hot", False, 1e-4, "contiguous")
        best = fit_phase2_paired(fabric, config, data, network, d, loss, notebook)
    return network, notebook.history, best


CASES = (*NORMS, "init", "paired")


def outcomes(folder: str, processes: str) -> tuple[bool, dict[str, dict]]:
    """Whether this is the first process, and of each case: history, best epoch's scores, weights, all processes' alike."""
    torch.set_num_threads(1)
    strategy = "auto" if processes == "1" else "ddp"
    fabric = create_fabric(DeviceConfig("cpu", processes, 1, strategy, "32-true", "contiguous", "disk"))
    fabric.launch()
    found = {}
    for case in CASES:
        network, history, best = train(fabric, PackedSet.open(folder), case)
        weights = torch.cat([value.detach().double().flatten() for value in network.state_dict().values()])
        first = fabric.broadcast(weights)
        alike = fabric.all_reduce(torch.tensor(float(torch.equal(weights, first))), reduce_op="mean").item() == 1
        found[case] = {"history": history, "best": best, "weights": weights.tolist(), "alike": alike}
    return fabric.global_rank == 0, found


def main(folder: str, processes: str, out: str) -> None:
    is_first, found = outcomes(folder, processes)
    if is_first:
        Path(out).write_text(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
