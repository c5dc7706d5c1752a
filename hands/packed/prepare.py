"""Raw data set -> packed set: decode and crop once, in parallel, in a fixed order."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tqdm import tqdm

from hands.files.decoding import BrokenEntry
from hands.packed.manifest import Manifest, record_side
from hands.packed.packed_set import PackedWriter
from hands.packed.packing import Task, pack_task
from hands.processes.folders import whole_folder
from hands.processes.workers import in_order
from hands.raw.entries import Entry
from hands.raw.layout import RawDataset

_CHUNK = 32  # frames a task
_SERIAL_BELOW = 512  # frames; starting workers takes longer than these


@dataclass(frozen=True)
class PackConfig:
    """size: side of the crops in pixels, a multiple of 16. skip_broken: leave broken entries out and count them, instead of
    refusing the data set at the first one. workers: processes."""

    size: int
    skip_broken: bool
    workers: int


def pack(raw: RawDataset, folder: str | Path, config: PackConfig) -> Manifest:
    """Write the packed set of `raw` into `folder`, which appears once it is complete. Same input, same bytes, any `workers`.

    Raises:
        InvalidInput: `folder` is occupied, a list cannot be read, size does not fit, or (without skip_broken) an entry is
            broken: the message names it.
    """
    record_side(config.size)
    listed = _listed(raw)
    channels = {"train": 5, "unpaired_images": 3, "unpaired_masks": 2, "val": 5, "test": 5 if raw.test_is_labelled else 3}
    dropped: dict[str, dict[str, int]] = {name: {} for name in channels}
    work = partial(pack_task, raw.pictures, config.size, channels)
    total = sum(map(len, listed.values()))
    with (
        whole_folder(folder) as destination,
        PackedWriter(destination, config.size, channels) as writer,
        tqdm(total=total, unit="frame", desc="prepare") as progress,
    ):
        for task, results in in_order(work, _tasks(listed), 1 if total < _SERIAL_BELOW else config.workers):
            for position, result in enumerate(results, task.start):
                if isinstance(result, BrokenEntry):
                    _count_or_refuse(result, dropped[task.subset], config.skip_broken)
                else:
                    writer.add(task.subset, position, result.hand_type, result.path, result.record)
            progress.update(len(results))
        counts = {name: len(entries) for name, entries in listed.items()}
        return writer.finish(raw.pictures.channel_order, raw.digest, counts, dropped)


def _listed(raw: RawDataset) -> dict[str, list[Entry | str | BrokenEntry]]:
    listed: dict[str, list] = {name: raw.listed(name) for name in ("train", "unpaired_images", "val", "test")}
    listed["unpaired_masks"] = raw.unpaired_mask_ids
    return listed


def _tasks(listed: dict[str, list[Entry | str | BrokenEntry]]) -> Iterator[Task]:
    for subset, entries in listed.items():
        for start in range(0, len(entries), _CHUNK):
            yield Task(subset, start, entries[start : start + _CHUNK])


def _count_or_refuse(error: BrokenEntry, dropped: dict[str, int], skip_broken: bool) -> None:
    if not skip_broken:
        raise error
    dropped[error.reason] = dropped.get(error.reason, 0) + 1
