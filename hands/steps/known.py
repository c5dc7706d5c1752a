"""What a step's parameters come to when it runs by itself: contents, models and devices, as its key has them."""

from types import SimpleNamespace

import mlflow
from lightning.fabric import Fabric
from mlflow import MlflowClient

from hands.packed.packed_set import PackedSet
from hands.steps.start import ENCODER_WEIGHTS_TAG
from hands.tracking.models import model_identity
from hands.training.device_config import DeviceConfig
from hands.training.devices import resolved_devices

MODELS = ("g1_model", "g2_model", "d_model", "model")


def known(params: SimpleNamespace, packed: PackedSet, config: DeviceConfig, fabric: Fabric) -> dict[str, str]:
    """For the active run, once its networks have been made: see hands.tracking.keys.step_key.

    Args:
        packed: what packed_dir names.
        config, fabric: where the step works.
    """
    own = vars(params)
    found = {"packed_dir": packed.manifest.digest} | resolved_devices(config, fabric)
    found |= {name: model_identity(own[name]) for name in MODELS if own.get(name)}
    tags = MlflowClient().get_run(mlflow.active_run().info.run_id).data.tags
    if ENCODER_WEIGHTS_TAG in tags:
        found["encoder_weights"] = tags[ENCODER_WEIGHTS_TAG]
    return found
