"""Which frames are taken, and which split each goes to: no subject is in two."""

import numpy as np
import pytest

from hands.errors import InvalidInput
from hands.interhand.frames import Frames
from hands.interhand.selection import Filters, select
from hands.interhand.splits import LEFT_OUT, PAIRED, TEST, UNPAIRED_IMAGE, UNPAIRED_MASKS, VAL, Shares, assign_roles

ALL = Filters(hand_type="", cameras="", captures="", subjects="", every=1, count=0)


def table(captures, subjects, frames, cameras) -> Frames:
    n = len(frames)
    return Frames(
        file_names=[f"{i}.jpg" for i in range(n)], widths=np.full(n, 10), heights=np.full(n, 10),
        captures=np.array(captures), subjects=np.array(subjects), frames=np.array(frames), sequences=np.zeros(n, int),
        cameras=np.array(cameras), sequence_names=["seq"], camera_names=["400001", "400002", "410003"],
        hand_types=np.arange(n) % 3, hand_types_valid=np.ones(n, bool), boxes=np.zeros((n, 4)), without_annotation=0,
    )  # fmt: skip


@pytest.fixture
def grid() -> Frames:
    """6 captures of 3 subjects, 10 moments each at frames 7, 10, ..., 2 cameras: 120 pictures."""
    capture, frame, camera = (axis.ravel() for axis in np.meshgrid(range(6), 7 + 3 * np.arange(10), range(2), indexing="ij"))
    return table(capture, capture // 2, frame, camera)


def test_filters_choose_what_they_name(grid):
    assert len(select(grid, ALL, 0)) == 120
    chosen = select(grid, Filters("left, right", "*1,41*", "0,5", "", 1, 0), 0)
    assert set(grid.captures[chosen]) == {0, 5}
    assert set(grid.cameras[chosen]) == {0}
    assert set(grid.hand_types[chosen]) == {0, 1}
    assert set(grid.subjects[select(grid, Filters("", "", "", "1", 1, 0), 0)]) == {1}


def test_every_counts_moments_and_keeps_all_their_cameras(grid):
    chosen = select(grid, Filters("", "", "2", "", 4, 0), 0)
    assert grid.frames[chosen].tolist() == [7, 7, 19, 19, 31, 31]


def test_count_is_seeded(grid):
    drawn = [select(grid, Filters("", "", "", "", 1, 30), seed).tolist() for seed in (0, 0, 1)]
    assert drawn[0] == drawn[1] != drawn[2]
    assert len(set(drawn[0])) == 30


@pytest.mark.parametrize("filters", [
    Filters("both", "", "", "", 1, 0), Filters("", "40001", "", "", 1, 0), Filters("", "", "6", "", 1, 0),
    Filters("", "", "", "x", 1, 0), Filters("", "", "0", "1", 1, 0),
])  # fmt: skip
def test_filters_that_name_nothing_are_refused(grid, filters):
    with pytest.raises(InvalidInput):
        select(grid, filters, 0)


@pytest.mark.parametrize("by", ["subject", "capture"])
@pytest.mark.parametrize("seed", range(5))
def test_no_subject_is_in_two_splits_and_no_moment_in_two_roles(by, seed):
    """20 captures of 10 subjects, 2 moments each, 3 cameras."""
    capture, frame, camera = (axis.ravel() for axis in np.meshgrid(range(20), range(2), range(3), indexing="ij"))
    frames = table(capture, capture // 2, frame, camera)
    roles = assign_roles(frames, np.arange(120), Shares(by, 0.2, 0.1, 0.5, 0.4), seed)
    places = ((PAIRED, UNPAIRED_IMAGE, UNPAIRED_MASKS), (VAL,), (TEST,))
    train, val, test = (set(frames.subjects[np.isin(roles, roles_of)]) for roles_of in places)
    assert train and val and test
    assert not train & val and not train & test and not val & test
    for moment in range(40):
        assert len(set(roles[3 * moment : 3 * moment + 3])) == 1
    assert (roles == LEFT_OUT).any() == (len(train | val | test) < 10 or by == "capture")


def test_a_split_without_any_subject_of_its_own_is_refused():
    frames = table([0, 1], [0, 0], [0, 0], [0, 0])
    with pytest.raises(InvalidInput, match="no picture is left for train"):
        assign_roles(frames, np.arange(2), Shares("capture", 0.5, 0.0, 0.5, 0.5), 0)


def test_shares_of_train(grid):
    roles = assign_roles(grid, np.arange(120), Shares("subject", 0.0, 0.0, 0.25, 0.2), 0)
    assert np.bincount(roles, minlength=5).tolist() == [30, 72, 18, 0, 0]
    assert (assign_roles(grid, np.arange(120), Shares("subject", 0.0, 0.0, 0.25, 0.2), 1) != roles).any()
    assert set(assign_roles(grid, np.arange(120), Shares("subject", 1.0, 0.0, 0.25, 0.2), 0)) == {VAL}


def test_too_few_subjects_and_wrong_shares_are_refused(grid):
    one = np.flatnonzero(grid.subjects == 0)
    with pytest.raises(InvalidInput, match="1 subject, too few"):
        assign_roles(grid, one, Shares("subject", 0.1, 0.1, 0.5, 0.5), 0)
    with pytest.raises(InvalidInput, match="share of paired"):
        assign_roles(grid, one, Shares("subject", 0.0, 0.0, 1.5, 0.5), 0)
