"""Line 2, and its like with the published networks: the full loop of a training step against its networks alone.

The loops themselves come from hands/benchmark/measured_steps.py, which runs each step as its entry point does.
"""

import statistics
from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from lightning.fabric import Fabric
from torch.utils.flop_counter import FlopCounterMode

from hands.benchmark.bare_steps import TrainStep
from hands.benchmark.measure import Row, Side, compare, rates_in_turn
from hands.benchmark.setting import BenchSetting

GOAL = 0.95
PAIRED_FRAMES, UNPAIRED_FRAMES = 68_000, 519_000  # of the published data
# passes of the published recipe over the frames that the step counts
RECIPE = {
    "phase1": 100 * PAIRED_FRAMES,
    "phase2_init": (15 + 5) * UNPAIRED_FRAMES,
    "phase2_paired": (5 + 65) * PAIRED_FRAMES,
}
PRODUCT_SIDE = {"cpu": 2048, "cuda": 8192}  # of the matrices whose product stands for the device's peak


@dataclass(frozen=True)
class MeasuredStep:
    """One training step, ready to be measured.

    Attributes:
        name: phase1, phase2_init or phase2_paired.
        loop: an epoch of the real step, validation and logging included; returns the images that it trained on.
        bare: as many steps of its networks alone.
        alone: as many steps of the network that is segmented with alone, without D and without a teacher.
        train: one bare step, of `images` images.
    """

    name: str
    loop: Side
    bare: Side
    alone: Side
    train: TrainStep
    images: int


def step_rows(steps: Iterator[MeasuredStep], setting: BenchSetting) -> list[Row]:
    """Two rows a step: against all networks of the step, which has the goal, and against the segmentation network."""
    fabric = setting.fabric()
    on = setting.on(fabric, setting.batch_size)
    rows = []
    for step in steps:
        sides = {"loop": step.loop, "bare": step.bare, "alone": step.alone}
        rates = rates_in_turn(sides, setting.extent, fabric.device, f"2 {step.name}")
        rows += [
            compare(2, f"{step.name} loop", "images/s", rates["loop"], "its networks alone", rates["bare"], GOAL, on),
            compare(2, f"{step.name} loop, beside", "images/s", rates["loop"], "segmentation network alone", rates["alone"],
                    None, on),
        ]  # fmt: skip
    return rows


def published_rows(steps: Iterator[MeasuredStep], setting: BenchSetting, networks: str) -> list[Row]:
    """The published networks' rates: the share of the device's peak that their arithmetic reaches (the peak is what a large
    product of matrices reaches), and, from the rates, the hours that the whole recipe would take."""
    fabric = setting.fabric()
    on = f"{networks}, {setting.on(fabric, setting.batch_size).partition(' ')[2]}"
    rows, seconds = [], 0.0
    for step in steps:
        sides = {"loop": step.loop, "product": large_product(fabric)}
        rates = rates_in_turn(sides, setting.extent, fabric.device, f"published {step.name}")
        flops = flops_of(step.train) / step.images
        reached = [rate * flops / 1e12 for rate in rates["loop"]]
        peak = [rate / 1e12 for rate in rates["product"]]
        row = compare(0, f"published {step.name}", "TFLOP/s", reached, "a product of matrices", peak, None, on)
        rate = statistics.median(rates["loop"])
        seconds += RECIPE[step.name] / rate
        details = {"images_per_s": rate, "gflop_per_image": flops / 1e9, "recipe_hours": RECIPE[step.name] / rate / 3600}
        rows.append(replace(row, details=details))
    return [replace(row, details=row.details | {"whole_recipe_hours": seconds / 3600}) for row in rows]


def flops_of(train: TrainStep) -> int:
    """Floating point operations of the matrix products and convolutions of one bare step."""
    with FlopCounterMode(display=False) as counter:
        train()
    return counter.get_total_flops()


def large_product(fabric: Fabric) -> Side:
    """A product of two square matrices in the precision of the networks; counts floating point operations."""
    side = PRODUCT_SIDE[fabric.device.type]
    dtype = torch.float32 if fabric._precision.precision == "32-true" else torch.bfloat16
    first, second = torch.randn(2, side, side, device=fabric.device, dtype=dtype)

    def product() -> int:
        first @ second
        return 2 * side**3

    return product
