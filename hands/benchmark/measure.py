"""Rates of several things measured in turn, and the rows that compare them."""

import math
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field

import torch

from hands.processes.progress import Progress

Side = Callable[[], int]  # does its work once; returns how much it was: frames, images, masks


@dataclass(frozen=True)
class Extent:
    """How long is measured: `rounds` rounds, and more where they would not fill `min_seconds`."""

    rounds: int
    min_seconds: float


@dataclass(frozen=True)
class Row:
    """One comparison.

    Attributes:
        line: of the benchmark, 1 to 8, or 0 for what is measured beside them.
        name: of what is measured, e.g. "phase1 loop".
        unit: of `measured` and `reference`, e.g. "images/s".
        measured: median of the rounds.
        against: name of the other side, e.g. "bare networks".
        reference: its median.
        ratio: median over the rounds of each round's measured / reference.
        low, high: the smallest and the largest round's ratio.
        goal: what the ratio is to reach at least, or at most where lower_is_better; None where there is none.
        on: what it was measured on: network, size, batch, precision, ...
        details: further numbers of the same measurement.
    """

    line: int
    name: str
    unit: str
    measured: float
    against: str
    reference: float
    ratio: float
    low: float
    high: float
    goal: float | None
    on: str
    lower_is_better: bool = False
    details: dict[str, float] = field(default_factory=dict)

    @property
    def reached(self) -> bool | None:
        """Whether the goal is reached; None where there is none."""
        if self.goal is None:
            return None
        return self.ratio <= self.goal if self.lower_is_better else self.ratio >= self.goal

    def to_json(self) -> dict:
        return asdict(self) | {"reached": self.reached}


def seconds_of(side: Side, device: torch.device) -> tuple[int, float]:
    """What the side says it did, and the seconds it took: between two CUDA events on a GPU, by the clock elsewhere."""
    if device.type != "cuda":
        started = time.perf_counter()
        amount = side()
        return amount, time.perf_counter() - started
    torch.cuda.synchronize(device)
    start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    start.record()
    amount = side()
    end.record()
    end.synchronize()
    return amount, start.elapsed_time(end) / 1000


def rates_in_turn(sides: dict[str, Side], extent: Extent, device: torch.device, title: str) -> dict[str, list[float]]:
    """Units a second of every side in every round.

    Each side runs once to warm up, which also tells how many rounds fill the time, then all of them in turn, so that what
    else the machine does meets them alike.
    """
    rates = {name: [] for name in sides}
    with Progress(title, (extent.rounds + 1) * len(sides), "runs") as progress:
        first = 0.0
        for side in sides.values():
            first += seconds_of(side, device)[1]
            progress.update(1)
        rounds = max(extent.rounds, math.ceil(extent.min_seconds / first))
        progress.total = (rounds + 1) * len(sides)
        for _ in range(rounds):
            for name, side in sides.items():
                amount, seconds = seconds_of(side, device)
                rates[name].append(amount / seconds)
                progress.update(1)
    return rates


def compare(
    line: int,
    name: str,
    unit: str,
    measured: list[float],
    against: str,
    reference: list[float],
    goal: float | None,
    on: str,
    lower_is_better: bool = False,
) -> Row:
    """The row of two sides' values, round by round."""
    ratios = [a / b for a, b in zip(measured, reference, strict=True)]
    return Row(
        line=line,
        name=name,
        unit=unit,
        measured=statistics.median(measured),
        against=against,
        reference=statistics.median(reference),
        ratio=statistics.median(ratios),
        low=min(ratios),
        high=max(ratios),
        goal=goal,
        on=on,
        lower_is_better=lower_is_better,
    )
