"""The benchmark at its smallest: every line gives finite rows, and both sides of a row are really measured."""

import json
import math
import mmap
import shutil
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from entrypoints.launch.commands import parsed
from hands.benchmark import growth, layouts, lines, measure, measured_steps, prediction, reading, start
from hands.benchmark.choice import N_LINES, chosen_lines, chosen_networks
from hands.benchmark.lines import LINES
from hands.benchmark.setting import BenchSetting, make_set
from hands.benchmark.steps import flops_of, published_rows
from hands.errors import InvalidInput
from hands.training.device_config import DeviceConfig
from tests.project import ENTRY_POINTS, Clock, invoke, newest_run

DEVICE = DeviceConfig("cpu", "1", 1, "auto", "32-true", "auto", "disk")
TINY = {
    "size": 32, "batch_size": 2, "eval_batch_size": 4, "steps": 2, "rounds": 1, "min_seconds": 1, "growth_frames": 2, "seed": 0,
    "width": 64, "height": 96,
}  # fmt: skip


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """What sides are measured by: all of them take a second, and more where they are slowed."""
    clock = Clock()
    monkeypatch.setattr(measure, "time", clock)
    return clock


@pytest.fixture(scope="module")
def setting(tmp_path_factory: pytest.TempPathFactory, store_template: Path) -> BenchSetting:
    folder = tmp_path_factory.mktemp("bench")
    (folder / "tracking").mkdir()
    shutil.copy(store_template, folder / "tracking" / "mlflow.db")
    made = BenchSetting(folder=str(folder), networks=("light",), compiled=False, device=DEVICE, **TINY)
    make_set(made)
    return made


def check(rows: list[measure.Row], line: int) -> None:
    assert rows
    for row in rows:
        assert row.line == line
        numbers = (row.measured, row.reference, row.ratio, row.low, row.high, *row.details.values())
        assert all(math.isfinite(number) and number > 0 for number in numbers), row
        assert row.low <= row.ratio <= row.high and row.on and row.against


def slowed(function, clock: Clock):
    def slow(*arguments, **options):
        clock.pass_second()
        return function(*arguments, **options)

    return slow


def test_reading(setting: BenchSetting, clock: Clock, monkeypatch: pytest.MonkeyPatch):
    rows = reading.reading_rows(setting)
    check(rows, 1)
    assert [row.goal for row in rows] == [100.0, 10.0]
    monkeypatch.setattr(reading, "augment", slowed(reading.augment, clock))
    slow = reading.reading_rows(setting)
    assert slow[0] == rows[0]
    assert slow[1].measured < rows[1].measured and slow[1].reference == rows[1].reference
    monkeypatch.setattr(reading, "conventional_sample", slowed(reading.conventional_sample, clock))
    conventional = reading.reading_rows(setting)
    assert all(a.reference < b.reference and a.measured == b.measured for a, b in zip(conventional, slow, strict=True))


def test_conventional_sample_is_the_packed_crop(setting: BenchSetting):
    """The conventional way does the same work: unturned, its crop has the packed record's labels."""
    raw = reading.RawDataset(setting.raw, "bgr")
    sample = reading.png_samples(raw)[0]
    image, labels = reading.conventional_sample(sample, setting.size, Unturned())
    packed = setting.reader("train", setting.fabric()).subset.read([0], None)[0].numpy()
    margin = (packed.shape[1] - setting.size) // 2
    centre = packed[:, margin:-margin, margin:-margin]
    assert (labels == centre[3:]).all()
    assert abs(image * 255 - centre[:3]).mean() < 3  # the packed picture is smoothed where it shrinks
    assert set(labels.ravel().tolist()) <= set(range(17))


class Unturned:
    """A generator without chance."""

    def standard_normal(self) -> float:
        return 0.0

    def uniform(self, low: float, high: float, n: int) -> float:
        return (low + high) / 2


