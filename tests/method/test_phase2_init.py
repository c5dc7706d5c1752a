"""Phase 2, weights initialization: what is dropped, and that G1 stays as it is."""

from dataclasses import replace

import pytest
import torch

from hands.errors import InvalidInput
from hands.method import phase2_init as phase2_init_module
from hands.method.losses import SegmentationLoss
from hands.method.phase2_init import Phase2InitConfig, Phase2InitData, Phase2InitStep, fit_phase2_init
from hands.method.pseudo_labels import pseudo_labels
from hands.packed.batches import Batch
from hands.packed.packed_set import PackedSet
from tests.method.single_steps import ONES, SCHEDULE, dice_and_ce
from tests.small_training import (
    PUBLISHED,
    Notebook,
    a_learner,
    frozen_copy,
    is_unchanged,
    one_process,
    reader,
    small_network,
)

INIT = Phase2InitConfig(SCHEDULE, PUBLISHED, 0.5, "contiguous")


def test_init_drops_exactly_the_less_confident_half(unpaired_batch: Batch, monkeypatch: pytest.MonkeyPatch):
    g1, g2 = small_network(1).eval().requires_grad_(False), small_network(0)
    labelled, learned = {}, {}

    def watched_labels(logits):
        labels, confidence = pseudo_labels(logits)
        labelled.update(labels=labels, confidence=confidence)
        return labels, confidence

    class Watched(SegmentationLoss):
        def forward(self, logits, labels):
            learned.update(logits=logits, labels=labels)
            return super().forward(logits, labels)

    monkeypatch.setattr(phase2_init_module, "pseudo_labels", watched_labels)
    loss = Watched(0.35, 0.65, "dice", 0.0, ONES)
    values = Phase2InitStep(g1, a_learner(g2), loss, INIT, 32)(0, (unpaired_batch,))
    kept = sorted(sorted(range(8), key=lambda i: labelled["confidence"][i].item())[4:])
    assert torch.equal(learned["labels"], labelled["labels"][kept])
    assert learned["logits"].shape[0] == 4
    assert values["kept_confidence"].item() == pytest.approx(labelled["confidence"][kept].mean().item())
    assert set(values) == {"loss_ce", "loss_dice", "loss_total", "kept_confidence"}


def test_init_leaves_g1_alone(tiny_packed: PackedSet):
    g1, g2 = small_network(1), small_network(0)
    before, started = frozen_copy(g1), frozen_copy(g2)
    data = Phase2InitData(reader(tiny_packed, "unpaired_images"), reader(tiny_packed, "val"))
    notebook = Notebook()
    fit_phase2_init(one_process(), INIT, data, g1, g2, dice_and_ce(), notebook)
    assert is_unchanged(g1, before)  # running statistics of batch norm as well
    assert not g1.training and not any(parameter.requires_grad for parameter in g1.parameters())
    assert not is_unchanged(g2, started)
    assert all(0 < metrics["train/kept_confidence"] <= 1 for _, metrics in notebook.epochs)


def test_init_reads_twice_the_batch(tiny_packed: PackedSet, monkeypatch: pytest.MonkeyPatch):
    sizes = []
    call = Phase2InitStep.__call__

    def watched(self, step, batches):
        sizes.append(len(batches[0].records))
        return call(self, step, batches)

    monkeypatch.setattr(Phase2InitStep, "__call__", watched)
    data = Phase2InitData(reader(tiny_packed, "unpaired_images"), reader(tiny_packed, "val"))  # 16 pictures
    fit_phase2_init(one_process(), INIT, data, small_network(1), small_network(0), dice_and_ce(), Notebook())
    assert sizes == [8, 8, 8, 8]


@pytest.mark.parametrize("drop_fraction", [-0.1, 1.0, float("nan")])
def test_init_refuses_other_drop_fractions(drop_fraction: float):
    with pytest.raises(InvalidInput, match="drop_fraction"):
        replace(INIT, drop_fraction=drop_fraction)
