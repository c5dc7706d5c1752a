"""Kills training steps and `main` at random moments, starts them again until they end, and compares with whole runs.

    python -m tests.entrypoints.kill_and_resume --kills 24 --seed 0

prints a table and ends with 1 where weights, metrics, models, pictures or states of runs differ. Steps go on with
`resume=<run id>` and `resume=latest` in turn, `main` by the same command. Most kills are kill -9, every fourth is SIGTERM,
SIGINT or SIGUSR1. The last kill of a step comes after its last epoch, while it logs its models; the others are spread over
the time from the beginning of its run to there. Kills of `main` are spread over its steps, in turn of the whole process
group and of the main process alone.
"""

import argparse
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from mlflow import MlflowClient
from mlflow.entities import Run

from tests.entrypoints.killing import NOTHING, Kill, Process, Store, differences, position
from tests.packed.blobs import write_blobs
from tests.project import EXPERIMENT, PIPELINE_STEPS, TINY_RECIPE, arguments, command, log_toys, new_store
from tests.training_steps import STEPS, TrainingStep

SIZE, EPOCHS = 64, 4
COUNTS = {"train": 48, "unpaired_images": 64, "unpaired_masks": 24, "val": 8, "test": 4}
OFTEN = 0.02  # minutes between checkpoints: every few optimizer steps
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)
MAIN = {"phase1_epochs": 3, "round2_paired_epochs": 3, "g1": "light", "g2": "light", "checkpoint_minutes": OFTEN}


@dataclass
class Outcome:
    """A line of the table."""

    name: str
    kills: list[Kill] = field(default_factory=list)
    different: list[str] = field(default_factory=list)
    seconds: float = 0.0

    def line(self) -> str:
        kinds = {"weights": "/weights", "metrics": "/metrics"}
        same = ["no" if any(mark in text for text in self.different) else "yes" for mark in kinds.values()]
        rest = "no" if self.different else "yes"
        moments = "; ".join(f"{kill.how} {kill.after_s:.1f} s: {kill.where}" for kill in self.kills)
        return f"| {self.name} | {len(self.kills)} | {moments} | {same[0]} | {same[1]} | {rest} | {self.seconds:.0f} |"


HEADER = """\
| what | kills | by what, seconds after its run began: where it went on | same weights | same metrics | all the same | seconds |
|---|---|---|---|---|---|---|"""


class StepTrial:
    """One training step, whole and in parts, in a store that others use too."""

    def __init__(self, step: TrainingStep, folder: Path, uri: str, values: dict[str, object], chance: random.Random):
        self.entry_point, self.values, self.chance = step.entry_point, values, chance
        self.outcome = Outcome(step.name)
        self.folder = folder / step.name.replace(", ", "-").replace(" ", "-")
        self.folder.mkdir()
        self.stores = {part: Store(uri, f"{step.name}, {part}") for part in ("whole", "parts")}

    def run(self, kills: int) -> Outcome:
        started = time.monotonic()
        whole = self._start("whole", "")
        training_s, finishing_s = self._watch(whole)
        run_id = self._in_parts(kills, training_s, finishing_s)
        self.outcome.seconds = time.monotonic() - started
        store = self.stores["parts"]
        expected = store.results(self._newest("whole"))
        self.outcome.different += differences(store.results(store.client.get_run(run_id)), expected)
        return self.outcome

    def _start(self, part: str, resume: str) -> Process:
        values = self.values | {"checkpoint_dir": self.folder / part, "resume": resume}
        words = command(self.entry_point, *arguments(self.entry_point, **values))
        return Process(words, self.stores[part].variables(), self.folder / f"{part}.log")

    def _newest(self, part: str) -> Run:
        return self.stores[part].runs()[0]

    def _trained(self, part: str) -> bool:
        return self.stores[part].epochs(self._newest(part).info.run_id) == EPOCHS

    def _watch(self, process: Process) -> tuple[float, float]:
        """Seconds from the beginning of the run to its last epoch, and from there to its end."""
        assert process.wait_until(lambda: self.stores["whole"].processes())
        begun = time.monotonic()
        assert process.wait_until(lambda: self._trained("whole"))
        trained = time.monotonic()
        assert process.wait_until(lambda: self._newest("whole").info.status == "FINISHED")
        finished = time.monotonic()
        process.finish()
        return trained - begun, finished - trained

    def _in_parts(self, kills: int, training_s: float, finishing_s: float) -> str:
        """Kills and goes on; returns the id of the run that ended by itself."""
        moments = [(number + self.chance.random()) / (kills - 1) * training_s for number in range(kills - 1)]
        signals = [self.chance.choice(SIGNALS) if number % 4 == 1 else signal.SIGKILL for number in range(kills)]
        resume, before = "", 0.0
        for number, how in enumerate(signals):
            last = number == kills - 1
            known = self.stores["parts"].processes()
            process = self._start("parts", resume)
            assert process.wait_until(lambda known=known: self.stores["parts"].processes() - known), process.log.read_text()
            begun = time.monotonic()
            if last:
                process.wait_until(lambda: self._trained("parts"))
                delay = self.chance.random() * finishing_s
            else:
                delay, before = moments[number] - before, moments[number]
            time.sleep(max(0.0, delay))
            killed = process.end(how, whole_group=False)
            if self._newest("parts").info.status == "FINISHED":
                break  # it was faster than the whole one: the kill came too late
            assert killed
            self._note(how, time.monotonic() - begun)
            resume = "latest" if number % 2 else self._newest("parts").info.run_id
            if self.outcome.kills[-1].where == NOTHING:
                resume = ""
        else:
            self._start("parts", resume).finish()
        runs = self.stores["parts"].runs()
        states = sorted(run.info.status for run in runs)
        allowed = ["FINISHED"] + ["KILLED"] * sum(kill.where == NOTHING for kill in self.outcome.kills)
        if states != sorted(allowed):
            self.outcome.different.append(f"runs are {states} instead of {allowed}")
        return next(run.info.run_id for run in runs if run.info.status == "FINISHED")

    def _note(self, how: signal.Signals, after_s: float) -> None:
        run = self._newest("parts")
        self.outcome.kills.append(Kill(how.name, after_s, position(self.folder / "parts" / run.info.run_id)))
        expected = "RUNNING" if how == signal.SIGKILL else "KILLED"
        if run.info.status != expected:
            self.outcome.different.append(f"after {how.name} the run was {run.info.status} instead of {expected}")


