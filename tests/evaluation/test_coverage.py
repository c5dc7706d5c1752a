"""What of a subset can be judged, said before anything is trained."""

from pathlib import Path

import numpy as np
import pytest
import torch

from hands.errors import InvalidInput
from hands.evaluation.coverage import coverage, judged_hands, require_judged, require_parts, unscored
from hands.evaluation.metrics import HandsIoU, confusion_matrices, overlap_confusion
from hands.packed.augment import centre
from hands.packed.packed_set import PackedSet, PackedSubset
from hands.packed.packed_writer import PackedWriter
from hands.parts import HAND_TYPES, PART_NAMES
from hands.raw.provenance import UNKNOWN
from tests.packed.blobs import CHANNELS

SIZE, SIDE, MARGIN = 64, 80, 8  # a part is judged from 5 pixels on: 20 at 128
LEFT, RIGHT, BOTH = HAND_TYPES

Frame = tuple[str, int, int, int]  # hand type, pixels of the left hand's part, of the right hand's, columns between them


def labels_of(frame: Frame) -> np.ndarray:
    _, left, right, apart = frame
    labels = np.zeros((2, SIDE, SIDE), np.uint8)
    labels[0, MARGIN, MARGIN : MARGIN + left] = 3
    labels[1, MARGIN, MARGIN + apart : MARGIN + apart + right] = 16
    return labels


def subset_of(frames: list[Frame], folder: Path, name: str = "val") -> PackedSubset:
    folder.mkdir(exist_ok=True)
    with PackedWriter(folder, SIZE, CHANNELS) as writer:
        for position, frame in enumerate(frames):
            record = np.concatenate([np.zeros((3, SIDE, SIDE), np.uint8), labels_of(frame)])
            writer.add(name, position, frame[0], f"val/{position}", record)
        counts = dict.fromkeys(CHANNELS, 0) | {name: len(frames)}
        writer.finish("bgr", "0" * 32, counts, {subset: {} for subset in CHANNELS}, (UNKNOWN,))
    return PackedSet.open(folder).subset(name)


ALL = [(LEFT, 9, 0, 0), (RIGHT, 0, 9, 0), (BOTH, 9, 9, 4)]
CASES = {
    "everything": (ALL, set()),
    "no part is large enough": ([(LEFT, 4, 0, 0), (BOTH, 4, 4, 2)], {"miou"}),
    "background": ([(LEFT, 0, 0, 0), (BOTH, 0, 0, 0)], {"miou", "miou_overlap", "miou_dataset_l", "miou_dataset_r"}),
    "left hands alone": ([(LEFT, 9, 0, 0)] * 2, {"miou_interacting", "miou_overlap", "miou_dataset_r"}),
    "hands apart": ([(RIGHT, 0, 9, 0), (BOTH, 9, 9, 20)], {"miou_overlap"}),
    "interacting alone": ([(BOTH, 9, 9, 4)] * 3, {"miou_single", "absent_hand"}),
    "singles with specks alone": ([(LEFT, 4, 0, 0), (BOTH, 9, 9, 4)], {"miou_single"}),
}


@pytest.mark.parametrize("case", CASES)
def test_what_cannot_be_scored_is_what_a_perfect_prediction_gets_no_score_for(tmp_path: Path, case: str):
    frames, expected = CASES[case]
    subset = subset_of(frames, tmp_path)
    assert set(unscored(subset)) == expected
    labels = centre(subset.read(np.arange(len(subset)), None), SIZE)[1]
    metric = HandsIoU(SIZE)
    metric.update(confusion_matrices(labels, labels), overlap_confusion(labels, labels), torch.from_numpy(subset.hand_types))
    without = {name for name, value in metric.scores().values.items() if np.isnan(value) and not name.startswith("iou/")}
    if "miou" in expected:  # which stands for those it is the mean of
        without -= {"miou_single", "miou_interacting", "miou_dataset"}
    assert without == expected


def test_a_hand_is_judged_from_5_pixels_of_a_part_on(tmp_path: Path):
    subset = subset_of([(BOTH, 5, 4, 9), (LEFT, 4, 0, 0), (RIGHT, 0, 6, 0)], tmp_path)
    assert judged_hands(subset).tolist() == [[True, False], [False, False], [False, True]]


def test_in_how_many_pictures(tmp_path: Path):
    subset = subset_of([(LEFT, 0, 0, 0)] * 7 + [(LEFT, 5, 0, 0)], tmp_path)
    assert coverage(subset) == [
        "val: 1 of 8 pictures can be judged (a part of at least 5 pixels)",
        "val/miou_interacting cannot be scored: no picture of interacting hands has a part that is judged",
        "val/miou_overlap cannot be scored: no pixel belongs to both hands",
        "val/miou_dataset_r cannot be scored: no picture has a right hand",
        f"val: no picture shows {', '.join(PART_NAMES[1:3] + PART_NAMES[4:])}; nothing is said of how well they are found",
    ]
    require_judged(subset)


def test_empty_and_unlabelled_subsets(tmp_path: Path, tiny_packed: PackedSet):
    subset_of(ALL, tmp_path)
    packed = PackedSet.open(tmp_path)
    assert coverage(packed.subset("test")) == ["test: empty"]
    assert coverage(packed.subset("unpaired_masks")) == ["unpaired_masks: empty"]
    assert coverage(tiny_packed.subset("unpaired_images")) == coverage(tiny_packed.subset("unpaired_masks")) == []


@pytest.mark.parametrize("frames", [CASES["no part is large enough"][0], CASES["background"][0]])
def test_a_split_without_a_judged_part_is_refused(tmp_path: Path, frames: list[Frame]):
    subset = subset_of(frames, tmp_path)
    with pytest.raises(InvalidInput, match="'val' has 2 pictures, and in none of them a part of at least 5 pixels"):
        require_judged(subset)


def test_pairs_without_a_part_are_refused_specks_teach(tmp_path: Path):
    background = subset_of(CASES["background"][0], tmp_path / "background", "train")
    with pytest.raises(InvalidInput, match="'train' has 2 pictures, and no part of a hand is labelled in any"):
        require_parts(background)
    require_parts(subset_of(CASES["no part is large enough"][0], tmp_path / "specks", "train"))


@pytest.mark.parametrize(("name", "said"), [("test", "'test' of the packed set is empty"), ("unpaired_images", "is empty")])
def test_empty_splits_are_refused(tmp_path: Path, name: str, said: str):
    subset_of(ALL, tmp_path)
    for require in (require_judged, require_parts):
        with pytest.raises(InvalidInput, match=said):
            require(PackedSet.open(tmp_path).subset(name))


def test_pictures_without_labels_are_refused(tiny_packed: PackedSet):
    with pytest.raises(InvalidInput, match="'unpaired_images' cannot be scored: it has no pictures with labels"):
        require_judged(tiny_packed.subset("unpaired_images"))


def test_a_hand_that_is_nowhere_has_no_score_whatever_is_painted():
    labels = torch.zeros(1, 2, SIZE, SIZE, dtype=torch.uint8)
    labels[0, 0, 0, :9] = 3
    predicted = labels.clone()
    predicted[0, 1, 5, :30] = 7
    metric = HandsIoU(SIZE)
    metric.update(confusion_matrices(predicted, labels), overlap_confusion(predicted, labels), torch.tensor([0]))
    values = metric.scores().values
    assert values["miou_dataset_l"] == 1 and np.isnan(values["miou_dataset_r"])
    assert values["miou_dataset"] == 0.5  # the painted part of the hand that is not there counts against it here