def test_steps(setting: BenchSetting, clock: Clock, monkeypatch: pytest.MonkeyPatch):
    rows = lines.measure_steps(setting, parsed)
    check(rows, 2)
    names = ["phase1 loop", "phase2_init loop", "phase2_paired loop"]
    assert [row.name for row in rows[::2]] == names and [row.goal for row in rows[::2]] == 3 * [0.95]
    monkeypatch.setattr(measured_steps, "fit_phase1", slowed(measured_steps.fit_phase1, clock))
    slow = lines.measure_steps(setting, parsed)
    changed = ("measured", "ratio", "low", "high")
    halved = [replace(row, **{name: getattr(row, name) / 2 for name in changed}) for row in rows[:2]]
    assert slow == halved + rows[2:]


def test_loops_train(setting: BenchSetting, monkeypatch: pytest.MonkeyPatch):
    """What line 2 runs is the steps' own fit, validated and logged to a store of its own."""
    seen = []
    monkeypatch.setattr(measured_steps, "fit_phase2_init", noted(measured_steps.fit_phase2_init, seen))
    with lines.tracked_to(Path(setting.folder) / "tracking"):
        for step in measured_steps.measured_init(setting, "light", "light", parsed):
            assert step.loop() == setting.steps * 2 * setting.batch_size
            assert step.loop() == step.bare() == step.alone()
    assert len(seen) == 2 and all(0 <= best["val/miou"] <= 1 and best["train/loss_total"] > 0 for best in seen)


def noted(function, results: list):
    def note(*arguments):
        results.append(function(*arguments))
        return results[-1]

    return note


@pytest.mark.slow
def test_published(setting: BenchSetting):
    with lines.tracked_to(Path(setting.folder) / "tracking"):
        steps = measured_steps.measured_steps(setting, "light", "unet:resnet18", parsed)
        rows = published_rows(steps, setting, "light and another")
    check(rows, 0)
    hours = sum(row.details["recipe_hours"] for row in rows)
    assert all(row.details["whole_recipe_hours"] == pytest.approx(hours) for row in rows)
    phase1 = rows[0].details
    assert phase1["recipe_hours"] == pytest.approx(100 * 68_000 / phase1["images_per_s"] / 3600)


def test_flops_of_a_product():
    a, b = torch.ones(3, 4), torch.ones(4, 5)
    assert flops_of(lambda: a @ b) == 2 * 3 * 4 * 5


def test_evaluation(setting: BenchSetting, clock: Clock, monkeypatch: pytest.MonkeyPatch):
    (row,) = prediction.evaluation_rows(setting)
    check([row], 3)
    monkeypatch.setattr(prediction, "score_subset", slowed(prediction.score_subset, clock))
    (slow,) = prediction.evaluation_rows(setting)
    assert (slow.measured, slow.reference) == (row.measured / 2, row.reference)


def test_prediction(setting: BenchSetting, clock: Clock, monkeypatch: pytest.MonkeyPatch):
    rows = prediction.prediction_rows(setting)
    check(rows, 4)
    assert [row.unit for row in rows] == ["images/s", "masks/s"]
    assert not (Path(setting.folder) / "archive").exists()
    monkeypatch.setattr(prediction, "SubmissionWriter", slowed(prediction.SubmissionWriter, clock))
    slow = prediction.prediction_rows(setting)
    assert slow[0] == rows[0]  # `predict` has its own name for it
    assert (slow[1].measured, slow[1].reference) == (rows[1].measured / 2, rows[1].reference)


def test_layouts(setting: BenchSetting):
    rows = layouts.layout_rows(setting, "light")
    check(rows, 5)
    assert len(rows) == 8 and sum("(auto)" in row.name for row in rows) == 2
    assert [row.ratio for row in rows if "32-true contiguous" in row.name] == [1.0, 1.0]


