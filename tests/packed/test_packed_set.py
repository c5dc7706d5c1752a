"""The packed set: what is written is what is read, whatever process or thread reads."""

import multiprocessing
import os
import pickle
import random
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch

from hands.errors import InvalidInput
from hands.packed.manifest import SUBSET_CHANNELS, record_side
from hands.packed.mini import mini_positions
from hands.packed.packed_set import PackedSet
from hands.packed.packed_writer import PackedWriter, count_classes
from hands.processes.folders import whole_folder
from hands.raw.provenance import UNKNOWN
from tests.packed.made_records import CHANNELS, COUNTS, SIDE, SIZE, a_record, write_packed
from tests.project import forked


def test_every_record_comes_back(packed_folder: Path):
    packed = PackedSet.open(packed_folder)
    for code, name in enumerate(CHANNELS):
        subset = packed.subset(name)
        assert (len(subset), subset.channels, subset.side, subset.size) == (COUNTS[name], CHANNELS[name], SIDE, SIZE)
        order = list(range(COUNTS[name]))[::-1]
        batch = subset.read(order, None)
        for row, position in zip(batch, order, strict=True):
            assert np.array_equal(row.numpy(), a_record(CHANNELS[name], 10000 * code + position))
        assert subset.paths[1] == f"{name}/Capture0/seq/cam1/image1"
        assert subset.hand_types.tolist() == [position % 3 for position in range(COUNTS[name])]


def test_reads_into_the_given_tensor(packed_folder: Path):
    subset = PackedSet.open(packed_folder).subset("train")
    out = torch.full((2, 5, SIDE, SIDE), 255, dtype=torch.uint8)
    assert subset.read(np.array([6, 0]), out) is out
    assert np.array_equal(out[1].numpy(), a_record(5, 0))


@pytest.mark.parametrize(
    "out",
    [
        torch.empty(2, 5, SIDE, SIDE),
        torch.empty(1, 5, SIDE, SIDE, dtype=torch.uint8),
        torch.empty(2, SIDE, SIDE, 5, dtype=torch.uint8).permute(0, 3, 1, 2),
    ],
)
def test_refuses_an_unfit_out_tensor(packed_folder: Path, out: torch.Tensor):
    with pytest.raises(ValueError, match="contiguous uint8"):
        PackedSet.open(packed_folder).subset("train").read([0, 1], out)


@pytest.mark.parametrize("indices", [[7], [-1], [0, 99]])
def test_refuses_positions_outside(packed_folder: Path, indices: list[int]):
    with pytest.raises(IndexError, match="from 0 to 6"):
        PackedSet.open(packed_folder).subset("train").read(indices, None)


def test_an_empty_batch_is_empty(packed_folder: Path):
    assert PackedSet.open(packed_folder).subset("train").read([], None).shape == (0, 5, SIDE, SIDE)


def test_trainval_is_train_then_val(packed_folder: Path):
    packed = PackedSet.open(packed_folder)
    trainval = packed.subset("trainval")
    assert trainval.paths == packed.subset("train").paths + packed.subset("val").paths
    batch = trainval.read([8, 1], None)
    assert np.array_equal(batch[0].numpy(), a_record(5, 30001))
    assert np.array_equal(batch[1].numpy(), a_record(5, 1))


def test_mini_is_the_fixed_sample_of_the_list_even_where_entries_were_dropped(tmp_path: Path):
    skip = frozenset({3, 500, 1001})
    write_packed(tmp_path / "packed", {**COUNTS, "train": 1010}, skip)
    entries = [f"train/Capture0/seq/cam1/image{position}" for position in range(1010)]
    r = random.Random(1)
    r.randint(0, 100)
    expected = [path for path in r.sample(entries, 1000) if int(path.rpartition("image")[2]) not in skip]
    mini = PackedSet.open(tmp_path / "packed").subset("minitrain")
    assert mini.paths == expected
    first = int(expected[0].rpartition("image")[2])
    assert np.array_equal(mini.read([0], None)[0].numpy(), a_record(5, first))


def test_mini_positions_match_the_original_loader():
    entries = [f"entry {k}" for k in range(2345)]
    r = random.Random(1)
    r.randint(0, 100)
    assert [entries[k] for k in mini_positions(2345)] == r.sample(entries, 1000)
    assert mini_positions(1000) == list(range(1000))


def test_mini_of_a_small_list_is_all_of_it(packed_folder: Path):
    packed = PackedSet.open(packed_folder)
    assert packed.subset("minival").paths == packed.subset("val").paths


def test_class_pixels_count_the_central_crop(packed_folder: Path):
    expected = np.zeros((2, 17), np.int64)
    for position in range(COUNTS["val"]):
        for hand, labels in enumerate(a_record(5, 30000 + position)[3:]):
            values, counts = np.unique(labels[4:36, 4:36], return_counts=True)
            expected[hand, values] += counts
    manifest = PackedSet.open(packed_folder).manifest
    assert np.array_equal(manifest.subsets["val"].class_pixels, expected)
    assert manifest.subsets["unpaired_images"].class_pixels == ()


