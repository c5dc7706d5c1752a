"""A packed set of random records, each known by its subset and position."""

from pathlib import Path

import numpy as np

from hands.packed.packed_writer import PackedWriter
from hands.processes.folders import whole_folder
from hands.raw.provenance import UNKNOWN

SIZE = 32
SIDE = 40
CHANNELS = {"train": 5, "unpaired_images": 3, "unpaired_masks": 2, "val": 5, "test": 3}
COUNTS = {"train": 7, "unpaired_images": 5, "unpaired_masks": 4, "val": 3, "test": 2}


def a_record(channels: int, seed: int) -> np.ndarray:
    generator = np.random.default_rng(seed)
    record = generator.integers(0, 17, (channels, SIDE, SIDE), dtype=np.uint8)
    if channels > 2:
        record[:3] = generator.integers(0, 256, (3, SIDE, SIDE), dtype=np.uint8)
    return record


def write_packed(folder: Path, counts: dict[str, int], skip: frozenset[int] = frozenset()) -> None:
    """Records of subset s are a_record(channels, 10000 * code + position); positions in `skip` are dropped from train."""
    with whole_folder(folder) as partial, PackedWriter(partial, SIZE, CHANNELS) as writer:
        dropped = {name: {} for name in CHANNELS}
        for code, name in enumerate(CHANNELS):
            for position in range(counts[name]):
                if name == "train" and position in skip:
                    dropped[name]["broken"] = dropped[name].get("broken", 0) + 1
                    continue
                record = a_record(CHANNELS[name], 10000 * code + position)
                hand_type = ("left", "right", "interacting")[position % 3]
                writer.add(name, position, hand_type, f"{name}/Capture0/seq/cam1/image{position}", record)
        writer.finish("bgr", "5" * 32, counts, dropped, (UNKNOWN,))
