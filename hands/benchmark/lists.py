"""Line 8: reading a list of the full release's form, in time and in memory.

The list is as InterHand2.6M's own loader makes one: joints, cameras and depths stand in every entry. Its entries are made once
and then repeated in the file, for a list of 1.36 million takes 13 GB to make in one go.
"""

import pickle
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from hands.benchmark.growth import Cost, PeakMemory
from hands.benchmark.measure import Row, compare
from hands.benchmark.setting import BenchSetting
from hands.processes.progress import Progress
from hands.raw.entries import KEY_PREFIX, READ, read_entry
from hands.raw.pt_lists import read_list

ENTRIES_PER_FRAME = 100  # entries of the list for each of growth_frames
SMALLER = 4  # a list of a quarter tells what each entry takes
RELEASE = 1_360_000  # pictures of the release's training split
RELEASE_SECONDS, RELEASE_MIB = 180, 2e9 / 2**20
MADE = 1000

Call = Callable[..., Cost]


def list_rows(setting: BenchSetting, call: Call) -> list[Row]:
    """Entries a second, and the memory that the release's training list takes by what two lists took."""
    n = ENTRIES_PER_FRAME * setting.growth_frames
    seconds, mib = [], []
    with Progress("8 lists", setting.rounds, "rounds") as progress:
        for _ in range(setting.rounds):
            small, large = (call(cost_of_list, setting, count) for count in (n // SMALLER, n))
            each = max(large.mib - small.mib, 0) / (n - n // SMALLER)
            seconds.append(large.seconds)
            mib.append(large.mib + each * (RELEASE - n))
            progress.update(1)
    on = f"{n:,} entries of the release's own form, processor time"
    rate, wanted = [n / value for value in seconds], setting.rounds * [RELEASE / RELEASE_SECONDS]
    limit = setting.rounds * [RELEASE_MIB]
    return [
        compare(8, "reading a list", "entries/s", rate, f"{RELEASE / 1e6} million in 3 minutes", wanted, 1.0, on),
        compare(8, f"memory of {RELEASE / 1e6} million entries", "MiB", mib, "2 GB", limit, 1.0, on, lower_is_better=True),
    ]


def cost_of_list(setting: BenchSetting, n: int) -> Cost:
    file = Path(setting.folder) / f"list-{n}.pt"
    if not file.exists():
        write_list(file, n)
    with PeakMemory() as memory:
        started = time.process_time()  # of one thread, whatever else the machine does
        entries = [read_entry(content, "the list", {}) for content in read_list(file, READ)]
        seconds = time.process_time() - started
    assert len(entries) == n
    return Cost(seconds, memory.peak / 2**20)


def write_list(file: Path, n: int) -> None:
    """A file of torch.save with a list of n entries: those of a pickle of MADE, over and over."""
    generator = np.random.default_rng(0)
    content = pickle.dumps([entry(number, generator) for number in range(MADE)], protocol=2)
    begin, members = content[:5], content[5:-1]  # a list that is empty, then what appends to it
    rest = pickle.dumps([entry(number, generator) for number in range(n % MADE)], protocol=2)[5:-1]
    with zipfile.ZipFile(file, "w") as archive:
        with archive.open("archive/data.pkl", "w", force_zip64=True) as stream:
            stream.write(begin)
            for _ in range(n // MADE):
                stream.write(members)
            stream.write(rest + pickle.STOP)
        archive.writestr("archive/version", "3\n")


def entry(number: int, generator: np.random.Generator) -> dict:
    """As the release's loader makes one; values are made up."""
    cam, frame, sequence = f"{400262 + number % 80}", 10_000 + number, f"ROM{number % 9:02d}_No_Interaction_2_Hand"
    file = f"Capture{number % 26}/{sequence}/cam{cam}/image{frame}.jpg"
    joints = generator.normal(size=(3, 42)).astype(np.float32).transpose()
    return {
        "img_path": f"../{KEY_PREFIX}train/{file}",
        "seq_name": sequence,
        "cam_param": {"focal": np.array([1200, 1201], np.float32), "princpt": np.array([160, 250], np.float32)},
        "bbox": generator.uniform(1, 200, 4).astype(np.float32),
        "joint": {"cam_coord": joints, "img_coord": joints[:, :2].copy(), "valid": np.ones(42, np.float32)},
        "hand_type": ("left", "right", "interacting")[number % 3],
        "hand_type_valid": np.array(1, np.float32),
        "abs_depth": {"right": joints[20, 2], "left": joints[41, 2]},
        "file_name": file,
        "capture": number % 26,
        "cam": cam,
        "frame": frame,
    }
