"""Part ids against the published table, and that the constants fit together."""

import numpy as np
import pytest

from hands.errors import InvalidInput
from hands.parts import (
    BONE_PARTS,
    FINGER_PARTS,
    FINGERS,
    HANDS,
    JOINT_NAMES,
    LEFT_LABEL_OFFSET,
    NUM_CHANNELS,
    NUM_CLASSES,
    NUM_JOINTS,
    PALM_IDS,
    PART_COLOURS,
    PART_NAMES,
    WRIST,
    check_size,
)

PUBLISHED = {
    1: "ring proximal", 5: "middle distal", 9: "palm and wrist", 13: "thumb distal",
    2: "index middle", 6: "ring distal", 10: "thumb middle", 14: "pinky middle",
    3: "pinky proximal", 7: "pinky distal", 11: "index proximal", 15: "middle middle",
    4: "middle proximal", 8: "thumb base", 12: "index distal", 16: "ring middle",
}  # fmt: skip


def test_names_are_the_published_ones():
    assert dict(enumerate(PART_NAMES)) == PUBLISHED | {0: "background"}


def test_numbers_fit_together():
    assert (NUM_CLASSES, NUM_CHANNELS, LEFT_LABEL_OFFSET) == (17, 34, 16)
    assert NUM_CHANNELS == len(HANDS) * NUM_CLASSES and HANDS == ("left", "right")


def test_colours_tell_the_parts_apart():
    assert PART_COLOURS.shape == (17, 3) and PART_COLOURS.dtype == np.uint8
    assert not PART_COLOURS[0].any()
    distances = np.abs(PART_COLOURS[:, None].astype(int) - PART_COLOURS).sum(2)
    assert distances[~np.eye(17, dtype=bool)].min() >= 20


def test_each_bone_is_its_parts():
    """A bone from joint 2 to 1 of the index finger, say, is its middle part; all bones from the wrist are the palm."""
    assert len(JOINT_NAMES) == NUM_JOINTS and JOINT_NAMES[WRIST] == "wrist"
    assert len(BONE_PARTS) == NUM_JOINTS - 1
    assert sorted(child for _, child in BONE_PARTS) == list(range(WRIST))
    segments = {1: "distal", 2: "middle", 3: "proximal"}
    for (parent, child), part in BONE_PARTS.items():
        if parent == WRIST:
            assert part == 9 and JOINT_NAMES[child].endswith(" 1")
            continue
        assert parent == child + 1
        finger = FINGERS[child // 4]
        segment = "base" if finger == "thumb" and child % 4 == 2 else segments[child % 4 + 1]
        assert PART_NAMES[part] == f"{finger} {segment}"
        assert FINGER_PARTS[finger][3 - child % 4 - 1] == part
    assert PALM_IDS == (8, 9)


@pytest.mark.parametrize("size", [32, 64, 96, 1024])
def test_sizes_that_every_network_takes(size):
    check_size(size)


@pytest.mark.parametrize(
    ("size", "near"),
    [(100, "96 or 128"), (48, "32 or 64"), (17, "32 or 64"), (0, "32 or 64"), (1056, "992 or 1024"), (1000, "992 or 1024")],
)
def test_other_sizes_are_refused_with_those_beside_them(size, near):
    with pytest.raises(InvalidInput) as refused:
        check_size(size)
    assert str(refused.value) == f"size is {size}; expected a multiple of 32 from 32 to 1024, such as {near}."
