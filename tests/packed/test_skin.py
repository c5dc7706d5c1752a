"""Red and blue in the wrong order are noticed by the skin under the labels; grey pictures and missing labels say nothing."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hands.packed.manifest import Manifest, SubsetManifest, record_side
from hands.packed.packed_writer import PackedWriter
from hands.packed.prepare import PackConfig, pack
from hands.packed.skin import red_above_blue, swapped_channels
from hands.parts import IGNORED
from hands.raw.layout import RawDataset
from hands.raw.layout_writer import RawDatasetWriter
from hands.raw.provenance import UNKNOWN
from hands.synthetic.dataset import SynthesisConfig, frames

SIZE, SIDE = 32, 40
SKIN, SKY = (180, 120, 90), (90, 120, 180)


def a_record(hand: tuple[int, int, int], around: tuple[int, int, int]) -> np.ndarray:
    """A square left hand of one colour before another."""
    record = np.zeros((5, SIDE, SIDE), np.uint8)
    record[:3] = np.array(around).reshape(3, 1, 1)
    record[3, 10:20, 10:20] = 9
    record[:3, 10:20, 10:20] = np.array(hand).reshape(3, 1, 1)
    return record


@pytest.mark.parametrize(("hand", "around", "expected"), [
    (SKIN, SKY, True), (SKY, SKIN, False), (SKIN[::-1], SKIN, False),
    ((100, 100, 100), SKIN, None), ((100, 90, 101), SKIN, None), ((40, 30, 28), SKY, True),
])  # fmt: skip
def test_the_skin_under_the_labels_tells(hand, around, expected):
    assert red_above_blue(a_record(hand, around), SIZE) is expected


def test_either_hand_tells_but_no_ignored_pixel_and_nothing_in_the_margin():
    record = a_record(SKIN, SKY)
    record[4], record[3] = record[3], 0
    assert red_above_blue(record, SIZE) is True
    record[3] = IGNORED
    assert red_above_blue(record, SIZE) is True
    record[4] = 0
    assert red_above_blue(record, SIZE) is None
    record[3] = 0
    record[3, :4], record[3, :, 36:] = 9, 9
    assert red_above_blue(record, SIZE) is None


def a_manifest(*counts: tuple[int, int], channel_order: str = "bgr") -> Manifest:
    subsets = {
        str(i): SubsetManifest(100, 100, 5, (), {}, colour_pictures=colour, red_above_blue=red)
        for i, (colour, red) in enumerate(counts)
    }
    return Manifest(2, SIZE, SIDE, 4, channel_order, "0", "0", subsets, (UNKNOWN,))


@pytest.mark.parametrize("counts", [[], [(0, 0)], [(10, 10)], [(10, 5)], [(10, 0), (20, 20)]])
def test_nothing_is_said_of_skins_that_are_red_or_of_none(counts):
    assert swapped_channels(a_manifest(*counts)) is None


@pytest.mark.parametrize(("order", "other"), [("bgr", "rgb"), ("rgb", "bgr")])
def test_the_figures_and_what_to_pass_are_said(order: str, other: str):
    said = swapped_channels(a_manifest((12, 3), (8, 1), channel_order=order))
    assert "only 4 of 20 colour pictures" in said
    assert f"read with channel_order={order}" in said and said.endswith(f"channel_order={other}.")


def test_a_writer_counts_labelled_pictures_alone(tmp_path: Path):
    channels = {"train": 5, "unpaired_images": 3, "val": 5}
    assert record_side(SIZE) == SIDE
    with PackedWriter(tmp_path, SIZE, channels) as writer:
        for position, hand in enumerate((SKIN, SKIN, SKY, (7, 7, 7))):
            writer.add("train", position, "left", f"train/{position}", a_record(hand, (0, 0, 0)))
        writer.add("unpaired_images", 0, "left", "train/9", a_record(SKY, SKY)[:3])
        listed = {"train": 4, "unpaired_images": 1, "val": 0}
        manifest = writer.finish("bgr", "0", listed, {name: {} for name in channels}, (UNKNOWN,))
    found = {name: (subset.colour_pictures, subset.red_above_blue) for name, subset in manifest.subsets.items()}
    assert found == {"train": (3, 2), "unpaired_images": (0, 0), "val": (0, 0)}


@pytest.fixture(scope="module", params=[1, 2, 3], ids="level {}".format)
def synthetic_set(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("synthetic") / "raw"
    config = SynthesisConfig(
        seed=5 + request.param, level=request.param, width=64, height=96, paired=12, unpaired_images=0, unpaired_masks=0, val=4,
        test=0, paired_subjects=2, unpaired_subjects=2, eval_subjects=1, workers=1,
    )  # fmt: skip
    with RawDatasetWriter(folder) as writer:
        for frame in frames(config):
            writer.add_frame(frame)
    return folder


def test_synthetic_skins_tell_the_right_order_from_the_wrong_one(synthetic_set: Path, tmp_path: Path):
    config = PackConfig(size=32, max_broken=0.0, workers=1)
    right, wrong = (pack(RawDataset(synthetic_set, order), tmp_path / order, config) for order in ("bgr", "rgb"))
    colour = sum(subset.colour_pictures for subset in right.subsets.values())
    assert 0 < colour < 16  # some cameras are grey
    assert sum(subset.red_above_blue for subset in right.subsets.values()) == colour
    assert swapped_channels(right) is None
    assert f"only 0 of {colour} colour pictures" in swapped_channels(wrong)
    assert all(replace(subset, red_above_blue=0) == replace(wrong.subsets[name], red_above_blue=0)
               for name, subset in right.subsets.items())  # fmt: skip
