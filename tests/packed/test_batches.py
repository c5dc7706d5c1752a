"""Which records a training step sees."""

import dataclasses

import numpy as np
import pytest
import torch

from hands.errors import InvalidInput
from hands.packed.batches import BatchStream, RecordReader, Shard, seeded_generator
from hands.packed.packed_set import PackedSet

CPU = torch.device("cpu")
ALONE = Shard(0, 1)


@pytest.fixture
def reader(tiny_packed: PackedSet) -> RecordReader:
    return RecordReader(tiny_packed.subset("train"), "disk", CPU)  # 12 records


@pytest.mark.parametrize("batch_size", [1, 4, 6, 12])
def test_an_epoch_sees_each_record_once(reader: RecordReader, batch_size: int):
    stream = BatchStream(reader, batch_size, seed=0, stream=0, shard=ALONE)
    assert stream.steps_per_epoch == 12 // batch_size
    for epoch in range(3):
        steps = range(epoch * stream.steps_per_epoch, (epoch + 1) * stream.steps_per_epoch)
        seen = np.concatenate([stream.indices(step) for step in steps])
        assert sorted(seen) == list(range(12))


def test_the_rest_of_an_epoch_is_left_out_and_differs(reader: RecordReader):
    stream = BatchStream(reader, 5, seed=0, stream=0, shard=ALONE)
    assert stream.steps_per_epoch == 2
    epochs = [np.concatenate([stream.indices(2 * epoch), stream.indices(2 * epoch + 1)]) for epoch in range(12)]
    assert all(len(set(seen)) == 10 for seen in epochs)
    assert set(np.concatenate(epochs)) == set(range(12))


def test_order_depends_on_seed_stream_and_epoch(reader: RecordReader):
    def order(seed: int, stream: int, step: int) -> list[int]:
        return BatchStream(reader, 12, seed, stream, ALONE).indices(step).tolist()

    orders = [order(0, 0, 0), order(1, 0, 0), order(0, 1, 0), order(0, 0, 1), order(1, 1, 0)]
    assert len(set(map(tuple, orders))) == len(orders)
    assert order(0, 0, 0) == orders[0]


def test_a_step_does_not_depend_on_those_before(reader: RecordReader):
    through = BatchStream(reader, 4, 7, 0, ALONE)
    batches = [through.indices(step).tolist() for step in range(9)]
    for step in (8, 0, 5, 3, 7):
        assert BatchStream(reader, 4, 7, 0, ALONE).indices(step).tolist() == batches[step]
        assert through.indices(step).tolist() == batches[step]


def test_starting_in_the_middle_reads_the_same_records(reader: RecordReader):
    whole = list(BatchStream(reader, 4, 7, 0, ALONE).batches(0, 8))
    rest = list(BatchStream(reader, 4, 7, 0, ALONE).batches(5, 8))
    assert len(whole) == 8 and len(rest) == 3
    assert all(torch.equal(a.records, b.records) for a, b in zip(whole[5:], rest, strict=True))


def test_batches_are_the_records_of_the_indices(reader: RecordReader):
    stream = BatchStream(reader, 4, 7, 0, ALONE)
    for step, batch in enumerate(stream.batches(0, 5)):
        assert torch.equal(batch.records, reader.subset.read(stream.indices(step), None))
        assert batch.hand_types.tolist() == reader.subset.hand_types[stream.indices(step)].tolist()


@pytest.mark.parametrize(("rank", "world_size"), [(0, 1), (1, 2)])
def test_hand_types_are_those_of_the_records(reader: RecordReader, rank: int, world_size: int):
    """Whichever epoch the thread that reads is in."""
    stream = BatchStream(reader, 4, 7, 0, Shard(rank, world_size))
    for step, batch in enumerate(stream.batches(0, 7)):
        expected = reader.subset.hand_types[stream.indices(step)]
        assert batch.hand_types.tolist() == expected.tolist()
        assert torch.equal(batch.records, reader.subset.read(stream.indices(step), None))


def test_no_steps_no_batches(reader: RecordReader):
    assert list(BatchStream(reader, 4, 7, 0, ALONE).batches(3, 3)) == []


