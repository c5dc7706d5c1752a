"""Raw data set -> packed set: decode and crop once, in parallel, in a fixed order."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from hands.errors import InvalidInput
from hands.files.decoding import BrokenEntry
from hands.packed.broken import BrokenLimit
from hands.packed.disjoint import KEPT_APART, Copies, LeftOut, Listed, left_out
from hands.packed.dropped import Dropped
from hands.packed.manifest import Manifest
from hands.packed.packed_writer import PackedWriter
from hands.packed.packing import Packed, Task, pack_task
from hands.packed.places import PlacesWriter
from hands.parts import check_size
from hands.processes.folders import whole_folder
from hands.processes.progress import Progress
from hands.processes.workers import in_order
from hands.raw.layout import RawDataset
from hands.raw.provenance import read_sources

_CHUNK = 32  # frames a task
_SERIAL_BELOW = 512  # frames; starting workers takes longer than these


@dataclass(frozen=True)
class PackConfig:
    """size: side of the crops in pixels, as hands.parts.check_size takes it. max_broken: the share of a subset's entries, 0 to
    1, that may be broken and are then left out and counted; 0 refuses the data set at the first one. workers: processes."""

    size: int
    max_broken: float
    workers: int

    def __post_init__(self):
        check_size(self.size)
        if not 0 <= self.max_broken <= 1:
            raise InvalidInput(f"max_broken is {self.max_broken}; give a share from 0 to 1, such as 0.1.")


def pack(raw: RawDataset, folder: str | Path, config: PackConfig) -> Manifest:
    """Write the packed set of `raw` into `folder`, which appears once it is complete. Same input, same bytes, any `workers`.

    What is listed twice, and unpaired pictures and labels that stand in another split, are dropped and counted.

    Raises:
        InvalidInput: `folder` is occupied, a list cannot be read, size does not fit, two of train, val and test share a
            picture or labels, or more entries are broken than max_broken allows: the message names the last.
    """
    sources = read_sources(raw.folder)
    listed = _listed(raw)
    apart = left_out(listed)
    channels = {"train": 5, "unpaired_images": 3, "unpaired_masks": 2, "val": 5, "test": 5 if raw.test_is_labelled else 3}
    counts = {name: len(entries) for name, entries in listed.items()}
    dropped, limit, copies = Dropped(channels), BrokenLimit(counts, config.max_broken), Copies()
    places = PlacesWriter()
    work = partial(pack_task, raw.pictures, config.size, channels)
    total = sum(counts.values())
    with (
        whole_folder(folder) as destination,
        PackedWriter(destination, config.size, channels) as writer,
        Progress("prepare", total, "frames") as progress,
    ):
        for task, results in in_order(work, _tasks(listed, apart), 1 if total < _SERIAL_BELOW else config.workers):
            for position, result in enumerate(results, task.start):
                if isinstance(result, Packed) and result.digest:
                    result = copies.find(task.subset, result.path, result.digest) or result
                match result:
                    case Packed():
                        writer.add(task.subset, position, result.hand_type, result.path, result.record)
                        places.add(task.subset, result.place)
                    case LeftOut():
                        dropped.add(task.subset, result.reason, result.name)
                    case BrokenEntry():
                        limit.count(task.subset, result)
                        dropped.add(task.subset, result.reason, str(result))
            progress.update(len(results))
        places.write(destination)
        manifest = writer.finish(raw.pictures.channel_order, raw.digest, counts, dropped.counts(), sources)
    for line in dropped.lines():
        print(f"== {line}", flush=True)
    return manifest


def _listed(raw: RawDataset) -> Listed:
    """Subsets in the order in which they are packed: what others must not share comes first."""
    listed: dict[str, list] = {name: raw.listed(name) for name in (*KEPT_APART, "unpaired_images")}
    listed["unpaired_masks"] = raw.unpaired_mask_ids
    return listed


def _tasks(listed: Listed, apart: dict[str, dict[int, LeftOut]]) -> Iterator[Task]:
    for subset, entries in listed.items():
        for start in range(0, len(entries), _CHUNK):
            chunk = enumerate(entries[start : start + _CHUNK], start)
            yield Task(subset, start, [apart[subset].get(position, entry) for position, entry in chunk])
