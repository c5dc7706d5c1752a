"""What a step is given, found and checked before torch is imported, which takes seconds."""

import re
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

from hands.errors import InvalidInput
from hands.evaluation.coverage import require_judged, require_parts
from hands.networks.names import check_name
from hands.packed.packed_set import PackedSet, require_records
from hands.steps.devices import device_config

URI = re.compile(r"\w[\w+.-]*:/")


@dataclass(frozen=True)
class Given:
    """What a training step begins with. resumed: id of the run that goes on; None for a new one."""

    packed: PackedSet
    resumed: str | None


def check_given(entry_point: str, params: SimpleNamespace) -> Given:
    """Finds what a training step is given.

    Raises:
        InvalidInput: it is not there, or cannot be trained on, as far as that is known without torch.
    """
    own = vars(params)
    device_config(params)
    for name in ("g1", "g2"):
        if name in own and not own[f"{name}_model"]:
            check_name(own[name])
    for uri in given_models(params):
        check_model(uri)
    packed = PackedSet.open(params.packed_dir)
    require_judged(packed.subset(params.val_split))
    if "train_split" in own:
        require_parts(packed.subset(params.train_split))
    for name in unpaired_subsets(params):
        require_records(packed.subset(name))
    if not params.resume:
        return Given(packed, None)
    from hands.tracking.steps import run_to_resume  # MLflow

    return Given(packed, run_to_resume(entry_point, params.resume, params.checkpoint_dir))


def check_model(uri: str) -> None:
    """Raises InvalidInput for what is neither a folder nor an MLflow URI; whether a URI leads to a model, MLflow knows."""
    if not uri or not (URI.match(uri) or Path(uri).is_dir()):
        raise InvalidInput(
            f"the model '{uri}' is no folder and no MLflow URI; expected one such as models:/m-..., models:/hands-g2@champion "
            f"or runs:/<run id>/g2."
        )


def unpaired_subsets(params: SimpleNamespace) -> list[str]:
    """Subsets without pairs that the step learns from: pictures in weights initialization, masks where D learns."""
    if "unpaired_split" in vars(params):
        return [params.unpaired_split]
    d_learns = getattr(params, "update_discriminator", True) and getattr(params, "adv_weight", 1) > 0
    masks = params.unpaired in ("masks", "both") and d_learns
    return ["unpaired_masks"] if masks else []


def given_models(params: SimpleNamespace) -> list[str]:
    """URIs of the models that the step learns from: what they were trained on, its own models are too."""
    return [uri for name in ("g1_model", "g2_model", "d_model") if (uri := getattr(params, name, ""))]
