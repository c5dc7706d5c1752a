"""The training steps as their entry points run them, for the benchmark: parameters from MLproject, the same session.

Beside each stands the bare work of its networks (hands/benchmark/bare_steps.py).
"""

from collections.abc import Iterator
from types import SimpleNamespace

import click
import torch
from torch import nn

from entrypoints import phase1, phase2_init, phase2_paired
from entrypoints.processes import declared
from entrypoints.training import (
    Session,
    ce_class_weights,
    phase1_config,
    phase2_init_config,
    phase2_paired_config,
    segmentation_loss,
    session,
    start_network,
)
from hands.benchmark.bare_steps import TrainStep, bare_epoch, bare_init, bare_paired, bare_phase1, bare_step, images_in_place
from hands.benchmark.setting import BenchSetting
from hands.benchmark.steps import MeasuredStep
from hands.devices import prepared_network
from hands.discriminator import Discriminator
from hands.learner import Learner
from hands.phase1 import Phase1Data, fit_phase1
from hands.phase2_init import Phase2InitData, fit_phase2_init
from hands.phase2_paired import Phase2PairedData, fit_phase2_paired

EMA_DECAY = 0.99  # as `main` trains


def measured_steps(setting: BenchSetting, g1: str, g2: str) -> Iterator[MeasuredStep]:
    """The three steps, each ready to be measured as long as the next one is not asked for."""
    yield from measured_phase1(setting, g1)
    yield from measured_init(setting, g1, g2)
    yield from measured_paired(setting, g2)


def measured_phase1(setting: BenchSetting, g1: str) -> Iterator[MeasuredStep]:
    params = parameters("phase1", phase1.main, setting, epochs=1, g1=g1)
    with session("phase1", params, ("g1", "discriminator")) as step:
        network, d = new_network(params, g1), Discriminator()
        data = Phase1Data(step.reader(params.train_split), step.mask_reader(params.unpaired), step.val)
        weights = torch.from_numpy(ce_class_weights(params, step.packed))

        def loop() -> int:
            step.checkpoint.remove()
            fit_phase1(step.fabric, phase1_config(params), data, network, d, weights, step.recorder, step.checkpoint)
            return setting.steps * params.batch_size

        g1_learner, d_learner = learner(step, new_network(params, g1), params), learner(step, Discriminator(), params)
        train = bare_phase1(g1_learner, d_learner, params.batch_size, setting.size)
        yield measured("phase1", loop, train, [g1_learner, d_learner], params.batch_size, params.batch_size, step, setting)


def measured_init(setting: BenchSetting, g1: str, g2: str) -> Iterator[MeasuredStep]:
    # the set holds half an epoch of these batches of twice the size
    params = parameters("phase2_init", phase2_init.main, setting, epochs=2, eval_every=2, g1_model="new", g2=g2)
    batch_size = 2 * params.batch_size
    kept = batch_size - int(batch_size * params.drop_fraction)
    with session("phase2_init", params, ("g2",)) as step:
        teacher, network = new_network(params, g1), new_network(params, g2)
        data = Phase2InitData(step.reader(params.unpaired_split), step.val)
        loss = segmentation_loss(params, step.packed)

        def loop() -> int:
            step.checkpoint.remove()
            config = phase2_init_config(params)
            fit_phase2_init(step.fabric, config, data, teacher, network, loss, step.recorder, step.checkpoint)
            return setting.steps * batch_size

        g2_learner = learner(step, new_network(params, g2), params)
        frozen = prepared_network(step.fabric, new_network(params, g1), params.memory_format)
        train = bare_init(frozen, g2_learner, batch_size, kept, setting.size)
        yield measured("phase2_init", loop, train, [g2_learner], batch_size, kept, step, setting)


def measured_paired(setting: BenchSetting, g2: str) -> Iterator[MeasuredStep]:
    params = parameters("phase2_paired", phase2_paired.main, setting, epochs=1, d_model="new", g2=g2)
    with session("phase2_paired", params, ("g2",)) as step:
        network, d = new_network(params, g2), Discriminator()
        data = Phase2PairedData(step.reader(params.train_split), None, step.val)
        loss, config = segmentation_loss(params, step.packed), phase2_paired_config(params)

        def loop() -> int:
            step.checkpoint.remove()
            fit_phase2_paired(step.fabric, config, data, network, d, loss, step.recorder, step.checkpoint)
            return setting.steps * params.batch_size

        g2_learner = learner(step, new_network(params, g2), params)
        frozen = prepared_network(step.fabric, Discriminator(), params.memory_format)
        train = bare_paired(g2_learner, frozen, params.batch_size, setting.size)
        yield measured("phase2_paired", loop, train, [g2_learner], params.batch_size, params.batch_size, step, setting)


def parameters(name: str, command: click.Command, setting: BenchSetting, **given: object) -> SimpleNamespace:
    """What a step's command line would give it: MLproject's defaults, the benchmark's setting, and what is given."""
    own = {
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
    } | given
    values = {parameter: own.get(parameter, default) for parameter, default in declared(name).items()}
    arguments = [f"--{parameter}={value}" for parameter, value in values.items()]
    return SimpleNamespace(**command.make_context(name, arguments).params)


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