def test_a_compiler_that_does_not_work_is_left_out(setting: BenchSetting, monkeypatch: pytest.MonkeyPatch):
    def broken(network):
        def forward(images):
            raise RuntimeError("no C++ compiler")

        network.forward = forward
        return network

    monkeypatch.setattr(layouts.torch, "compile", broken)
    with pytest.warns(UserWarning, match="no C\\+\\+ compiler"):
        rows = layouts.layout_rows(replace(setting, compiled=True), "light")
    assert len(rows) == 8


def test_growth(setting: BenchSetting):
    rows = growth.growth_rows(setting, lambda function, *arguments: function(*arguments))
    check(rows, 6)
    assert len(rows) == 2 * len(growth.ACTIVITIES) and all(row.lower_is_better for row in rows)
    assert all(set(row.details) == {"1x", "4x", "16x"} for row in rows)


def test_growth_of_time_and_memory_is_seen(setting: BenchSetting):
    """Of something that takes the square of the frames in time and memory; medians of seconds, maxima of memory."""
    calls = []

    def call(function, name: str, setting: BenchSetting, n: int) -> growth.Cost:
        calls.append((name, n))
        slow = 100 if calls.count((name, n)) == 1 else 1  # one round was disturbed
        return growth.Cost(slow * n**2, 10 * n**2)

    time_row, memory_row = growth.growth_rows(replace(setting, rounds=3), call)[2:4]
    assert time_row.ratio == pytest.approx(4) and memory_row.ratio == pytest.approx(16)
    assert not time_row.reached and not memory_row.reached
    assert len(calls) == 3 * (1 + 3 + 3 + 3) and calls[3:6] == [("prepare", n) for n in (2, 8, 32)]