class MainTrial:
    """`main`, whole in one store and in parts in another."""

    def __init__(self, folder: Path, template: Path, chance: random.Random):
        self.outcome = Outcome("main")
        self.chance = chance
        self.folders = {part: folder / f"main-{part}" for part in ("whole", "parts")}
        self.stores = {part: Store(new_store(path, template), EXPERIMENT) for part, path in self.folders.items()}

    def run(self, kills: int) -> Outcome:
        started = time.monotonic()
        lasting = self._watch(self._start("whole"))
        self._in_parts(kills, lasting)
        self.outcome.seconds = time.monotonic() - started
        self._compare()
        return self.outcome

    def _start(self, part: str) -> Process:
        folder = self.folders[part]
        recipe = TINY_RECIPE | MAIN | {"work_dir": folder / "data", "checkpoint_dir": folder / "checkpoints"}
        words = command("pipeline", *arguments("main", **recipe))
        return Process(words, self.stores[part].variables(), folder / "log")

    def _watch(self, process: Process) -> dict[str, float]:
        """How many seconds each step's run lasted."""
        lasting = {}
        for name in PIPELINE_STEPS:
            assert process.wait_until(lambda name=name: self.stores["whole"].processes(name))
            begun = time.monotonic()
            process.wait_until(lambda name=name: self._ended("whole", name))
            lasting[name] = time.monotonic() - begun
        process.finish()
        return lasting

    def _ended(self, part: str, name: str) -> bool:
        return any(run.info.status == "FINISHED" for run in self.stores[part].runs(name))

    def _in_parts(self, kills: int, lasting: dict[str, float]) -> None:
        rounds = 1 + kills // len(PIPELINE_STEPS)
        chosen = sorted(self.chance.sample(PIPELINE_STEPS * rounds, kills), key=PIPELINE_STEPS.index)
        store = self.stores["parts"]
        for number, name in enumerate(chosen):
            how = self.chance.choice(SIGNALS) if number % 4 == 3 else signal.SIGKILL
            whole_group = number % 2 == 0
            known = store.processes(name)
            process = self._start("parts")
            if not process.wait_until(lambda name=name, known=known: store.processes(name) - known):
                raise AssertionError(f"main ended before {name}:\n{process.log.read_text()[-2000:]}")
            begun = time.monotonic()
            time.sleep(self.chance.random() * lasting[name])
            after = time.monotonic() - begun
            process.end(how, whole_group)
            run = store.runs(name)[0]
            where = "" if name in ("synthesize", "prepare", "evaluate test", "predict test") else self._position(run)
            scope = "to the group" if whole_group else "to main alone"
            self.outcome.kills.append(Kill(f"{how.name} {scope} in {name}", after, where or run.info.status))
        process = self._start("parts")
        process.finish()

    def _position(self, run: Run) -> str:
        return position(self.folders["parts"] / "checkpoints" / run.info.run_id)

    def _compare(self) -> None:
        whole, parts = ({run.info.run_name: run for run in self._finished(part)} for part in ("whole", "parts"))
        self.outcome.different += differences(sorted(parts), sorted(whole), "finished runs")
        for name in PIPELINE_STEPS:
            if name in whole and name in parts:
                results = [self.stores[part].results(runs[name]) for part, runs in (("parts", parts), ("whole", whole))]
                self.outcome.different += differences(*results, name)
        states = {run.info.status for run in self.stores["parts"].runs()}
        if not states <= {"FINISHED", "KILLED"}:
            self.outcome.different.append(f"runs are left in the states {states}")
        versions = self.stores["parts"].client.search_model_versions("name='hands-g2'")
        if len(versions) != 1:
            self.outcome.different.append(f"{len(versions)} registered versions")
        left = [path for path in (self.folders["parts"] / "data").iterdir() if path.name.startswith(".")]
        left += list((self.folders["parts"] / "checkpoints").glob("*"))
        if left:
            self.outcome.different.append(f"left behind: {left}")

    def _finished(self, part: str) -> list[Run]:
        return [run for run in self.stores[part].runs() if run.info.status == "FINISHED"]


