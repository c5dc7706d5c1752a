"""MANO: skinning by hand, rays against the z-buffer, and how fits are judged."""

import numpy as np
import pytest

from hands.interhand.labels import LabelSource, NoLabels, fit_error
from hands.interhand.mano import ManoModel, pose, rotation_matrices
from hands.interhand.mano_parts import annotated_joints, surface_of
from hands.interhand.release import Fit, Joints
from hands.synthetic.camera import Camera
from hands.synthetic.render import embree_scene, label_map, trace
from hands.synthetic.surface import Surface
from tests.interhand.made_mano import MIRROR, PARENTS, STILL, random_fit
from tests.synthetic.zbuffer import NO_FACE, face_map


def tiny(weights: np.ndarray, vertices: np.ndarray) -> ManoModel:
    """Joints 0 at the origin, 1 at (1, 0, 0), all others at (2, 0, 0); the first 16 vertices are the joints themselves."""
    joints = np.zeros((16, 3))
    joints[1, 0], joints[2:, 0] = 1, 2
    n = 16 + len(vertices)
    return ManoModel(
        vertices=np.vstack([joints, vertices]), shape_directions=np.zeros((n, 3, 10)), pose_directions=np.zeros((n, 3, 135)),
        joint_regressor=np.eye(16, n), weights=np.vstack([np.eye(16), weights]), parents=PARENTS,
        faces=np.zeros((0, 3), int), mean_pose=np.zeros(45),
    )  # fmt: skip


def turned(joint: int, axis_angle) -> Fit:
    full = np.zeros((16, 3))
    full[joint] = axis_angle
    return Fit(pose=full.ravel(), shape=np.zeros(10), translation=np.array((0.0, 0, 0.5)))


def test_skinning_by_hand():
    """A quarter turn about z at joint 1: what it holds wholly goes from (2, 0, 0) to (1, 1, 0), half held half way; then
    the translation, then millimetres."""
    weights = np.zeros((3, 16))
    weights[0, 1] = weights[1, 0] = 1
    weights[2, :2] = 0.5
    model = tiny(weights, np.array([(2.0, 0, 0)] * 3))
    posed = pose(model, turned(1, (0, 0, np.pi / 2)))
    np.testing.assert_allclose(posed.vertices[16:], [(1000, 1000, 500), (2000, 0, 500), (1500, 500, 500)], atol=1e-9)
    np.testing.assert_allclose(posed.joints[:3], [(0, 0, 500), (1000, 0, 500), (1000, 1000, 500)], atol=1e-9)
    root = pose(model, turned(0, (0, 0, np.pi / 2)))
    np.testing.assert_allclose(root.vertices[16:], [(0, 2000, 500)] * 3, atol=1e-9)


def test_shape_moves_joints_too_and_the_root_turns_about_its_own_joint():
    model = tiny(np.eye(1, 16), np.array([(3.0, 0, 0)]))
    model.shape_directions[:, 1, 4] = 0.1  # all up by 0.1 a unit
    fit = Fit(pose=turned(0, (0, 0, np.pi)).pose, shape=np.eye(10)[4] * 2, translation=np.zeros(3))
    posed = pose(model, fit)
    np.testing.assert_allclose(posed.vertices[16], (-3000, 200, 0), atol=1e-9)  # about (0, 0.2, 0), not the origin
    np.testing.assert_allclose(posed.joints[0], (0, 200, 0), atol=1e-9)


def test_pose_blend_shapes_and_mean_pose_by_hand():
    """Joint 1 turns by a quarter about z: rotation less identity has -1 at its first entry; the fit's pose is less the mean."""
    model = tiny(np.eye(1, 16), np.array([(0.0, 0, 0)]))
    model.pose_directions[16, 2, 0] = 0.25
    model.mean_pose[2] = np.pi / 2
    np.testing.assert_allclose(pose(model, STILL).vertices[16], (0, 0, -250), atol=1e-9)
    straight = pose(model, turned(1, (0, 0, -np.pi / 2)))
    np.testing.assert_allclose(straight.vertices[16], (0, 0, 500), atol=1e-9)


def test_rotations_by_hand():
    quarter, none = rotation_matrices(np.array([(np.pi / 2, 0, 0), (0, 0, 0)]))
    np.testing.assert_allclose(quarter @ (0, 1, 0), (0, 0, 1), atol=1e-12)
    np.testing.assert_array_equal(none, np.eye(3))


def test_the_left_hand_is_the_rights_mirror_image(models, parts):
    right = surface_of(pose(models["right"], random_fit(3, "right")), parts["right"])
    left = surface_of(pose(models["left"], random_fit(3, "left")), parts["left"])
    np.testing.assert_allclose(left.vertices, right.vertices * MIRROR, atol=1e-6)
    np.testing.assert_array_equal(left.face_parts, right.face_parts)
    assert set(map(frozenset, left.faces.tolist())) == set(map(frozenset, right.faces.tolist()))


@pytest.mark.parametrize("hand", ["left", "right"])
def test_rays_and_z_buffer_see_the_same_faces(models, parts, hand):
    surface = surface_of(pose(models[hand], random_fit(1, hand)), parts[hand])
    vertices = surface.vertices - surface.vertices.mean(axis=0) + (0, 0, 900)
    camera = Camera(width=120, height=140, focal=520.0, centre_x=60.3, centre_y=70.1)
    hits = trace(embree_scene(vertices, surface.faces), vertices, camera)
    rays = np.full((camera.height, camera.width), NO_FACE)
    rays[hits.rows, hits.columns] = hits.faces
    oracle = face_map(vertices, surface.faces, camera)
    assert (oracle != NO_FACE).sum() > 2000
    assert (rays != oracle).mean() < 5e-4  # rounding on edges
    labels = label_map(Surface(vertices, surface.faces, surface.face_parts), camera)
    expected = np.where(oracle == NO_FACE, 0, surface.face_parts[oracle])
    assert (labels != expected).mean() < 5e-4


def test_fits_are_judged_by_their_mean_joint_error(models, parts, mano_dir):
    fit = random_fit(2, "right")
    joints = annotated_joints(pose(models["right"], fit), parts["right"])
    world = np.zeros((42, 3))
    world[:21] = joints + (0, 3.0, 4.0)
    valid = np.arange(42) < 21
    assert fit_error(joints, world[:21], valid[:21]) == pytest.approx(5)
    annotated = Joints(world=world, valid=valid)
    assert LabelSource("mano", str(mano_dir), 5.1).surface("right", annotated, fit).faces.shape == (1554, 3)
    with pytest.raises(NoLabels, match="max_fit_error_mm"):
        LabelSource("mano", str(mano_dir), 4.9).surface("right", annotated, fit)
    with pytest.raises(NoLabels, match="no MANO fit"):
        LabelSource("mano", str(mano_dir), 4.9).surface("right", annotated, None)
    with pytest.raises(NoLabels, match="no valid joint"):
        LabelSource("mano", str(mano_dir), 4.9).surface("left", annotated, fit)
    world[5] += 1000  # not valid, so it does not count
    valid[5] = False
    assert LabelSource("mano", str(mano_dir), 5.1).surface("right", annotated, fit) is not None
