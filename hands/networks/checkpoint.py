"""A network as two files, `network.json` and `weights.safetensors`: what rebuilds it for training, and nothing executable."""

import json
import struct
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from hands.errors import InvalidInput, shown
from hands.networks.discriminator import Discriminator
from hands.networks.hands_network import HandsNetwork, NetworkSpec

FORMAT = 1
NETWORK_FILE, WEIGHTS_FILE = "network.json", "weights.safetensors"
MAX_JSON_BYTES = 1 << 20
MAX_HEADER_BYTES = 4 << 20  # of the weights' file: names and sizes; the largest network here has 0.1 MB


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
    (folder / WEIGHTS_FILE).chmod(0o644)  # safetensors makes it private, and an artifact server may be another user


def load_network(folder: Path) -> tuple[HandsNetwork, int]:
    """Rebuilds a segmentation network, trainable, on the CPU; with the side of the pictures it was trained on.

    Raises:
        InvalidInput: the folder holds no such network, or its files do not fit together.
    """
    description = _read_description(folder, ("segmentation",))
    spec = NetworkSpec.from_json(description.get("spec"))
    return _rebuild(lambda: HandsNetwork(spec, None), folder), description["size"]


def load_discriminator(folder: Path) -> Discriminator:
    """Rebuilds a discriminator, trainable, on the CPU; raises as load_network."""
    _read_description(folder, ("discriminator",))
    return _rebuild(Discriminator, folder)


def network_kind(folder: Path) -> str:
    """"segmentation" or "discriminator"; raises as load_network."""
    return _read_description(folder, ("segmentation", "discriminator"))["kind"]


def _read_description(folder: Path, kinds: tuple[str, ...]) -> dict:
    path = folder / NETWORK_FILE
    try:
        if path.stat().st_size > MAX_JSON_BYTES:
            raise InvalidInput(f"{path} is larger than {MAX_JSON_BYTES} bytes; expected a model that this project logged.")
        description = json.loads(path.read_text())
    except (OSError, ValueError, RecursionError) as error:
        raise InvalidInput(f"{path} cannot be read ({error}); expected a model that this project logged.") from error
    found = description.get("kind") if isinstance(description, dict) else None
    if found not in kinds or description.get("format") != FORMAT:
        raise InvalidInput(
            f"{path} describes {shown(found)}; expected a {' or '.join(kinds)} network of format {FORMAT}. Name another model."
        )
    if type(description.get("size")) is not int or not 16 <= description["size"] <= 4096:
        raise InvalidInput(f"{path} has size {shown(description.get('size'))}; expected a whole number from 16 to 4096.")
    return description


def _rebuild(build: Callable[[], nn.Module], folder: Path) -> nn.Module:
    """Builds a network once the file is known to hold its weights: network.json alone could ask for any amount of memory."""
    path = folder / WEIGHTS_FILE
    try:
        _check_header(path)
        weights = load_file(path)
    except (OSError, SafetensorError, RuntimeError, ValueError, LookupError) as error:
        raise InvalidInput(f"{path} cannot be read ({error}); expected a model that this project logged.") from error
    wrong = _first_difference(_without_memory(build).state_dict(), weights)
    if wrong:
        raise InvalidInput(f"{path} does not fit {NETWORK_FILE} beside it ({wrong}); take both files from one logged model.")
    for name, value in weights.items():
        if not value.isfinite().all():
            raise InvalidInput(f"{path} holds NaN or infinite numbers in {name}; take another model, this one has diverged.")
    network = build()
    network.load_state_dict(weights)
    return network


def _check_header(path: Path) -> None:
    with path.open("rb") as file:
        (size,) = struct.unpack("<Q", file.read(8).ljust(8, b"\0"))
    if size > MAX_HEADER_BYTES:
        raise ValueError(f"its header is said to have {size:,} bytes, the limit is {MAX_HEADER_BYTES:,}")


def _without_memory(build: Callable[[], nn.Module]) -> nn.Module:
    try:
        with torch.device("meta"):
            return build()
    except InvalidInput:  # an encoder that computes while it is built (SegFormer's)
        return build()


def _first_difference(expected: dict[str, torch.Tensor], found: dict[str, torch.Tensor]) -> str | None:
    for name in sorted(expected.keys() ^ found.keys()):
        return f"{name} is {'missing' if name in expected else 'not part of the network'}"
    for name, value in expected.items():
        if (value.shape, value.dtype) != (found[name].shape, found[name].dtype):
            return f"{name} is {found[name].dtype} {tuple(found[name].shape)}, expected {value.dtype} {tuple(value.shape)}"
    return None
