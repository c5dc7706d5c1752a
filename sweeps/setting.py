"""What the trials of a study have in common; a study goes on only while it stays the same."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch

from hands.errors import InvalidInput
from hands.method.class_weights import class_weights
from hands.method.losses import SegmentationLoss
from hands.networks.checkpoint import NETWORK_FILE, WEIGHTS_FILE, load_discriminator, load_network
from hands.packed.packed_set import PackedSet
from hands.parts import NUM_CLASSES
from hands.steps.configs import class_weight_config, phase2_init_config, phase2_paired_config
from hands.steps.devices import one_device
from hands.steps.start import check_network, encoder_weights_had, smallest_batch
from hands.tracking.models import fetch_network
from hands.training.devices import create_fabric
from sweeps.job import Models
from sweeps.space import load_space
from sweeps.trial import SWEEP_ONLY

BY_CONTENT = ("packed_dir", "g1_model", "d_model")  # may lie elsewhere on another machine
DEVICES = ("accelerator", "precision", "memory_format", "data_residency")  # machines may differ


@dataclass(frozen=True)
class Setting:
    """What trials have in common (plain JSON), where G1 and D are, and how many GPUs there are."""

    common: dict
    models: Models
    gpus: int


def find_setting(params: SimpleNamespace) -> Setting:
    """Fetches G1 and D, and checks that they, the packed set and the parameters can be trained with.

    Raises:
        InvalidInput: a model or the packed set cannot be had, or they do not fit together.
    """
    space = load_space(params.space)
    packed = PackedSet.open(params.packed_dir)
    g1, d = fetch_network(params.g1_model), fetch_network(params.d_model)
    manifest = packed.manifest
    if params.init_epochs and params.unpaired not in ("images", "both"):
        raise InvalidInput(
            f"init_epochs is {params.init_epochs} and unpaired is {params.unpaired}: weights initialization learns from "
            f"unpaired pictures. Pass init_epochs=0, or unpaired=images or both."
        )
    size = load_network(g1)[1]
    load_discriminator(d)
    unpaired = len(packed.subset(params.unpaired_split)) if params.init_epochs else 0
    check_network(params.g2, manifest.size, smallest_batch(params, len(packed.subset(params.train_split)), unpaired, 1))
    encoder_weights_had(params.g2, params.encoder_weights)  # they are fetched, or it is said that they cannot be had, once
    for point in space.first_trials:
        check_steps(SimpleNamespace(**(vars(params) | space.weights(point))))
    if size != manifest.size:
        raise InvalidInput(
            f"the G1 '{params.g1_model}' was trained on pictures of side {size}, the packed set has {manifest.size}; "
            f"take both from one run of main."
        )
    left_out = (*SWEEP_ONLY, *BY_CONTENT, *DEVICES, *space.moved())
    common = {
        "params": {name: value for name, value in vars(params).items() if name not in left_out},
        "size": size,
        "digests": {"packed_dir": manifest.digest, "g1_model": _digest(g1), "d_model": _digest(d)},
    }
    gpus = 0 if params.accelerator == "cpu" else torch.cuda.device_count()
    return Setting(common, Models(str(g1), str(d)), gpus)


def check_steps(params: SimpleNamespace) -> None:
    """Builds what a trial's steps build of their parameters; raises InvalidInput for what they would refuse."""
    phase2_init_config(SimpleNamespace(**(vars(params) | {"epochs": max(1, params.init_epochs)})))
    phase2_paired_config(SimpleNamespace(**(vars(params) | {"epochs": params.paired_epochs, "lr": params.paired_lr})))
    weights = class_weights(class_weight_config(params), np.ones(NUM_CLASSES))
    SegmentationLoss(params.ce_weight, params.dice_weight, params.loss, params.dice_alpha, weights)
    create_fabric(one_device(params))


def _digest(folder: Path) -> str:
    content = b"".join((folder / name).read_bytes() for name in (NETWORK_FILE, WEIGHTS_FILE))
    return hashlib.sha256(content).hexdigest()[:16]
