"""Which epoch a fit keeps where the validation pictures are among those that it trains on."""

import pytest
import torch
from lightning.fabric import Fabric
from torch import nn

from hands.packed.batches import BatchStream, RecordReader, Shard
from hands.packed.packed_set import PackedSet
from hands.training import loop as training
from hands.training.learner import Learner
from hands.training.loop import ScheduleConfig, fit

CPU = torch.device("cpu")
SCHEDULE = ScheduleConfig(seed=0, epochs=3, batch_size=9, lr=0.01, lr_schedule="constant", ema_decay=0.0, eval_every=1)
FALLING = [0.9, 0.5, 0.2]


class Silent:
    def epoch(self, epoch, metrics) -> None: ...

    def evaluated(self, epoch, network, is_best) -> None: ...


class Scalar(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(0.0))


def reader(packed: PackedSet, name: str) -> RecordReader:
    return RecordReader(packed.subset(name), "disk", CPU)


@pytest.mark.parametrize(("train", "val", "kept"), [
    (("train",), "val", 1),
    (("trainval",), "val", 3),
    (("trainval",), "minival", 3),
    (("unpaired_images",), "val", 1),
    (("train", "trainval"), "val", 3),
])  # fmt: skip
def test_what_is_trained_on_judges_nothing(tiny_packed, monkeypatch, train, val, kept):
    scores = iter(FALLING)
    monkeypatch.setattr(training, "evaluate", lambda *arguments: {"val/miou": next(scores)})
    fabric = Fabric(accelerator="cpu", devices=1, precision="32-true")
    learner = Learner(fabric, Scalar(), 0.01, 0.0, "contiguous")
    streams = tuple(BatchStream(reader(tiny_packed, name), 9, 0, number, Shard(0, 1)) for number, name in enumerate(train))
    steps = streams[0].steps_per_epoch

    def step(number, batches):
        with torch.no_grad():
            learner.network.weight.fill_(number // steps + 1.0)  # the epoch
        return {"loss_total": torch.tensor(0.0)}

    best = fit(fabric, SCHEDULE, streams, reader(tiny_packed, val), {"g": learner}, step, Silent())
    assert (best["best_epoch"], best["val/miou"]) == (kept, FALLING[kept - 1])
    assert learner.network.weight.item() == kept


@pytest.mark.parametrize(("first", "second", "shared"), [
    ("train", "train", True), ("train", "minitrain", True), ("trainval", "minival", True), ("train", "val", False),
    ("unpaired_images", "train", False), ("test", "trainval", False),
])  # fmt: skip
def test_subsets_that_share_records(tiny_packed, first, second, shared):
    assert tiny_packed.subset(first).overlaps(tiny_packed.subset(second)) is shared
    assert tiny_packed.subset(second).overlaps(tiny_packed.subset(first)) is shared