def main() -> int:
    parser = argparse.ArgumentParser(description="kill, resume, compare")
    parser.add_argument("--kills", type=int, default=24, help="over all steps and main, at least 12; a third of them main's")
    parser.add_argument("--seed", type=int, default=0, help="of the moments and signals")
    parser.add_argument("--only", default="", help="lines of the table to make, separated by ;")
    given = parser.parse_args()
    per_step = (given.kills - given.kills // 3) // len(STEPS)
    only = [name for name in given.only.split(";") if name]
    folder = Path(tempfile.mkdtemp(prefix="kill-and-resume-"))
    os.environ["OMP_NUM_THREADS"] = "1"  # sums are added up in one order everywhere
    started = time.monotonic()
    try:
        outcomes = trials(folder, per_step, given.kills - per_step * len(STEPS), given.seed, only)
    finally:
        for process in Process.started:
            process.kill_group()
    print(HEADER, *(outcome.line() for outcome in outcomes), sep="\n")
    different = [f"{outcome.name}: {text}" for outcome in outcomes for text in outcome.different]
    n_kills = sum(len(outcome.kills) for outcome in outcomes)
    print(f"\n{n_kills} kills, {len(different)} differences, {time.monotonic() - started:.0f} s")
    print(*different, sep="\n")
    if not different:
        shutil.rmtree(folder)
    return 1 if different else 0


def trials(folder: Path, per_step: int, of_main: int, seed: int, only: list[str]) -> list[Outcome]:
    """Two steps at a time, then main."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # children of a shell's background job would ignore it
    template = folder / "mlflow.db"
    MlflowClient(f"sqlite:///{template}").search_experiments()
    uri = new_store(folder / "store", template)
    os.environ["MLFLOW_TRACKING_URI"], os.environ["MLFLOW_EXPERIMENT_NAME"] = uri, EXPERIMENT
    (folder / "packed").mkdir()
    packed = write_blobs(folder / "packed", SIZE, COUNTS, seed=0)
    toys = log_toys(SIZE)
    given = {
        "packed_dir": packed.folder, "epochs": EPOCHS, "batch_size": 8, "lr": 3e-3, "lr_schedule": "cosine",
        "ema_decay": 0.9, "eval_every": 2, "checkpoint_minutes": OFTEN,
    }  # fmt: skip

    def trial(step: TrainingStep) -> Outcome:
        values = step.run_parameters(toys, **given)
        return StepTrial(step, folder, uri, values, random.Random(f"{seed} {step.name}")).run(per_step)

    steps = [step for step in STEPS if not only or step.name in only]
    with ThreadPoolExecutor(2) as lanes:
        outcomes = list(lanes.map(trial, steps))
    if not only or "main" in only:
        outcomes.append(MainTrial(folder, template, random.Random(f"{seed} main")).run(of_main))
    return outcomes


if __name__ == "__main__":
    sys.exit(main())
