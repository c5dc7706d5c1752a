import numpy as np
import pytest

from hands.parts import BONE_PARTS, WRIST
from hands.synthetic.poses import GESTURES, LEVELS, sample_articulation, sample_orientation
from hands.synthetic.skeleton import (
    FINGER_LIMITS,
    PHALANGES,
    THUMB_LIMITS,
    WRIST_LIMITS,
    Articulation,
    axis_rotation,
    clip_to_limits,
    forward_kinematics,
    mean_shape,
    sample_shape,
)

STRAIGHT = Articulation(fingers=np.zeros((4, 4)), thumb=np.array((40.0, 20, 0, 0)), wrist=np.zeros(2))


def within(values, limits):
    return ((values >= limits[..., 0] - 1e-9) & (values <= limits[..., 1] + 1e-9)).all()


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("narrow", [False, True])
def test_sampled_poses_respect_the_limits(level, narrow):
    rng = np.random.default_rng(0)
    for _ in range(200):
        _, articulation = sample_articulation(level, narrow, rng)
        assert within(articulation.fingers, FINGER_LIMITS)
        assert within(articulation.thumb, THUMB_LIMITS)
        assert within(articulation.wrist, WRIST_LIMITS)


def test_clipping_holds_an_impossible_pose_and_closes_the_spread_of_a_fist():
    impossible = Articulation(fingers=np.full((4, 4), 300.0), thumb=np.full(4, -300.0), wrist=np.full(2, 300.0))
    clipped = clip_to_limits(impossible)
    np.testing.assert_array_equal(clipped.fingers[:, 1:], FINGER_LIMITS[:, 1:, 1])
    np.testing.assert_array_equal(clipped.thumb, THUMB_LIMITS[:, 0])
    assert (clipped.fingers[:, 0] < 1).all()


def test_rotation_by_hand():
    np.testing.assert_allclose(axis_rotation((0, 0, 1.0), 90) @ (1, 0, 0), (0, 1, 0), atol=1e-12)
    np.testing.assert_allclose(axis_rotation((1.0, 0, 0), -90) @ (0, 1, 0), (0, 0, -1), atol=1e-12)


def test_index_bent_at_a_right_angle_points_out_of_the_palm():
    bent = np.zeros((4, 4))
    bent[0, 1] = 90
    joints, _ = forward_kinematics(mean_shape(), Articulation(bent, STRAIGHT.thumb, STRAIGHT.wrist))
    tip, base = joints[4], joints[7]
    np.testing.assert_allclose(tip - base, (0, 0, -PHALANGES[0].sum()), atol=1e-9)


def test_bone_lengths_are_the_subjects_whatever_the_pose():
    shape = sample_shape(np.random.default_rng(3))
    rng = np.random.default_rng(4)
    lengths = []
    for _ in range(2):
        joints, forearm = forward_kinematics(shape, sample_articulation(3, False, rng)[1])
        lengths.append([np.linalg.norm(joints[child] - joints[parent]) for parent, child in BONE_PARTS])
        assert np.linalg.norm(forearm) == pytest.approx(1)
    np.testing.assert_allclose(lengths[0], lengths[1])
    assert (joints[WRIST] == 0).all()


def test_narrow_poses_are_fewer():
    rng = np.random.default_rng(0)
    narrow = {sample_articulation(2, True, rng)[0] for _ in range(200)}
    wide = {sample_articulation(2, False, rng)[0] for _ in range(200)}
    assert narrow < {f"{a}_{b}" for a in GESTURES for b in GESTURES}
    assert "free" in wide and len(narrow) < len(wide)


def test_level_1_shows_the_back_of_upright_hands():
    rng = np.random.default_rng(0)
    for _ in range(100):
        rotation = sample_orientation(1, rng)
        np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-12)
        assert np.linalg.det(rotation) == pytest.approx(1)
        assert rotation[1, 1] < -0.7  # fingers up: y is down in the picture
        assert rotation[2, 2] < -0.7  # the back towards the camera
