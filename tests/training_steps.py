"""The training steps, a row each: what is asked of every step is asked of these rows.

    tests/method/test_every_step.py           it repeats itself by its seed, and reports what it says it does
    tests/method/test_two_processes.py        two processes train what one trains
    tests/method/test_overfitting.py          it learns sixteen pictures by heart (slow)
    tests/training/test_resume.py             broken off anywhere, it goes on to the same bits
    tests/entrypoints/test_training_runs.py   its run logs epochs and models, is broken off and goes on
    tests/entrypoints/kill_and_resume.py      killed at random moments, a run comes to the same (slow)

A new step is one more row, with the function that fits it.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from types import SimpleNamespace

import pytest
import torch
from lightning.fabric import Fabric
from torch import nn

from entrypoints.launch.commands import declared, parsed
from hands.method.phase1 import Phase1Data, fit_phase1
from hands.method.phase2_init import Phase2InitData, fit_phase2_init
from hands.method.phase2_paired import Phase2PairedData, fit_phase2_paired
from hands.networks.discriminator import Discriminator
from hands.packed.batches import RecordReader
from hands.packed.packed_set import PackedSet
from hands.steps.configs import ce_class_weights, phase1_config, phase2_init_config, phase2_paired_config, segmentation_loss
from hands.steps.session import Session
from hands.training.loop import Recorder
from hands.training.resume import TrainingCheckpoint
from tests.small_training import new_discriminator, one_process, small_network


@dataclass(frozen=True)
class Start:
    """Networks that a step starts from: the one that it trains, the G1 that labels pictures, the D that judges labels."""

    network: nn.Module
    g1: nn.Module
    d: Discriminator


def small_start(seed: int = 0) -> Start:
    return Start(small_network(seed), small_network(seed + 1), new_discriminator())


Fit = Callable[[SimpleNamespace, Session, Start], dict[str, float]]


@dataclass(frozen=True)
class TrainingStep:
    """A row.

    Attributes:
        name: as its tests are called.
        entry_point: its name in MLproject.
        own: parameters that make it this row; whatever else is MLproject's default or the question's.
        logged: parameters that name a logged model -> which of a small network's and a discriminator's URIs they take.
        trains: names under which its run logs what it trains; the one that is evaluated first.
        losses: what it reports of every epoch under train/, beside the speed.
        exact_in_two: whether two processes come to what one does but for rounding. They do not where a network learns from
            batch norm's statistics of half a batch.
        fit: trains Start's networks in place; returns the metrics of the best epoch.
    """

    name: str
    entry_point: str
    own: dict[str, object]
    logged: dict[str, str]
    trains: tuple[str, ...]
    losses: frozenset[str]
    exact_in_two: bool
    fit: Fit

    def train(
        self,
        packed: PackedSet,
        start: Start,
        recorder: Recorder,
        checkpoint: TrainingCheckpoint | None = None,
        fabric: Fabric | None = None,
        **given: object,
    ) -> dict[str, float]:
        """Trains as the entry point does, on one process of this machine's CPU where no fabric is given; the best epoch's
        metrics. given: parameters; those that this step does not have are passed over."""
        params = parsed(self.entry_point, dict.fromkeys(self.logged, "of Start") | self.own | given)
        fabric = fabric or one_process()
        val = RecordReader(packed.subset(params.val_split), params.data_residency, fabric.device)
        return self.fit(params, Session(fabric, packed, params.data_residency, lambda: val, recorder, checkpoint), start)

    def trained(self, start: Start) -> dict[str, nn.Module]:
        """Of the networks that it has started from, those that it trains."""
        return {name: start.d if name == "discriminator" else start.network for name in self.trains}

    def run_parameters(self, models: SimpleNamespace, **given: object) -> dict[str, object]:
        """Parameters of a run of the entry point that trains small networks; models: as project.log_toys logs them."""
        values = {name: getattr(models, uri) for name, uri in self.logged.items()}
        values |= {"encoder_weights": "none"} | self.own | given
        return {name: value for name, value in values.items() if name in declared(self.entry_point)}


def phase1(params: SimpleNamespace, step: Session, start: Start) -> dict[str, float]:
    data = Phase1Data(step.reader(params.train_split), step.mask_reader(params.unpaired), step.val)
    weights = torch.from_numpy(ce_class_weights(params, step.packed))
    config = phase1_config(params)
    return fit_phase1(step.fabric, config, data, start.network, start.d, weights, step.recorder, step.checkpoint)


def phase2_init(params: SimpleNamespace, step: Session, start: Start) -> dict[str, float]:
    data = Phase2InitData(step.reader(params.unpaired_split), step.val)
    loss, config = segmentation_loss(params, step.packed), phase2_init_config(params)
    return fit_phase2_init(step.fabric, config, data, start.g1, start.network, loss, step.recorder, step.checkpoint)


def phase2_paired(params: SimpleNamespace, step: Session, start: Start) -> dict[str, float]:
    data = Phase2PairedData(step.reader(params.train_split), step.mask_reader(params.unpaired), step.val)
    loss, config = segmentation_loss(params, step.packed), phase2_paired_config(params)
    return fit_phase2_paired(step.fabric, config, data, start.network, start.d, loss, step.recorder, step.checkpoint)


D_ACCURACY = ("d_real_acc", "d_fake_acc")
SEGMENTATION = ("loss_ce", "loss_dice", "loss_total")
ADVERSARIAL = ("loss_adv", "adv_grad_ratio", *D_ACCURACY)

PHASE1 = TrainingStep(
    name="phase1",
    entry_point="phase1",
    own={"g1": "light"},
    logged={},
    trains=("g1", "discriminator"),
    losses=frozenset(("loss_ce", "loss_total", "loss_d", *D_ACCURACY)),
    exact_in_two=True,  # D learns on the side
    fit=phase1,
)
PHASE2_INIT = TrainingStep(
    name="phase2_init",
    entry_point="phase2_init",
    own={"g2": "light"},
    logged={"g1_model": "g2_uri"},
    trains=("g2",),
    losses=frozenset((*SEGMENTATION, "kept_confidence", "kept_left", "kept_right", "kept_interacting")),
    exact_in_two=True,
    fit=phase2_init,
)
PHASE2_PAIRED = TrainingStep(
    name="phase2_paired, D frozen",
    entry_point="phase2_paired",
    own={"g2": "light", "update_discriminator": "false"},
    logged={"d_model": "d_uri"},
    trains=("g2",),
    losses=frozenset((*SEGMENTATION, *ADVERSARIAL)),
    exact_in_two=True,
    fit=phase2_paired,
)
PHASE2_PAIRED_WITH_D = TrainingStep(
    name="phase2_paired, D learning",
    entry_point="phase2_paired",
    own={"g2": "light", "update_discriminator": "true"},
    logged={"d_model": "d_uri"},
    trains=("g2", "discriminator"),
    losses=frozenset((*SEGMENTATION, *ADVERSARIAL, "loss_d")),
    exact_in_two=False,  # G2 learns from what D has learned
    fit=phase2_paired,
)
STEPS = (PHASE1, PHASE2_INIT, PHASE2_PAIRED, PHASE2_PAIRED_WITH_D)
# Asked of this one is only that it repeats itself and goes on: nothing so changed is learned by heart, and in two processes
# other hands are pasted.
AUGMENTED = replace(
    PHASE1, name="phase1, strong augmentation and hand paste", own=PHASE1.own | {"augmentation": "strong", "hand_paste": 0.5}
)

each_step = pytest.mark.parametrize("step", STEPS, ids=lambda step: step.name)
