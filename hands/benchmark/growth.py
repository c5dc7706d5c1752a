"""Line 6: seconds and peak memory for 1x, 4x and 16x the frames, of everything that writes or reads a whole set."""

import shutil
import statistics
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psutil
from torch import nn

from hands.benchmark.measure import Row
from hands.benchmark.setting import ONE_PROCESS, PUBLISHED, BenchSetting
from hands.evaluation.inference import score_subset
from hands.packed.augment import augment
from hands.packed.batches import BatchStream, RecordReader, seeded_generator
from hands.packed.packed_set import PackedSet
from hands.packed.prepare import PackConfig, pack
from hands.parts import NUM_CHANNELS
from hands.processes.processors import allowed_processors
from hands.processes.progress import Progress
from hands.raw.layout import RawDataset
from hands.raw.layout_writer import RawDatasetWriter
from hands.synthetic.dataset import SynthesisConfig, frames

FACTORS = (1, 4, 16)
GOAL = 1.1
WIDTH, HEIGHT, SUBJECTS = 64, 96, 2
SAMPLE_S = 0.05
GROWTH_STREAM = 92

Call = Callable[..., "Cost"]  # calls a function with arguments in a process of its own


@dataclass(frozen=True)
class Cost:
    """seconds: of the work; mib: peak of the anonymous memory of the process and its children together."""

    seconds: float
    mib: float


def growth_rows(setting: BenchSetting, call: Call) -> list[Row]:
    """Each step with each number of frames in turn: seconds are medians of the rounds, memory is the largest. 16x against
    4x, where starting workers no longer counts. Synthesis, which takes most of the time, has one round."""
    counts = [factor * setting.growth_frames for factor in FACTORS]
    on = f"{', '.join(map(str, counts))} frames, {WIDTH}x{HEIGHT} to {setting.size}x{setting.size}"
    rounds = {name: 1 if name == "synthesize" else setting.rounds for name in ACTIVITIES}
    rows = []
    with Progress("6 growth", sum(rounds.values()) * len(counts), "runs") as progress:
        for name in ACTIVITIES:
            costs = {n: [] for n in counts}
            for n in rounds[name] * counts:
                costs[n].append(call(cost_of, name, setting, n))
                progress.update(1)
            per_frame = [1000 * statistics.median(cost.seconds for cost in costs[n]) / n for n in counts]
            memory = [max(cost.mib for cost in costs[n]) for n in counts]
            rows += [_row(f"{name}, time", "ms/frame", per_frame, on), _row(f"{name}, peak memory", "MiB", memory, on)]
    return rows


def _row(name: str, unit: str, values: list[float], on: str) -> Row:
    ratio = values[2] / values[1]
    details = {f"{factor}x": value for factor, value in zip(FACTORS, values, strict=True)}
    return Row(6, name, unit, values[2], "a quarter of the frames", values[1], ratio, ratio, ratio, GOAL, on, True, details)


def cost_of(activity: str, setting: BenchSetting, n: int) -> Cost:
    folder = Path(setting.folder) / f"growth-{n}"
    folder.mkdir(exist_ok=True)
    with PeakMemory() as memory:
        started = time.perf_counter()
        ACTIVITIES[activity](setting, folder, n)
        seconds = time.perf_counter() - started
    return Cost(seconds, memory.peak / 2**20)


def synthesize(setting: BenchSetting, folder: Path, n: int) -> None:
    config = SynthesisConfig(
        seed=setting.seed,
        level=1,
        width=WIDTH,
        height=HEIGHT,
        paired=n,
        unpaired_images=0,
        unpaired_masks=0,
        val=0,
        test=0,
        paired_subjects=SUBJECTS,
        unpaired_subjects=SUBJECTS,
        eval_subjects=1,
        workers=allowed_processors(),
    )
    with RawDatasetWriter(folder / "raw") as writer:
        for frame in frames(config):
            writer.add_frame(frame)


def prepare(setting: BenchSetting, folder: Path, n: int) -> None:
    shutil.rmtree(folder / "packed", ignore_errors=True)  # of the round before
    pack(RawDataset(folder / "raw", "bgr"), folder / "packed", PackConfig(setting.size, 0.0, allowed_processors()))


def read_for_training(setting: BenchSetting, folder: Path, n: int) -> None:
    """An epoch's batches, augmented."""
    stream = BatchStream(_reader(setting, folder), setting.batch_size, setting.seed, GROWTH_STREAM, ONE_PROCESS)
    for step, batch in enumerate(stream.batches(0, stream.steps_per_epoch)):
        augment(batch, setting.size, PUBLISHED, seeded_generator(setting.seed, step), ONE_PROCESS)


def evaluate(setting: BenchSetting, folder: Path, n: int) -> None:
    """All frames' scores, of a network that costs nothing."""
    fabric = setting.fabric()
    network = nn.Conv2d(3, NUM_CHANNELS, 1).to(fabric.device)
    score_subset(network, _reader(setting, folder), setting.eval_batch_size, fabric.autocast, ONE_PROCESS, progress=False)


def _reader(setting: BenchSetting, folder: Path) -> RecordReader:
    """From the disk: resident, memory is to grow with the set."""
    return RecordReader(PackedSet.open(folder / "packed").subset("train"), "disk", setting.fabric().device)


ACTIVITIES = {"synthesize": synthesize, "prepare": prepare, "training's reading": read_for_training, "evaluation": evaluate}


class PeakMemory:
    """Watches the anonymous memory of this process and its children: pages of files that are mapped, as LMDB's, are the
    system's cache and no demand. Bytes, in `peak`."""

    def __enter__(self) -> "PeakMemory":
        self.peak = 0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, kind, error, trace) -> None:
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        this = psutil.Process()
        while True:
            processes = [this.pid, *(child.pid for child in this.children(recursive=True))]
            self.peak = max(self.peak, sum(map(anonymous_bytes, processes)))
            if self._ended.wait(SAMPLE_S):
                return


def anonymous_bytes(pid: int) -> int:
    """RssAnon of a process; 0 where it has just ended."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    return next((int(line.split()[1]) << 10 for line in status.splitlines() if line.startswith("RssAnon")), 0)
