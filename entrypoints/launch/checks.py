"""What a recipe's later steps would refuse, refused before the first one has cost anything."""

from types import SimpleNamespace

from hands.errors import InvalidInput


def check_recipe(params: SimpleNamespace) -> None:
    """Builds what the steps will build of their parameters: networks' names, configurations, losses, devices.

    Raises:
        InvalidInput: a value that some step would refuse.
    """
    import numpy as np

    from entrypoints.synthesize import synthesis_config
    from hands.method.class_weights import class_weights
    from hands.method.losses import SegmentationLoss
    from hands.packed.manifest import record_side
    from hands.parts import NUM_CLASSES
    from hands.steps.configs import (
        class_weight_config,
        device_config,
        phase1_config,
        phase2_init_config,
        phase2_paired_config,
    )
    from hands.synthetic.dataset import check
    from hands.training.devices import create_fabric

    check_registry_name(params.registered_model)
    if not params.data_dir:
        check(synthesis_config(params))
        check_counts(params)
    record_side(params.size)
    fabric = create_fabric(device_config(params))
    check_networks(params, getattr(fabric.strategy, "num_processes", 1) * params.num_nodes)
    # the number of epochs stands in a parameter of its own for each step, and click has checked it
    phase1_config(SimpleNamespace(**vars(params), epochs=1))
    phase2_init_config(SimpleNamespace(**vars(params), epochs=1))
    phase2_paired_config(SimpleNamespace(**vars(params) | {"epochs": 1, "lr": params.paired_lr}))
    weights = class_weights(class_weight_config(params), np.ones(NUM_CLASSES))
    SegmentationLoss(params.ce_weight, params.dice_weight, params.loss, params.dice_alpha, weights)


def check_networks(params: SimpleNamespace, processes: int) -> None:
    """Refuses networks that cannot be trained on the smallest batches that the recipe has."""
    from hands.steps.start import check_network, smallest_batch

    unknown = 2 * params.batch_size  # of the user's own data, which nothing has read yet
    paired = unknown if params.data_dir else params.n_paired
    unpaired = unknown if params.data_dir else params.n_unpaired_images
    initialized = params.unpaired in ("images", "both") and params.round1_init_epochs + params.round2_init_epochs
    check_network(params.g1, params.size, smallest_batch(params, paired, 0, processes))
    check_network(params.g2, params.size, smallest_batch(params, paired, unpaired if initialized else 0, processes))


def check_counts(params: SimpleNamespace) -> None:
    """Refuses a synthetic dataset that lacks what a step reads."""
    needed = {"n_paired": "paired training", "n_val": "choosing the best epoch"}
    if params.unpaired in ("images", "both") and params.round1_init_epochs + params.round2_init_epochs:
        needed["n_unpaired_images"] = "weights initialization (unpaired=none or masks leaves it out)"
    if params.unpaired in ("masks", "both"):
        needed["n_unpaired_masks"] = "the discriminator (unpaired=none or images leaves them out)"
    for name, purpose in needed.items():
        if getattr(params, name) == 0:
            raise InvalidInput(f"{name} is 0; give at least 1 for {purpose}.")


def check_registry_name(name: str) -> None:
    if not name.strip() or set(name) & set("/:"):
        raise InvalidInput(f"registered_model is '{name}'; expected a name without / and :, such as hands-g2.")
