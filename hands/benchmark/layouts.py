"""Line 5: layouts and precisions of a network, eager and compiled: images a second of training and of inference."""

import warnings
from dataclasses import replace

import torch
from lightning.fabric import Fabric

from hands.benchmark.bare_steps import bare_step, images_in_place
from hands.benchmark.measure import Row, Side, compare, rates_in_turn
from hands.benchmark.setting import BenchSetting
from hands.networks.hands_network import HandsNetwork, network_spec
from hands.training.devices import create_fabric, resolve_memory_format, resolve_precision
from hands.training.learner import Learner

PRECISIONS, LAYOUTS = ("32-true", "bf16-mixed"), ("contiguous", "channels_last")
BATCHES = 4  # of a round


def layout_rows(setting: BenchSetting, network: str) -> list[Row]:
    """A row for training and one for inference of each layout and precision, against fp32 in the default layout; what
    `auto` takes is marked, and measured compiled as well where that is asked for and torch.compile works."""
    auto_precision = resolve_precision("auto", setting.device.accelerator)
    auto_layout = "channels_last" if resolve_memory_format("auto", auto_precision) == torch.channels_last else "contiguous"
    sides = {}
    for precision in PRECISIONS:
        for layout in LAYOUTS:
            name = f"{precision} {layout}" + " (auto)" * ((precision, layout) == (auto_precision, auto_layout))
            sides |= _sides(setting, network, precision, layout, name, compiled=False)
    if setting.compiled:
        sides |= _compiled_sides(setting, network, auto_precision, auto_layout)
    device = create_fabric(setting.device).device
    rates = rates_in_turn(sides, setting.extent, device, f"5 layouts of {network}")
    rows = []
    for side in sides:
        purpose, _, _ = side.partition(", ")
        default = next(name for name in sides if name.startswith(f"{purpose}, {PRECISIONS[0]} {LAYOUTS[0]}"))
        on = f"{network} {setting.size}x{setting.size}, batch {setting.batch_size}"
        rows.append(compare(5, side, "images/s", rates[side], "fp32 contiguous", rates[default], None, on))
    return rows


def _compiled_sides(setting: BenchSetting, network: str, precision: str, layout: str) -> dict[str, Side]:
    try:
        sides = _sides(setting, network, precision, layout, f"{precision} {layout} compiled", compiled=True)
        for side in sides.values():
            side()
    except RuntimeError as error:  # of the compiler, or for want of one
        reason = str(error).strip().splitlines()[0][:200]
        warnings.warn(f"torch.compile does not work for {network} here: {reason}", stacklevel=2)
        return {}
    return sides


def _sides(setting: BenchSetting, network: str, precision: str, layout: str, name: str, compiled: bool) -> dict[str, Side]:
    """Training and inference of a new network."""
    fabric = create_fabric(replace(setting.device, precision=precision, memory_format=layout))
    torch.manual_seed(setting.seed)
    module = HandsNetwork(network_spec(network), None)
    learner = Learner(fabric, torch.compile(module) if compiled else module, 1e-3, 0.0, layout)
    images = images_in_place(setting.batch_size, setting.size, fabric.device)
    return {
        f"training, {name}": _training(learner, images),
        f"inference, {name}": _inference(fabric, learner, images),
    }


def _training(learner: Learner, images: torch.Tensor) -> Side:
    train = bare_step(learner, images)

    def side() -> int:
        learner.network.train()
        for _ in range(BATCHES):
            train()
        return BATCHES * len(images)

    return side


def _inference(fabric: Fabric, learner: Learner, images: torch.Tensor) -> Side:
    def side() -> int:
        learner.network.eval()
        with torch.inference_mode(), fabric.autocast():
            for _ in range(BATCHES):
                learner.network(images)
        return BATCHES * len(images)

    return side