def test_count_classes_by_hand():
    labels = np.zeros((2, SIDE, SIDE), np.uint8)
    labels[0, 3, 1] = 4  # in the margin
    labels[0, 4, 4:7] = 4
    labels[1, 35, 35] = 16
    counts = count_classes(labels, SIZE)
    assert counts[0].tolist() == [1021, 0, 0, 0, 3] + [0] * 12
    assert counts[1].tolist() == [1023] + [0] * 15 + [1]


@pytest.mark.parametrize(("size", "side"), [(64, 80), (96, 120), (128, 160), (32, 40)])
def test_record_side(size: int, side: int):
    assert record_side(size) == side


@pytest.mark.parametrize("size", [0, 8, 48, 100, -32, 2048, 64.0])
def test_refuses_sizes_without_whole_margins(size):
    with pytest.raises(InvalidInput, match="multiple of 32 from 32 to 1024"):
        record_side(size)


def test_same_records_same_digest_other_records_another(tmp_path: Path):
    for name, counts in (("a", COUNTS), ("b", COUNTS), ("c", {**COUNTS, "val": 2})):
        write_packed(tmp_path / name, counts)
    digests = [PackedSet.open(tmp_path / name).manifest.digest for name in "abc"]
    assert digests[0] == digests[1] != digests[2]
    assert len(digests[0]) == 32


def _sum_in_child(subset, queue):
    torch.set_num_threads(1)  # after a fork the parent's threads are not here
    queue.put(int(subset.read(range(len(subset)), None).sum()))


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_a_subset_travels_to_another_process(packed_folder: Path, method: str):
    subset = PackedSet.open(packed_folder).subset("train")
    expected = int(subset.read(range(7), None).sum())  # the parent's handle is open by now
    context = multiprocessing.get_context(method)
    queue = context.Queue()
    child = context.Process(target=_sum_in_child, args=(subset, queue))
    child.start()
    assert queue.get(timeout=60) == expected
    child.join(60)
    assert child.exitcode == 0
    assert int(subset.read(range(7), None).sum()) == expected


def test_pickling_keeps_no_handle(packed_folder: Path):
    subset = PackedSet.open(packed_folder).subset("val")
    copy = pickle.loads(pickle.dumps(subset))
    assert torch.equal(copy.read([2], None), subset.read([2], None))


def test_threads_read_together(packed_folder: Path):
    def total(_: int) -> int:
        return int(PackedSet.open(packed_folder).subset("train").read(range(7), None).sum())

    with ThreadPoolExecutor(8) as threads:
        assert len(set(threads.map(total, range(32)))) == 1


def test_channels_of_subsets_are_as_declared():
    assert all(CHANNELS[name] in allowed for name, allowed in SUBSET_CHANNELS.items())


# whole or not at all


def test_refuses_an_occupied_destination_and_leaves_it_alone(packed_folder: Path):
    before = PackedSet.open(packed_folder).manifest
    with pytest.raises(InvalidInput, match="already holds files"):
        write_packed(packed_folder, COUNTS)
    assert PackedSet.open(packed_folder).manifest == before


def write_and_die(destination: Path) -> None:
    """SIGKILL once all is written but not yet in its place."""
    record, counts = a_record(5, 0), dict.fromkeys(CHANNELS, 0) | {"train": 5000}
    with whole_folder(destination) as partial, PackedWriter(partial, SIZE, CHANNELS) as writer:
        for position in range(counts["train"]):
            writer.add("train", position, "left", f"train/{position}", record)
        writer.finish("bgr", "5" * 32, counts, {name: {} for name in CHANNELS}, (UNKNOWN,))
        os.kill(os.getpid(), signal.SIGKILL)


def test_a_writer_killed_midway_leaves_nothing_that_passes_for_whole(packed_folder: Path):
    reader = PackedSet.open(packed_folder).subset("train")
    destination = packed_folder.parent / "killed"
    assert forked(lambda: write_and_die(destination)) == -signal.SIGKILL
    assert not destination.exists()
    assert np.array_equal(reader.read([3], None)[0].numpy(), a_record(5, 3))
    assert (destination.parent / f".{destination.name}.partial").exists()
    write_packed(destination, COUNTS)
    assert len(PackedSet.open(destination).subset("train")) == 7
    assert not (destination.parent / f".{destination.name}.partial").exists()


def test_a_failing_writer_cleans_up(tmp_path: Path):
    with (
        pytest.raises(RuntimeError),
        whole_folder(tmp_path / "set") as partial,
        PackedWriter(partial, SIZE, CHANNELS) as writer,
    ):
        writer.add("val", 0, "left", "val/x", a_record(5, 0))
        raise RuntimeError("midway")
    assert list(tmp_path.iterdir()) == []
