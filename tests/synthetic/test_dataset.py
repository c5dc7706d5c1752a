import dataclasses
import re

import numpy as np
import pytest
import torch
from torchvision.io import decode_image

from hands.errors import InvalidInput
from hands.synthetic.dataset import CAMERAS, SynthesisConfig, frames, plan, stored_labels

CONFIG = SynthesisConfig(
    seed=7,
    level=1,
    width=84,
    height=128,
    paired=6,
    unpaired_images=6,
    unpaired_masks=3,
    val=3,
    test=2,
    paired_subjects=1,
    unpaired_subjects=2,
    eval_subjects=1,
    workers=2,
)


@pytest.fixture(scope="module")
def made():
    return list(frames(CONFIG))


def decode(data):
    return decode_image(torch.frombuffer(bytearray(data), dtype=torch.uint8)).numpy()


def test_same_seed_same_bytes_with_one_and_two_workers(made):
    again = list(frames(dataclasses.replace(CONFIG, workers=1)))
    assert len(again) == len(made) == 20
    for one, other in zip(again, made, strict=True):
        first, second = dataclasses.asdict(one), dataclasses.asdict(other)
        np.testing.assert_array_equal(first.pop("bbox"), second.pop("bbox"))
        assert first == second


def test_roles_come_in_order_and_hold_what_they_should(made):
    roles = [frame.role for frame in made]
    assert roles == ["paired"] * 6 + ["unpaired_image"] * 6 + ["unpaired_masks"] * 3 + ["val"] * 3 + ["test"] * 2
    for frame in made:
        assert (frame.image is None) == (frame.role == "unpaired_masks")
        assert (frame.labels_l is None) == (frame.labels_r is None) == (frame.role == "unpaired_image")


def test_paths_are_the_releases_and_unique(made):
    assert len({frame.path for frame in made}) == len(made)
    for frame in made:
        assert re.fullmatch(r"(train|val|test)/Capture\d+/\d{4}_[a-z_]+/cam4[01]\d{4}/image\d+", frame.path)
        assert frame.path == f"{frame.split}/Capture{frame.capture}/{frame.seq_name}/cam{frame.cam}/image{frame.frame}"
        assert frame.bbox.dtype == np.float32 and frame.bbox.shape == (4,)
        assert frame.hand_type_valid == 1


def test_frames_encode_as_documented(made):
    for frame in made:
        shapes = set()
        if frame.image is not None:
            shapes.add(decode(frame.image).shape[1:])
        if frame.labels_l is not None:
            left, right = decode(frame.labels_l), decode(frame.labels_r)
            shapes |= {left.shape[1:], right.shape[1:]}
            for labels, allowed in ((left, range(17, 33)), (right, range(1, 17))):
                assert (labels == labels[:1]).all() and len(labels) == 3
                assert set(np.unique(labels)) <= {0, *allowed}
            assert left.any() == (frame.hand_type != "right")
            assert right.any() == (frame.hand_type != "left")
        assert shapes <= {(128, 84), (84, 128)} and len(shapes) == 1


def test_left_parts_are_stored_from_17():
    stored = decode(stored_labels(np.array([[0, 1, 16]], dtype=np.uint8), 16))
    np.testing.assert_array_equal(stored, np.broadcast_to([[0, 17, 32]], (3, 1, 3)))


def test_subjects_and_cameras_of_the_splits_are_disjoint(made):
    jobs = plan(dataclasses.replace(CONFIG, paired=50, unpaired_images=50, val=50, test=50, eval_subjects=3))
    subjects = {split: {job.subject for job in jobs if job.split == split} for split in CAMERAS}
    cameras = {split: set(CAMERAS[split]) for split in CAMERAS}
    for sets in (subjects, cameras):
        assert not (sets["train"] & sets["val"] or sets["train"] & sets["test"] or sets["val"] & sets["test"])
    assert subjects["train"] == {0, 1} and {job.subject for job in jobs if job.role == "paired"} == {0}
    for frame in made:
        assert int(frame.cam) % 10_000 in CAMERAS[frame.split]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"seed": -1}, "seed is -1"),
        ({"level": 4}, "level is 4"),
        ({"width": 8}, "8x128"),
        ({"paired": -2}, "paired is -2"),
        ({"workers": 0}, "workers is 0"),
        ({"paired_subjects": 3}, "paired_subjects is 3"),
        ({"paired": 0, "unpaired_images": 0, "unpaired_masks": 0, "val": 0, "test": 0}, "No frame"),
    ],
)
def test_bad_configuration_is_refused_at_once(changes, words):
    with pytest.raises(InvalidInput, match=words):
        frames(dataclasses.replace(CONFIG, **changes))
