"""What would be refused later, refused before torch is imported (places, names), or before a recipe's first step has cost
anything; and what `auto` comes to here."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import SimpleNamespace

from hands.errors import InvalidInput
from hands.packed.manifest import Manifest
from hands.processes.folders import require_writable


@dataclass(frozen=True)
class Resolved:
    """What `auto` comes to. devices: accelerator, devices, precision, memory_format. encoder_weights: imagenet or none, by
    network."""

    devices: Mapping[str, str]
    encoder_weights: Mapping[str, str]


def check_names(params: SimpleNamespace) -> int:
    """Refuses what a recipe's names and places do not lead to, as far as that is known without torch; returns the crops'
    side."""
    from hands.networks.names import check_name
    from hands.packed.prepare import PackConfig
    from hands.steps.devices import device_config

    for name in ("checkpoint_dir", "work_dir"):
        require_writable(getattr(params, name), name)
    for name in (params.g1, params.g2):
        check_name(name)
    device_config(params)
    size = check_data(params)
    PackConfig(size, params.max_broken, workers=1)
    return size


def check_recipe(params: SimpleNamespace) -> Resolved:
    """Builds what the steps will build of their parameters: networks, configurations, losses, devices.

    Raises:
        InvalidInput: a value that some step would refuse.
    """
    import numpy as np

    from hands.method.class_weights import class_weights
    from hands.method.losses import SegmentationLoss
    from hands.parts import NUM_CLASSES
    from hands.steps.configs import (
        class_weight_config,
        phase1_config,
        phase2_init_config,
        phase2_paired_config,
    )
    from hands.steps.devices import device_config
    from hands.steps.start import encoder_weights_had
    from hands.training.devices import create_fabric, resolved_devices

    size = check_names(params)
    config = device_config(params)
    fabric = create_fabric(config)
    check_networks(params, size, getattr(fabric.strategy, "num_processes", 1) * params.num_nodes)
    # the number of epochs stands in a parameter of its own for each step, and click has checked it
    phase1_config(SimpleNamespace(**vars(params), epochs=1))
    phase2_init_config(SimpleNamespace(**vars(params), epochs=1))
    phase2_paired_config(SimpleNamespace(**vars(params) | {"epochs": 1, "lr": params.paired_lr}))
    weights = class_weights(class_weight_config(params), np.ones(NUM_CLASSES))
    SegmentationLoss(params.ce_weight, params.dice_weight, params.loss, params.dice_alpha, weights)
    devices = resolved_devices(config, fabric)
    return Resolved(devices, {name: encoder_weights_had(name, params.encoder_weights) for name in {params.g1, params.g2}})


def check_networks(params: SimpleNamespace, size: int, processes: int) -> None:
    """Refuses networks that cannot be trained on the smallest batches that the recipe has of pictures of that size."""
    from hands.steps.start import check_network, smallest_batch

    unknown = 2 * params.batch_size  # of the user's own data, which nothing has read yet
    own = params.data_dir or params.packed_dir
    paired, unpaired = (unknown, unknown) if own else (params.n_paired, params.n_unpaired_images)
    initialized = params.unpaired in ("images", "both") and params.round1_init_epochs + params.round2_init_epochs
    check_network(params.g1, size, smallest_batch(params, paired, 0, processes))
    check_network(params.g2, size, smallest_batch(params, paired, unpaired if initialized else 0, processes))


def check_data(params: SimpleNamespace) -> int:
    """Refuses data that cannot be trained on, as far as that is known before anything is made; returns the crops' side."""
    from entrypoints.synthesize import synthesis_config
    from hands.packed.packed_set import PackedSet
    from hands.parts import check_size
    from hands.raw.layout import RawDataset
    from hands.synthetic.dataset import check

    if params.data_dir and params.packed_dir:
        raise InvalidInput("both data_dir and packed_dir are given; give the dataset, or the packed set that was made of it.")
    if params.packed_dir:
        manifest = PackedSet.open(params.packed_dir).manifest
        check_subsets(params, manifest)
        return manifest.size
    if params.data_dir:
        RawDataset(params.data_dir, params.channel_order)
    elif params.recipe == "full":
        raise InvalidInput("full trains on your data: give data_dir, or the packed_dir that `prepare` has made of it.")
    else:
        check(synthesis_config(params))
        for subset, purpose in read_subsets(params).items():
            name = SYNTHETIC[subset]
            if getattr(params, name) == 0:
                raise InvalidInput(f"{name} is 0; give at least 1 for {purpose}.")
    check_size(params.size)
    return params.size


def check_subsets(params: SimpleNamespace, manifest: Manifest) -> None:
    """Refuses a packed set that lacks what a step reads."""
    for subset, purpose in read_subsets(params).items():
        if manifest.subsets[subset].count == 0:
            raise InvalidInput(f"the packed set has no records in '{subset}'; pack a dataset that has some for {purpose}.")


def read_subsets(params: SimpleNamespace) -> dict[str, str]:
    """The subsets that a recipe's steps read, and what for."""
    subsets = {"train": "paired training", "val": "choosing the best epoch"}
    if params.unpaired in ("images", "both") and params.round1_init_epochs + params.round2_init_epochs:
        subsets["unpaired_images"] = "weights initialization (unpaired=none or masks leaves it out)"
    if params.unpaired in ("masks", "both"):
        subsets["unpaired_masks"] = "the discriminator (unpaired=none or images leaves them out)"
    return subsets


SYNTHETIC = {"train": "n_paired", "val": "n_val", "unpaired_images": "n_unpaired_images", "unpaired_masks": "n_unpaired_masks"}
