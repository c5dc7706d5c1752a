"""The benchmark's lines in order, each in a process of its own, and what is printed and logged of them."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace

import mlflow

from hands.benchmark import report
from hands.benchmark.choice import chosen_networks
from hands.benchmark.growth import growth_rows
from hands.benchmark.layouts import layout_rows
from hands.benchmark.lists import list_rows
from hands.benchmark.measure import Row
from hands.benchmark.measured_steps import Parse, measured_steps
from hands.benchmark.prediction import evaluation_rows, prediction_rows
from hands.benchmark.setting import BenchSetting, machine, make_set, tracked_to
from hands.benchmark.start import start_rows
from hands.benchmark.steps import published_rows, step_rows
from hands.steps.devices import one_device

PUBLISHED_SIZE, PUBLISHED_NETWORKS = 128, ("uxnet", "uplusregnet")


@dataclass(frozen=True)
class Host:
    """What the benchmark is handed by the command that starts it.

    Attributes:
        call: calls a function with arguments in a process of its own; returns what it returns, raises what it raises.
        parse: an entry point's name and values by parameter -> what its command line would get.
    """

    call: Callable
    parse: Parse


def bench_setting(params: SimpleNamespace, folder: str) -> BenchSetting:
    return BenchSetting(
        folder=folder,
        networks=chosen_networks(params.networks),
        size=params.size,
        batch_size=params.batch_size,
        eval_batch_size=params.eval_batch_size,
        steps=params.steps,
        rounds=params.rounds,
        min_seconds=params.min_seconds,
        growth_frames=params.growth_frames,
        seed=params.seed,
        width=params.width,
        height=params.height,
        compiled=False,
        device=one_device(params),
    )


def run_lines(lines: list[int], setting: BenchSetting, compiled: str, published: str, host: Host) -> None:
    """Measures, prints each line when it is there, and logs all; also what there is when a line fails."""
    about = host.call(machine, setting)
    print(*(f"{name}: {value}" for name, value in about.items()), sep="\n", flush=True)
    chosen = ("true",) if about["accelerator"] == "none" else ("true", "auto")
    setting = replace(setting, compiled=compiled in chosen)
    wanted = [LINES[line] for line in lines]
    if published in chosen:
        wanted.append(published_line)
    if ON_THE_SET.intersection(lines):
        host.call(make_set, setting)
    rows = []
    try:
        for line in wanted:
            measured = line(setting, host)
            print(report.markdown_table(measured), flush=True)
            rows += measured
    finally:
        log(rows, about)


def log(rows: list[Row], about: dict[str, str]) -> None:
    table = report.markdown_table(rows)
    print(table, flush=True)
    mlflow.log_dict({"machine": about, "rows": [row.to_json() for row in rows]}, "bench.json")
    mlflow.log_text(table, "bench.md")
    mlflow.log_table(report.columns(rows), "bench_table.json")
    mlflow.log_metrics(report.metrics(rows))


def steps_line(setting: BenchSetting, host: Host) -> list[Row]:
    return host.call(measure_steps, setting, host.parse)


def measure_steps(setting: BenchSetting, parse: Parse) -> list[Row]:
    """Tracked to a store of its own."""
    with tracked_to(Path(setting.folder) / "tracking"):
        return step_rows(measured_steps(setting, setting.network, setting.network, parse), setting)


def layouts_line(setting: BenchSetting, host: Host) -> list[Row]:
    return [row for network in setting.networks for row in host.call(layout_rows, setting, network)]


def growth_line(setting: BenchSetting, host: Host) -> list[Row]:
    return growth_rows(setting, host.call)


def start_line(setting: BenchSetting, host: Host) -> list[Row]:
    return start_rows(setting)


def lists_line(setting: BenchSetting, host: Host) -> list[Row]:
    return list_rows(setting, host.call)


def published_line(setting: BenchSetting, host: Host) -> list[Row]:
    own = replace(setting, folder=f"{setting.folder}/published", size=PUBLISHED_SIZE)
    return host.call(measure_published, own, host.parse)


def measure_published(setting: BenchSetting, parse: Parse) -> list[Row]:
    """On a set of its own, at the published size."""
    make_set(setting)
    with tracked_to(Path(setting.folder) / "tracking"):
        steps = measured_steps(setting, *PUBLISHED_NETWORKS, parse)
        return published_rows(steps, setting, " and ".join(PUBLISHED_NETWORKS))


def apart(line: Callable[[BenchSetting], list[Row]]) -> Callable[[BenchSetting, Host], list[Row]]:
    """The line in a process of its own."""
    return lambda setting, host: host.call(line, setting)


def reading_line(setting: BenchSetting) -> list[Row]:
    from hands.benchmark.reading import reading_rows  # OpenCV

    return reading_rows(setting)


LINES = {
    1: apart(reading_line),
    2: steps_line,
    3: apart(evaluation_rows),
    4: apart(prediction_rows),
    5: layouts_line,
    6: growth_line,
    7: start_line,
    8: lists_line,
}
ON_THE_SET = {1, 2, 3, 4, 7}  # those that read the setting's synthetic set; it takes minutes to make
