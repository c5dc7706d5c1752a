"""A split's labels at the size of the pictures that its crops were cut from."""

from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from hands.errors import InvalidInput
from hands.packed.batches import RecordReader
from hands.packed.packed_set import PackedSet
from hands.packed.places import read_places
from hands.packed.prepare import PackConfig, pack
from hands.prediction.predictions import predict_split
from hands.raw.layout import RawDataset
from tests.raw.independent_layout import small_set


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> tuple[RawDataset, PackedSet]:
    folder = tmp_path_factory.mktemp("splits")
    counts = {"train": 3, "unpaired_images": 1, "unpaired_masks": 2, "val": 3, "test": 2}
    raw = RawDataset(small_set(counts, 40, 30).write(folder / "raw"), "bgr")
    pack(raw, folder / "packed", PackConfig(32, 0, 1))
    return raw, PackedSet.open(folder / "packed")


@pytest.mark.parametrize("name", ["train", "val", "test", "minival", "trainval"])
def test_places_are_the_lists_boxes_and_the_pictures_sizes(packed, name: str):
    raw, packed_set = packed
    entries = {entry.path: entry for split in ("train", "val", "test") for entry in raw.entries(split)}
    subset = packed_set.subset(name)
    expected = [(entries[path].box, raw.pictures.image(entries[path]).shape[:2]) for path in subset.paths]
    assert read_places(subset) == expected and {(40, 30), (30, 40)} >= {shape for _, shape in expected}


def test_labels_alone_have_no_place(packed):
    assert read_places(packed[1].subset("unpaired_masks")) is None


class Disc(torch.nn.Module):
    """Sees the left hand's part 9 in the middle quarter of every crop."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits = torch.zeros(len(images), 34, *images.shape[2:])
        logits[:, [0, 17]] = 5
        side = images.shape[-1]
        logits[:, 9, side // 4 : 3 * side // 4, side // 4 : 3 * side // 4] = 10
        return logits


def test_labels_lie_where_the_box_is(packed, tmp_path: Path):
    subset = packed[1].subset("val")
    predict_split(Disc(), RecordReader(subset, "disk", torch.device("cpu")), nullcontext, 2, str(tmp_path / "out"))
    for path, (box, shape) in zip(subset.paths, read_places(subset), strict=True):
        crop, full = (
            np.asarray(Image.open(tmp_path / "out" / folder / "labels" / f"{path}__l.png")) for folder in ("", "pictures")
        )
        assert crop.shape == (32, 32) and full.shape == shape
        x, y, w, h = box
        rows, columns = np.mgrid[: shape[0], : shape[1]]
        inside = (abs(columns - x - w * 15.5 / 32) < w / 4) & (abs(rows - y - h * 15.5 / 32) < h / 4)
        assert np.mean((full == 9) == inside) > 0.95 and (full == 9).any()


def test_damaged_places_are_refused(tmp_path: Path):
    raw = RawDataset(small_set({"train": 1, "unpaired_images": 1, "unpaired_masks": 1, "val": 2, "test": 1}, 12, 9).write(
        tmp_path / "raw"), "bgr")  # fmt: skip
    pack(raw, tmp_path / "packed", PackConfig(32, 0, 1))
    subset, file = PackedSet.open(tmp_path / "packed").subset("val"), tmp_path / "packed" / "index" / "val.places.npy"
    whole = file.read_bytes()
    for damaged in (b"", whole[:-60], whole[:60], b"x" * 200):
        file.write_bytes(damaged)
        with pytest.raises(InvalidInput, match="damaged"):
            read_places(subset)
    np.save(file, np.full((2, 6), np.nan))
    with pytest.raises(InvalidInput, match="damaged"):
        read_places(subset)
