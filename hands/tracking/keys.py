"""What a step's result follows from, as a key: a finished run with the same key is not made again."""

import hashlib
import json
from collections.abc import Mapping

# Where and how fast a step works: the same result comes out (eval_batch_size: the same labels, pixel by pixel).
RESOURCES = ("out_dir", "workers", "data_residency", "eval_batch_size", "checkpoint_dir", "checkpoint_minutes", "resume")
NETWORKS = ("g1", "g2")  # named, or given as <name>_model


def step_key(entry_point: str, code: str, params: Mapping[str, object], known: Mapping[str, str]) -> str:
    """64 hex characters of all that a step's result follows from.

    Args:
        code: hands.tracking.code.code_digest of the entry point.
        params: as its command line has read them.
        known: what some of them come to, by name: the digest of a folder's content in the place of the folder, a model's id
            in the place of its alias, cpu in the place of auto.
    """
    content = {name: known.get(name, value) for name, value in params.items() if name not in RESOURCES}
    if {int(content.get(name, 1)) for name in ("devices", "num_nodes")} == {1}:
        content.pop("strategy", None)  # there is nothing to distribute
    for name in NETWORKS:
        if name in content and params[f"{name}_model"]:  # that model's network is used, with its weights
            del content[name], content["encoder_weights"]
    whole = json.dumps({"entry_point": entry_point, "code": code, "params": content}, sort_keys=True)
    return hashlib.sha256(whole.encode()).hexdigest()