def test_peak_memory_sees_what_is_taken_and_freed():
    with growth.PeakMemory() as before:
        time.sleep(2 * growth.SAMPLE_S)
    with growth.PeakMemory() as during:
        # not from malloc, which may hold freed memory to give
        with mmap.mmap(-1, 200 << 20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as taken:
            for page in range(0, len(taken), mmap.PAGESIZE):
                taken[page] = 1
            time.sleep(2 * growth.SAMPLE_S)
    assert (during.peak - before.peak) / 2**20 == pytest.approx(200, abs=30)


FIRST_STEP = "print('training: 0 of 24 images', file=sys.stderr, flush=True)"
BAR = "import sys, time; time.sleep({}); " + FIRST_STEP + "; time.sleep(60)"


def fake_command(seconds: float) -> list[str]:
    return [sys.executable, "-c", BAR.format(seconds)]


def test_start_waits_for_the_first_step(setting: BenchSetting, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setattr(start, "IMPORTS", "import json")
    seconds = []
    for number, pause in enumerate((0.2, 2.2)):
        monkeypatch.setattr(start, "phase1_command", lambda setting, pause=pause: fake_command(pause))
        rows = start.start_rows(replace(setting, folder=str(tmp_path / str(number))))
        check(rows, 7)
        seconds.append(rows[0].measured)
    assert seconds[1] - seconds[0] > 1.4


def test_start_refuses_a_command_that_takes_no_step(tmp_path: Path):
    with pytest.raises(InvalidInput, match="no training step.*went wrong"):
        start.seconds_to_first_step([sys.executable, "-c", "print('it went wrong')"], {}, str(tmp_path))


def test_start_command_gives_known_parameters(setting: BenchSetting):
    command = start.phase1_command(setting)
    names = {word.partition("=")[0] for word in command[command.index("local") + 1 :] if word != "-P"}
    assert names <= set(ENTRY_POINTS["phase1"]["parameters"])


def check_run(store, output: str, lines: set[int]) -> None:
    run = newest_run(store)
    assert run.info.run_name == "bench light 32 px"
    content = json.loads(Path(store.download_artifacts(run.info.run_id, "bench.json")).read_text())
    assert {row["line"] for row in content["rows"]} == lines
    assert content["machine"]["accelerator"] == "none" and content["machine"]["processor"]
    for row in content["rows"]:
        assert math.isfinite(row["ratio"]) and row["ratio"] > 0
    assert sum(name.endswith("/ratio") for name in run.data.metrics) == len(content["rows"])
    table = Path(store.download_artifacts(run.info.run_id, "bench.md")).read_text()
    assert len(table.splitlines()) == 2 + len(content["rows"]) and table.splitlines()[-1] in output


def test_bench_logs_its_lines(store, monkeypatch: pytest.MonkeyPatch):
    """In this process alone, and without the training steps, which need a run of their own."""
    monkeypatch.setattr("entrypoints.launch.processes.start_server", lambda: None)
    monkeypatch.setattr("entrypoints.launch.processes.call", lambda function, *arguments: function(*arguments))
    monkeypatch.setattr(start, "phase1_command", lambda setting: fake_command(0.1))
    monkeypatch.setattr(start, "IMPORTS", "import json")
    result = invoke("bench", **TINY, accelerator="cpu", precision="32-true", lines="1,3,4,5,6,7,8")
    assert result.exit_code == 0, result.output
    check_run(store, result.output, set(LINES) - {2})


@pytest.mark.slow
def test_bench_measures_everything(store):
    result = invoke("bench", **TINY, accelerator="cpu", precision="32-true")
    assert result.exit_code == 0, result.output
    check_run(store, result.output, set(range(1, 9)))


def test_what_was_measured_is_logged_when_a_line_fails(store, monkeypatch: pytest.MonkeyPatch):
    def broken(setting, host):
        raise InvalidInput("this line is broken")

    monkeypatch.setattr("entrypoints.launch.processes.start_server", lambda: None)
    monkeypatch.setattr("entrypoints.launch.processes.call", lambda function, *arguments: function(*arguments))
    monkeypatch.setitem(LINES, 7, broken)
    result = invoke("bench", **TINY, accelerator="cpu", precision="32-true", lines="1,7")
    assert result.exit_code == 1 and "this line is broken" in result.output
    assert newest_run(store).info.status == "FAILED"
    check_run(store, result.output, {1})


def test_a_set_that_no_line_reads_is_not_made(store, monkeypatch: pytest.MonkeyPatch):
    """It takes minutes at the default size."""
    made = []
    monkeypatch.setattr("entrypoints.launch.processes.start_server", lambda: None)
    monkeypatch.setattr("entrypoints.launch.processes.call", lambda function, *arguments: function(*arguments))
    monkeypatch.setattr(lines, "make_set", made.append)
    for line in (8, 3):
        monkeypatch.setitem(LINES, line, lambda setting, host: [])
        invoke("bench", **TINY, accelerator="cpu", precision="32-true", lines=str(line))
        assert len(made) == (line == 3)


@pytest.mark.parametrize("lines", ["", "0", "9", "1,x", "1;2", "-1"])
def test_refuses_lines(lines: str):
    with pytest.raises(InvalidInput, match="lines"):
        chosen_lines(lines)


def test_lines_are_taken_once_in_order():
    assert chosen_lines(" 7,1, 1") == [1, 7]
    assert sorted(LINES) == list(range(1, N_LINES + 1))


def test_networks_are_named_with_commas_between():
    assert chosen_networks(" light,unet:resnet34") == ("light", "unet:resnet34")
    with pytest.raises(InvalidInput, match="networks is empty"):
        chosen_networks(" , ")


@pytest.mark.parametrize(("changes", "message"), [
    ({"size": 48}, "size is 48; expected a multiple of 32"), ({"batch_size": 1}, "batch_size is 1"),
    ({"networks": ("unet:nothing",)}, "unet:nothing"),
])  # fmt: skip
def test_refuses_settings(setting: BenchSetting, changes: dict, message: str):
    with pytest.raises(InvalidInput, match=message):
        replace(setting, **changes)
