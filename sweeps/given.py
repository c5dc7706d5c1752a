"""What a sweep is given, checked before torch is imported."""

from types import SimpleNamespace

from hands.errors import InvalidInput
from hands.evaluation.coverage import coverage, require_judged, require_parts, unscored
from hands.networks.names import check_name
from hands.packed.packed_set import PackedSet
from hands.steps.devices import one_device
from hands.steps.given import check_model
from sweeps.space import load_space


def check_given(params: SimpleNamespace) -> None:
    """Raises InvalidInput for what is not there or that no trial could use, as far as that is known without torch."""
    space = load_space(params.space)
    one_device(params)
    check_name(params.g2)
    check_model(params.g1_model)
    check_model(params.d_model)
    check_splits(params, space.metric)


def check_splits(params: SimpleNamespace, metric: str) -> None:
    """Raises InvalidInput for splits that trials cannot learn from, or that cannot give the metric."""
    packed = PackedSet.open(params.packed_dir)
    val = packed.subset(params.val_split)
    require_judged(val)
    require_parts(packed.subset(params.train_split))
    for line in coverage(val):
        print(f"== {line}", flush=True)
    reason = unscored(val).get(metric.removeprefix("val/"))
    if reason:
        raise InvalidInput(f"space '{params.space}' seeks {metric}, which '{params.val_split}' cannot have: {reason}.")
    unpaired = [params.unpaired_split] if params.init_epochs else []
    masks = ["unpaired_masks"] if params.update_discriminator and params.unpaired in ("masks", "both") else []
    for name in (*unpaired, *masks):
        if not len(packed.subset(name)):
            raise InvalidInput(f"'{name}' of the packed set is empty, and trials read it; pack a dataset that has it.")
