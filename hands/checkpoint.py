"""A network as two files, `network.json` and `weights.safetensors`: what rebuilds it for training, and nothing executable."""

import json
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from hands.discriminator import Discriminator
from hands.errors import InvalidInput
from hands.networks import HandsNetwork, NetworkSpec

FORMAT = 1
NETWORK_FILE, WEIGHTS_FILE = "network.json", "weights.safetensors"
MAX_JSON_BYTES = 1 << 20


def save_network(network: nn.Module, size: int, folder: Path) -> None:
    """Writes network.json and weights.safetensors; size is the side in pixels of the pictures it was trained on."""
    folder.mkdir(parents=True, exist_ok=True)
    description = {"format": FORMAT, "size": size}
    if isinstance(network, HandsNetwork):
        description |= {"kind": "segmentation", "spec": network.spec.to_json()}
    else:
        description |= {"kind": "discriminator"}
    (folder / NETWORK_FILE).write_text(json.dumps(description, indent=2) + "\n")
    weights = {name: value.detach().cpu().contiguous() for name, value in network.state_dict().items()}
    save_file(weights, folder / WEIGHTS_FILE)


def load_network(folder: Path) -> tuple[HandsNetwork, int]:
    """Rebuilds a segmentation network, trainable, on the CPU; with the side of the pictures it was trained on.

    Raises:
        InvalidInput: the folder holds no such network, or its files do not fit together.
    """
    description = _read_description(folder, "segmentation")
    network = HandsNetwork(NetworkSpec.from_json(description.get("spec")), None)
    _load_weights(network, folder)
    return network, description["size"]


def load_discriminator(folder: Path) -> Discriminator:
    """Rebuilds a discriminator, trainable, on the CPU; raises as load_network."""
    _read_description(folder, "discriminator")
    discriminator = Discriminator()
    _load_weights(discriminator, folder)
    return discriminator


def _read_description(folder: Path, kind: str) -> dict:
    path = folder / NETWORK_FILE
    try:
        if path.stat().st_size > MAX_JSON_BYTES:
            raise InvalidInput(f"{path} is larger than {MAX_JSON_BYTES} bytes; expected a model that this project logged.")
        description = json.loads(path.read_text())
    except (OSError, ValueError, RecursionError) as error:
        raise InvalidInput(f"{path} cannot be read ({error}); expected a model that this project logged.") from error
    found = description.get("kind") if isinstance(description, dict) else None
    if found != kind or description.get("format") != FORMAT:
        raise InvalidInput(f"{path} describes {found!r}; expected a {kind} network of format {FORMAT}. Name another model.")
    if type(description.get("size")) is not int or not 16 <= description["size"] <= 4096:
        raise InvalidInput(f"{path} has size {description.get('size')!r}; expected a whole number from 16 to 4096.")
    return description


def _load_weights(network: nn.Module, folder: Path) -> None:
    path = folder / WEIGHTS_FILE
    try:
        network.load_state_dict(load_file(path))
    except (OSError, SafetensorError, RuntimeError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise InvalidInput(
            f"{path} does not fit {NETWORK_FILE} beside it ({reason}); take both files from one logged model."
        ) from error
