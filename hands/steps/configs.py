"""Parameters as an entry point got them -> what the method's functions take."""

from types import SimpleNamespace

import numpy as np

from hands.method.class_weights import ClassWeightConfig, class_weights
from hands.method.losses import SegmentationLoss
from hands.method.phase1 import Phase1Config
from hands.method.phase2_init import Phase2InitConfig
from hands.method.phase2_paired import Phase2PairedConfig
from hands.packed.augment import AugmentConfig
from hands.packed.packed_set import PackedSet
from hands.training.loop import ScheduleConfig


def schedule_config(params: SimpleNamespace) -> ScheduleConfig:
    return ScheduleConfig(
        seed=params.seed,
        epochs=params.epochs,
        batch_size=params.batch_size,
        lr=params.lr,
        lr_schedule=params.lr_schedule,
        ema_decay=params.ema_decay,
        eval_every=params.eval_every,
    )


def phase1_config(params: SimpleNamespace) -> Phase1Config:
    augment = AugmentConfig(params.augmentation, params.hand_paste)
    return Phase1Config(schedule_config(params), augment, params.adv_input, params.d_lr, params.memory_format)


def phase2_init_config(params: SimpleNamespace) -> Phase2InitConfig:
    augment = AugmentConfig(params.augmentation, hand_paste=0.0)  # G1 labels what is seen; there is no label to cut along
    return Phase2InitConfig(schedule_config(params), augment, params.drop_fraction, params.memory_format)


def phase2_paired_config(params: SimpleNamespace) -> Phase2PairedConfig:
    return Phase2PairedConfig(
        schedule=schedule_config(params),
        augment=AugmentConfig(params.augmentation, params.hand_paste),
        adv_weight=params.adv_weight,
        adv_input=params.adv_input,
        update_discriminator=params.update_discriminator,
        d_lr=params.d_lr,
        memory_format=params.memory_format,
    )


def class_weight_config(params: SimpleNamespace) -> ClassWeightConfig:
    return ClassWeightConfig(
        scheme=params.class_weights,
        exponent=params.class_weight_exponent,
        background=params.background_factor,
        palm=params.palm_factor,
        fingertips=params.fingertips_factor,
        fingers=params.fingers_factor,
    )


def ce_class_weights(params: SimpleNamespace, packed: PackedSet) -> np.ndarray:
    """The (17,) cross-entropy weights that the parameters and the training labels' pixel counts give."""
    return class_weights(class_weight_config(params), np.sum(packed.manifest.subsets["train"].class_pixels, axis=0))


def segmentation_loss(params: SimpleNamespace, packed: PackedSet) -> SegmentationLoss:
    return SegmentationLoss(
        params.ce_weight, params.dice_weight, params.loss, params.dice_alpha, ce_class_weights(params, packed)
    )
