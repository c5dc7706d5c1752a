"""The benchmark's rounds and rows: both sides are really measured, and a goal is judged the right way round."""

import time

import pytest
import torch

from hands.benchmark import measure, report
from hands.benchmark.measure import Extent, Row, compare, rates_in_turn
from tests.project import Clock

CPU = torch.device("cpu")


def a_row(**changes) -> Row:
    values = {
        "line": 2, "name": "phase1 loop", "unit": "images/s", "measured": 50.0, "against": "bare", "reference": 100.0,
        "ratio": 0.5, "low": 0.4, "high": 0.6, "goal": 0.95, "on": "light 64x64",
    }  # fmt: skip
    return Row(**values | changes)


def test_rates_are_what_was_done_in_the_time_it_took(monkeypatch: pytest.MonkeyPatch):
    clock = Clock()
    monkeypatch.setattr(measure, "time", clock)

    def slow() -> int:
        for _ in range(3):
            clock.pass_second()
        return 8

    rates = rates_in_turn({"slow": slow, "fast": lambda: 8}, Extent(3, 0), CPU, "test")
    assert rates == {"slow": [2.0, 2.0, 2.0], "fast": [8.0, 8.0, 8.0]}
    row = compare(1, "fast", "things/s", rates["fast"], "slow", rates["slow"], 2.0, "a clock")
    assert row.ratio == 4 and row.reached


def test_rates_go_by_the_clock():
    def side() -> int:
        time.sleep(0.04)
        return 8

    (rate,) = rates_in_turn({"sleep": side}, Extent(1, 0), CPU, "test")["sleep"]
    assert 0 < rate <= 200  # 8 in at least 40 ms


def test_sides_take_turns_after_a_warm_up():
    calls = []
    sides = {name: lambda name=name: calls.append(name) or 1 for name in "ab"}
    rates_in_turn(sides, Extent(2, 0), CPU, "test")
    assert calls == list("ababab")


@pytest.mark.parametrize(("rounds", "min_seconds", "expected"), [(3, 6, 3), (3, 7, 4), (1, 0.5, 1)])
def test_there_are_rounds_enough_to_fill_the_time(
    rounds: int, min_seconds: float, expected: int, monkeypatch: pytest.MonkeyPatch
):
    """A round takes two seconds, one a side."""
    monkeypatch.setattr(measure, "time", Clock())
    rates = rates_in_turn({"a": lambda: 1, "b": lambda: 1}, Extent(rounds, min_seconds), CPU, "test")
    assert [len(values) for values in rates.values()] == [expected, expected]


def test_ratio_is_the_median_of_the_rounds_ratios():
    row = compare(1, "a", "x/s", [10.0, 40.0, 30.0], "b", [10.0, 10.0, 100.0], None, "")
    assert (row.ratio, row.low, row.high) == (1.0, 0.3, 4.0)
    assert (row.measured, row.reference) == (30.0, 10.0)
    assert row.reached is None


@pytest.mark.parametrize(("ratio", "lower_is_better", "reached"), [
    (0.95, False, True), (0.94, False, False), (0.95, True, True), (0.96, True, False),
])  # fmt: skip
def test_a_goal_is_a_floor_or_a_ceiling(ratio: float, lower_is_better: bool, reached: bool):
    assert a_row(ratio=ratio, lower_is_better=lower_is_better).reached is reached


def test_table_has_a_line_a_row():
    lines = report.markdown_table([a_row(), a_row(name="start", goal=None)]).splitlines()
    assert len(lines) == 4 and all(line.count("|") == 10 for line in lines)
    assert "50.0 images/s" in lines[2] and ">= 0.950: missed" in lines[2] and "missed" not in lines[3]


def test_metrics_and_columns():
    rows = [a_row(), a_row(line=5, name="training, bf16-mixed channels_last (auto)")]
    assert report.metrics(rows) == {
        "bench/2/phase1-loop/ratio": 0.5,
        "bench/2/phase1-loop/measured": 50.0,
        "bench/5/training-bf16-mixed-channels_last-auto/ratio": 0.5,
        "bench/5/training-bf16-mixed-channels_last-auto/measured": 50.0,
    }
    assert report.columns(rows)["line"] == [2, 5]


@pytest.mark.parametrize(("value", "text"), [(0.0123, "0.012"), (17.26, "17.3"), (1234.5, "1,234")])
def test_numbers(value: float, text: str):
    assert report.number(value) == text