@pytest.mark.parametrize("world_size", [2, 3, 4])
def test_shards_are_disjoint_and_make_the_whole_batch(reader: RecordReader, world_size: int):
    alone = BatchStream(reader, 12 // 2 if world_size == 3 else 4, 0, 0, ALONE)
    shards = [BatchStream(reader, alone.batch_size, 0, 0, Shard(rank, world_size)) for rank in range(world_size)]
    for step in range(2 * alone.steps_per_epoch):
        parts = [shard.indices(step) for shard in shards]
        assert len({len(part) for part in parts}) == 1
        assert [shard.steps_per_epoch for shard in shards] == world_size * [alone.steps_per_epoch]
        whole = np.stack(parts, axis=1).ravel()  # rank r has every world_size-th record of the batch
        assert whole.tolist() == alone.indices(step).tolist()


@pytest.mark.parametrize(("world_size", "expected"), [(1, 12), (2, 12), (5, 10)])
def test_a_small_set_gives_batches_of_the_whole_set(reader: RecordReader, world_size: int, expected: int):
    shards = [BatchStream(reader, 100 * world_size, 0, 0, Shard(rank, world_size)) for rank in range(world_size)]
    assert [shard.batch_size for shard in shards] == world_size * [expected]
    seen = np.concatenate([shard.indices(0) for shard in shards])
    assert len(seen) == len(set(seen)) == expected


def test_more_processes_than_records_share_them(tiny_packed: PackedSet):
    few = RecordReader(tiny_packed.subset("test"), "disk", CPU)  # 4 records
    shards = [BatchStream(few, 6, 0, 0, Shard(rank, 6)) for rank in range(6)]
    seen = [shard.indices(step) for step in (0, 1) for shard in shards]
    assert all(len(part) == 1 for part in seen)
    assert set(np.concatenate(seen)) == {0, 1, 2, 3}


@pytest.mark.parametrize("subset", ["train", "unpaired_images", "unpaired_masks"])
def test_residency_does_not_change_the_records(tiny_packed: PackedSet, subset: str):
    on_disk, resident = (RecordReader(tiny_packed.subset(subset), where, CPU) for where in ("disk", "device"))
    assert resident.resident is not None and on_disk.resident is None
    for indices in (np.array([3, 0, 3]), np.arange(8)[1::3]):
        assert torch.equal(on_disk.read(indices), resident.read(indices))


def test_a_resident_batch_may_be_written_to(tiny_packed: PackedSet):
    reader = RecordReader(tiny_packed.subset("train"), "device", CPU)
    before = reader.read(np.array([0]))
    reader.read(np.array([0])).zero_()
    assert torch.equal(reader.read(np.array([0])), before)


def test_refuses_an_empty_subset(tiny_packed: PackedSet):
    subset = tiny_packed.subset("train")
    empty = dataclasses.replace(subset, index=subset.index.take(np.arange(0)))
    with pytest.raises(InvalidInput, match="no records in 'train'"):
        RecordReader(empty, "disk", CPU)


def test_refuses_an_unknown_residency(tiny_packed: PackedSet):
    with pytest.raises(InvalidInput, match="data_residency is 'memory'"):
        RecordReader(tiny_packed.subset("train"), "memory", CPU)


def test_refuses_a_batch_that_cannot_be_shared_out(reader: RecordReader):
    with pytest.raises(InvalidInput, match="batch_size 5 cannot be divided among 2"):
        BatchStream(reader, 5, 0, 0, Shard(0, 2))


def test_an_error_in_reading_reaches_the_training(reader: RecordReader, monkeypatch: pytest.MonkeyPatch):
    def broken(indices):
        raise InvalidInput("record 3 is missing")

    monkeypatch.setattr(reader, "read", broken)
    with pytest.raises(InvalidInput, match="record 3"):
        next(BatchStream(reader, 4, 0, 0, ALONE).batches(0, 5))


def test_generators_of_different_keys_differ():
    keys = [(0, 0, 0), (0, 0, 1), (0, 1, 0), (1, 0, 0), (2**32, 0, 0), (0, 0, 0, 1)]
    draws = [torch.randint(0, 2**62, (1,), generator=seeded_generator(*key)).item() for key in keys]
    assert len(set(draws)) == len(keys)
    assert torch.equal(torch.rand(3, generator=seeded_generator(5, 6)), torch.rand(3, generator=seeded_generator(5, 6)))
