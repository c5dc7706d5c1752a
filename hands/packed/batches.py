"""Batches of packed records, addressed by the global training step.

Which records a step sees and how they are augmented follows from (seed, stream, step) alone, not from what ran
before: a run that continues at step k sees what an uninterrupted one would have seen.
"""

import hashlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch

from hands.errors import InvalidInput
from hands.packed.packed_set import PackedSubset, require_records


def seeded_generator(*key: int) -> torch.Generator:
    """A CPU generator for this key of non-negative integers, e.g. (seed, stream, step)."""
    digest = hashlib.sha256(repr(key).encode()).digest()  # numpy's SeedSequence mixes (2**32, 0) up with (0, 1)
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)


@dataclass(frozen=True)
class Shard:
    """The part of every batch that this process sees: rank in [0, world_size)."""

    rank: int
    world_size: int


class Batch(NamedTuple):
    """records: (N, C, P, P) uint8 on the training device. hand_types: (N,) int64 on the CPU, positions in parts.HAND_TYPES."""

    records: torch.Tensor
    hand_types: torch.Tensor


class RecordReader:
    """Records of a subset by index, on the training device; resident there when residency is "device"."""

    def __init__(self, subset: PackedSubset, residency: str, device: torch.device):
        if residency not in ("disk", "device"):
            raise InvalidInput(f"data_residency is '{residency}'; expected disk or device.")
        require_records(subset)
        self.subset = subset
        self.device = device
        self.resident = None
        if residency == "device":
            self.resident = self._to_device(subset.read(np.arange(len(subset)), None))

    def read(self, indices: np.ndarray) -> torch.Tensor:
        """(N, C, P, P) uint8 on the device."""
        if self.resident is not None:
            return self.resident[torch.from_numpy(np.ascontiguousarray(indices)).to(self.device)]
        return self._to_device(self.subset.read(indices, None))

    def _to_device(self, records: torch.Tensor) -> torch.Tensor:
        if self.device.type == "cuda":
            return records.pin_memory().to(self.device, non_blocking=True)
        return records


def whole_batch(records: int, batch_size: int, world_size: int) -> int:
    """Records of a step of all processes together: batch_size, or all that can be shared evenly of a smaller set."""
    return min(batch_size, max(records - records % world_size, world_size))


class BatchStream:
    """An endless, shuffled stream of batches; every `steps_per_epoch` steps each record was seen once (less the rest).

    Args:
        reader: where records come from.
        batch_size: of all processes together; a set smaller than it gives batches of the whole set.
        seed, stream: the order's key; streams of one run differ in `stream`.
        shard: which part of each batch this process reads.
    """

    def __init__(self, reader: RecordReader, batch_size: int, seed: int, stream: int, shard: Shard):
        n = len(reader.subset)
        if batch_size % shard.world_size:
            raise InvalidInput(
                f"batch_size {batch_size} cannot be divided among {shard.world_size} processes; use a multiple."
            )
        self.reader = reader
        self.batch_size = whole_batch(n, batch_size, shard.world_size)
        self.steps_per_epoch = max(1, n // self.batch_size)
        self.key = (seed, stream)
        self.shard = shard
        self._epoch_order = (-1, np.empty(0, dtype=np.int64))

    def indices(self, step: int) -> np.ndarray:
        """Records of this process at a global step (counted from 0)."""
        epoch, position = divmod(step, self.steps_per_epoch)
        ordered, order = self._epoch_order  # the thread that reads may be in the next epoch already
        if ordered != epoch:
            order = torch.randperm(len(self.reader.subset), generator=seeded_generator(*self.key, epoch)).numpy()
            self._epoch_order = (epoch, order)
        batch = np.resize(order, max(len(order), self.batch_size))
        start = position * self.batch_size
        return batch[start : start + self.batch_size][self.shard.rank :: self.shard.world_size]

    def batches(self, first_step: int, last_step: int) -> Iterator[Batch]:
        """Records of the steps first_step..last_step-1; the next batch is read while the current one is trained on."""
        with ThreadPoolExecutor(max_workers=1, thread_name_prefix="read") as pool:
            waiting = None
            for step in range(first_step, last_step):
                following = pool.submit(self._read, step)
                if waiting is not None:
                    yield waiting.result()
                waiting = following
            if waiting is not None:
                yield waiting.result()

    def _read(self, step: int) -> Batch:
        indices = self.indices(step)
        hand_types = torch.from_numpy(self.reader.subset.hand_types[indices].astype(np.int64))
        return Batch(self.reader.read(indices), hand_types)
