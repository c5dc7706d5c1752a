"""Phase 2, weights initialization: what is dropped, and that G1 stays as it is."""

from dataclasses import replace

import pytest
import torch

from hands.errors import InvalidInput
from hands.method import phase2_init as phase2_init_module
from hands.method.losses import SegmentationLoss
from hands.method.phase2_init import UNPAIRED_STREAM, Phase2InitConfig, Phase2InitData, Phase2InitStep, fit_phase2_init
from hands.method.pseudo_labels import pseudo_labels
from hands.packed import augment as augment_module
from hands.packed.batches import Batch, BatchStream, Shard
from hands.packed.packed_set import PackedSet
from hands.parts import HAND_TYPES
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

KEPT = ("kept_left", "kept_right", "kept_interacting")


class Watched(SegmentationLoss):
    """Dice and cross-entropy that remember what they were asked for."""

    def __init__(self):
        super().__init__(0.35, 0.65, "dice", 0.0, ONES)

    def forward(self, logits: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
        self.logits, self.labels = logits, labels
        return super().forward(logits, labels)


class Everywhere(torch.nn.Module):
    """Says that all of each picture is part 4 of the left hand and part 9 of the right one."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits = torch.zeros(len(images), 34, *images.shape[2:])
        logits[:, [4, 17 + 9]] = 5.0
        return logits


def test_init_drops_exactly_the_less_confident_half(unpaired_batch: Batch, monkeypatch: pytest.MonkeyPatch):
    g1, g2 = small_network(1).eval().requires_grad_(False), small_network(0)
    labelled = {}

    def watched_labels(logits, present):
        labels, confidence = pseudo_labels(logits, present)
        labelled.update(labels=labels, confidence=confidence)
        return labels, confidence

    monkeypatch.setattr(phase2_init_module, "pseudo_labels", watched_labels)
    loss = Watched()
    values = Phase2InitStep(g1, a_learner(g2), loss, INIT, 32)(0, (unpaired_batch,))
    kept = sorted(sorted(range(8), key=lambda i: labelled["confidence"][i].item())[4:])
    assert torch.equal(loss.labels, labelled["labels"][kept])
    assert loss.logits.shape[0] == 4
    assert values["kept_confidence"].item() == pytest.approx(labelled["confidence"][kept].mean().item())
    assert set(values) == {"loss_ce", "loss_dice", "loss_total", "kept_confidence", *KEPT}


@pytest.mark.parametrize("mirrored", [False, True])
def test_init_teaches_background_where_a_hand_is_absent(tiny_packed, mirrored: bool, monkeypatch: pytest.MonkeyPatch):
    """In a mirrored picture it is the other hand."""
    monkeypatch.setattr(augment_module, "FLIP_PROBABILITY", float(mirrored))
    loss, config = Watched(), replace(INIT, drop_fraction=0.0)
    stream = BatchStream(reader(tiny_packed, "unpaired_images"), 8, seed=0, stream=UNPAIRED_STREAM, shard=Shard(0, 1))
    for step in range(4):
        values = Phase2InitStep(Everywhere(), a_learner(small_network(0)), loss, config, 32)(
            step, (next(stream.batches(step, step + 1)),)
        )
        hand_types = [HAND_TYPES[code] for code in stream.reader.subset.hand_types[stream.indices(step)]]
        left, right = ("right", "left") if mirrored else ("left", "right")  # the hand types that show such a hand alone
        for labels, hand_type in zip(loss.labels, hand_types, strict=True):
            assert labels[0].unique().tolist() == [4 if hand_type in (left, "interacting") else 0]
            assert labels[1].unique().tolist() == [9 if hand_type in (right, "interacting") else 0]
        assert all(values[name] == 1 for name in KEPT)


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
    assert all(0 <= metrics[f"train/{name}"] <= 1 for name in KEPT for _, metrics in notebook.epochs)


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
