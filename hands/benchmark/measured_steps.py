"""The training steps as their entry points run them, for the benchmark: parameters as they parse them, the same session.

Beside each stands the bare work of its networks (hands/benchmark/bare_steps.py).
"""

from collections.abc import Callable, Iterator
from types import SimpleNamespace

import torch
from torch import nn

from hands.benchmark.bare_steps import TrainStep, bare_epoch, bare_init, bare_paired, bare_phase1, bare_step, images_in_place
from hands.benchmark.setting import BenchSetting
from hands.benchmark.steps import MeasuredStep
from hands.method.phase1 import Phase1Data, fit_phase1
from hands.method.phase2_init import Phase2InitData, fit_phase2_init
from hands.method.phase2_paired import Phase2PairedData, fit_phase2_paired
from hands.networks.discriminator import Discriminator
from hands.processes.progress import silenced
from hands.steps.configs import (
    ce_class_weights,
    phase1_config,
    phase2_init_config,
    phase2_paired_config,
    segmentation_loss,
)
from hands.steps.given import check_given
from hands.steps.session import Session, session
from hands.steps.start import start_network
from hands.training.devices import prepared_network
from hands.training.learner import Learner

EMA_DECAY = 0.99  # as `main` trains

Parse = Callable[[str, dict[str, object]], SimpleNamespace]  # an entry point's name, values by parameter -> its parameters


def measured_steps(setting: BenchSetting, g1: str, g2: str, parse: Parse) -> Iterator[MeasuredStep]:
    """The three steps, each ready to be measured as long as the next one is not asked for."""
    yield from measured_phase1(setting, g1, parse)
    yield from measured_init(setting, g1, g2, parse)
    yield from measured_paired(setting, g2, parse)


def measured_phase1(setting: BenchSetting, g1: str, parse: Parse) -> Iterator[MeasuredStep]:
    params = parse("phase1", given(setting) | {"epochs": 1, "g1": g1})
    with session("phase1", params, check_given("phase1", params), ("g1", "discriminator")) as step:
        network, d = new_network(params, g1), Discriminator()
        data = Phase1Data(step.reader(params.train_split), step.mask_reader(params.unpaired), step.val)
        weights = torch.from_numpy(ce_class_weights(params, step.packed))

        def loop() -> int:
            step.checkpoint.remove()
            with silenced():
                fit_phase1(step.fabric, phase1_config(params), data, network, d, weights, step.recorder, step.checkpoint)
            return setting.steps * params.batch_size

        g1_learner, d_learner = learner(step, new_network(params, g1), params), learner(step, Discriminator(), params)
        train = bare_phase1(g1_learner, d_learner, params.batch_size, setting.size)
        yield measured("phase1", loop, train, [g1_learner, d_learner], params.batch_size, params.batch_size, step, setting)


def measured_init(setting: BenchSetting, g1: str, g2: str, parse: Parse) -> Iterator[MeasuredStep]:
    # the set holds half an epoch of these batches of twice the size
    params = parse("phase2_init", given(setting) | {"epochs": 2, "eval_every": 2, "g1_model": "", "g2": g2})
    batch_size = 2 * params.batch_size
    kept = batch_size - int(batch_size * params.drop_fraction)
    with session("phase2_init", params, check_given("phase2_init", params), ("g2",)) as step:
        teacher, network = new_network(params, g1), new_network(params, g2)
        data = Phase2InitData(step.reader(params.unpaired_split), step.val)
        loss = segmentation_loss(params, step.packed)

        def loop() -> int:
            step.checkpoint.remove()
            config = phase2_init_config(params)
            with silenced():
                fit_phase2_init(step.fabric, config, data, teacher, network, loss, step.recorder, step.checkpoint)
            return setting.steps * batch_size

        g2_learner = learner(step, new_network(params, g2), params)
        frozen = prepared_network(step.fabric, new_network(params, g1), params.memory_format)
        train = bare_init(frozen, g2_learner, batch_size, kept, setting.size)
        yield measured("phase2_init", loop, train, [g2_learner], batch_size, kept, step, setting)


def measured_paired(setting: BenchSetting, g2: str, parse: Parse) -> Iterator[MeasuredStep]:
    params = parse("phase2_paired", given(setting) | {"epochs": 1, "d_model": "", "g2": g2})
    with session("phase2_paired", params, check_given("phase2_paired", params), ("g2",)) as step:
        network, d = new_network(params, g2), Discriminator()
        data = Phase2PairedData(step.reader(params.train_split), None, step.val)
        loss, config = segmentation_loss(params, step.packed), phase2_paired_config(params)

        def loop() -> int:
            step.checkpoint.remove()
            with silenced():
                fit_phase2_paired(step.fabric, config, data, network, d, loss, step.recorder, step.checkpoint)
            return setting.steps * params.batch_size

        g2_learner = learner(step, new_network(params, g2), params)
        frozen = prepared_network(step.fabric, Discriminator(), params.memory_format)
        train = bare_paired(g2_learner, frozen, params.batch_size, setting.size)
        yield measured("phase2_paired", loop, train, [g2_learner], params.batch_size, params.batch_size, step, setting)


def given(setting: BenchSetting) -> dict[str, object]:
    """What the benchmark's setting says of a step's parameters."""
    return {
        "packed_dir": setting.packed,
        "batch_size": setting.batch_size,
        "seed": setting.seed,
        "encoder_weights": "none",
        "ema_decay": EMA_DECAY,
        "checkpoint_dir": f"{setting.folder}/checkpoints",
        "accelerator": setting.device.accelerator,
        "devices": "1",
        "precision": setting.device.precision,
        "memory_format": setting.device.memory_format,
        "data_residency": setting.device.data_residency,
    }


def new_network(params: SimpleNamespace, name: str) -> nn.Module:
    return start_network(name, "", "none", 0, params.seed)


def learner(step: Session, network: nn.Module, params: SimpleNamespace) -> Learner:
    return Learner(step.fabric, network, params.lr, 0.0, params.memory_format)


def measured(
    name: str, loop, train: TrainStep, learners: list[Learner], images: int, learned: int, step: Session, setting: BenchSetting
) -> MeasuredStep:
    """images: that a step counts; learned: that the segmentation network learns of them."""
    n_val = len(step.val.subset)
    alone = bare_step(learners[0], images_in_place(learned, setting.size, step.fabric.device))
    return MeasuredStep(
        name=name,
        loop=loop,
        bare=bare_epoch(train, learners, setting.steps, images, n_val, setting.size),
        alone=bare_epoch(alone, learners[:1], setting.steps, images, n_val, setting.size),
        train=train,
        images=images,
    )
