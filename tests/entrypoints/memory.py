"""How much memory `prepare`, `phase1` and `evaluate` take, by the number of frames.

    python -m tests.entrypoints.memory 1000 20000

makes raw datasets of so many frames (four fifths paired, a tenth val, a tenth test), runs the steps on each with
data_residency=disk, and prints the peaks of three sums over the step's processes, sampled twenty times a second:
private memory (RssAnon of /proc/<pid>/status: what no other process or file holds), pages of mapped files (RssFile: LMDB's
pages and libraries, which the system drops when memory is short), and both (VmRSS).
"""

import dataclasses
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil
from mlflow import MlflowClient

from hands.raw.layout_writer import RawDatasetWriter
from hands.tracking import ROOT
from tests.project import EXPERIMENT, arguments, command, environment, new_store
from tests.raw.made_frames import a_frame

KINDS = ("RssAnon", "RssFile", "VmRSS")
SHARES = {"paired": 0.8, "val": 0.1, "test": 0.1}
HEADER = """\
| step | frames | private memory, MiB | mapped files, MiB | both at once, MiB | seconds |
|---|---|---|---|---|---|"""
MIB = 1024  # /proc counts in KiB


def main(counts: list[int]) -> None:
    print(HEADER)
    with tempfile.TemporaryDirectory(prefix="memory-") as folder:
        template = Path(folder) / "mlflow.db"
        MlflowClient(f"sqlite:///{template}").search_experiments()
        for count in counts:
            place = Path(folder) / str(count)
            uri = new_store(place / "store", template)
            write_raw(place / "raw", count)
            measure(place, uri, count)


def write_raw(folder: Path, count: int) -> None:
    """The same frame over and over, under other names."""
    with RawDatasetWriter(folder) as writer:
        for role, share in SHARES.items():
            frame = a_frame(role, 0, labelled=True)
            for number in range(round(share * count)):
                writer.add_frame(dataclasses.replace(frame, path=f"{frame.path}-{number}", frame=number))


def measure(place: Path, uri: str, count: int) -> None:
    packed = place / "packed"
    show("prepare", count, uri, data_dir=place / "raw", out_dir=packed, size=64, workers=2)
    training = {
        "packed_dir": packed, "g1": "light", "encoder_weights": "none", "unpaired": "none", "epochs": 1,
        "checkpoint_dir": place / "checkpoints", "data_residency": "disk",
    }  # fmt: skip
    show("phase1", count, uri, **training)
    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name(EXPERIMENT).experiment_id
    g1 = client.search_runs([experiment], "attributes.run_name = 'phase1'")[0].data.tags["hands.output.g1_model"]
    show("evaluate", count, uri, packed_dir=packed, model=g1, split="train", data_residency="disk")


def show(entry_point: str, count: int, uri: str, **values: object) -> None:
    started = time.monotonic()
    words = command(entry_point, *arguments(entry_point, **values))
    with open(os.devnull, "w") as silence:
        process = subprocess.Popen(words, cwd=ROOT, env=environment(uri), stdout=silence, stderr=subprocess.PIPE, text=True)
    peaks = dict.fromkeys(KINDS, 0)
    while process.poll() is None:
        now = usage(process.pid)
        peaks = {kind: max(peaks[kind], now[kind]) for kind in KINDS}
        time.sleep(0.05)
    assert process.returncode == 0, process.stderr.read()[-2000:]
    cells = (f"{peaks[kind] / MIB:.0f}" for kind in KINDS)
    print(f"| {entry_point} | {count:,} | {' | '.join(cells)} | {time.monotonic() - started:.0f} |", flush=True)


def usage(pid: int) -> dict[str, int]:
    """KiB of each kind, of a process and those below it."""
    total = dict.fromkeys(KINDS, 0)
    try:
        for process in [(parent := psutil.Process(pid)), *parent.children(recursive=True)]:
            for line in Path(f"/proc/{process.pid}/status").read_text().splitlines():
                kind, _, value = line.partition(":")
                if kind in KINDS:
                    total[kind] += int(value.split()[0])
    except (psutil.NoSuchProcess, FileNotFoundError, ProcessLookupError):
        pass
    return total


if __name__ == "__main__":
    main([int(count) for count in sys.argv[1:]])
