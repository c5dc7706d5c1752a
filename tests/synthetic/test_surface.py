import json

import numpy as np
import pytest

from hands.parts import BONE_PARTS, NUM_PARTS, WRIST
from hands.synthetic.camera import Camera, project
from hands.synthetic.poses import sample_articulation, sample_orientation
from hands.synthetic.render import label_map
from hands.synthetic.skeleton import axis_rotation, forward_kinematics, mean_shape, sample_shape
from hands.synthetic.surface import BONES, bone_frames, palm_frame, surface_from_joints
from hands.synthetic.template import build_template, mean_template
from tests.real_frames import REAL_FRAMES, needs_real_frames

MIRROR = np.array((-1.0, 1, 1))


@pytest.fixture(scope="module")
def template():
    return mean_template()


@pytest.fixture(scope="module", params=[0, 1])
def subject(request):
    shape = sample_shape(np.random.default_rng(request.param))
    return shape, build_template(shape)


def edges_of(faces):
    return np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])


def volume(vertices, faces):
    a, b, c = (vertices[faces[:, i]] for i in range(3))
    return np.einsum("fi,fi->", a, np.cross(b, c)) / 6


def test_template_is_watertight_and_faces_look_outward(subject):
    _, template = subject
    edges = edges_of(template.faces)
    forward = {tuple(edge) for edge in edges}
    assert len(forward) == len(edges)
    assert forward == {(b, a) for a, b in forward}
    assert len(template.vertices) - len(edges) // 2 + len(template.faces) == 2  # one piece without handles
    assert volume(template.vertices, template.faces) > 0
    assert 2_000 <= len(template.faces) <= 9_000


def test_template_has_every_part_and_reaches_past_every_fingertip(subject):
    _, template = subject
    assert set(template.face_parts) == set(range(NUM_PARTS + 1))
    for finger in range(5):
        tip, third = template.joints[4 * finger : 4 * finger + 2]
        bone = (tip - third) / np.linalg.norm(tip - third)
        distal = template.vertices[template.faces[template.face_parts == BONE_PARTS[(4 * finger + 1, 4 * finger)]]]
        assert 0 < ((distal - tip) @ bone).max() < 8


def test_weights_sum_to_one(subject):
    _, template = subject
    np.testing.assert_allclose(template.weights.sum(axis=1), 1)
    assert (template.weights >= 0).all()


def test_own_joints_give_back_the_template(template):
    surface = surface_from_joints(template.joints, "right", template, template.forearm)
    np.testing.assert_allclose(surface.vertices, template.vertices, atol=1e-9)


def test_surface_moves_rigidly_with_its_joints(template):
    rotation, offset = axis_rotation(np.array((0.6, 0.0, 0.8)), 130), np.array((10.0, -20, 900))
    moved = surface_from_joints(template.joints @ rotation.T + offset, "right", template, None)
    np.testing.assert_allclose(moved.vertices, template.vertices @ rotation.T + offset, atol=1e-6)


def test_left_hand_mirrors_the_right(template):
    joints, forearm = forward_kinematics(mean_shape(), sample_articulation(3, False, np.random.default_rng(5))[1])
    right = surface_from_joints(joints, "right", template, forearm)
    left = surface_from_joints(joints * MIRROR, "left", template, forearm * MIRROR)
    np.testing.assert_allclose(left.vertices, right.vertices * MIRROR, atol=1e-9)
    assert volume(left.vertices, left.faces) > 0
    assert volume(right.vertices, right.faces) > 0


def test_bent_finger_turns_its_bones_by_the_bend(template):
    """90 degrees at the index's middle joint turn the bone behind it by as much about the hinge.

    The straight finger takes its twist from the palm, which is arched by a few degrees; hence the tolerance.
    """
    shape, pose = mean_shape(), sample_articulation(1, False, np.random.default_rng(0))[1]
    fingers = np.zeros((4, 4))
    straight, forearm = forward_kinematics(shape, type(pose)(fingers, pose.thumb, np.zeros(2)))
    fingers[0, 2] = 90
    bent, _ = forward_kinematics(shape, type(pose)(fingers, pose.thumb, np.zeros(2)))
    bone = BONES.index((6, 5))
    before, after = bone_frames(straight, forearm)[bone], bone_frames(bent, forearm)[bone]
    hinge = axis_rotation((0, 0, 1.0), 5.0) @ (1.0, 0, 0)  # the index leans 5 degrees to the thumb
    np.testing.assert_allclose(after @ before.T, axis_rotation(hinge, -90), atol=0.08)
    np.testing.assert_allclose(after[:, 1], (0, 0, -1), atol=1e-9)


def test_palm_frame_is_a_rotation_that_looks_out_of_the_back(template):
    frame = palm_frame(template.joints)
    np.testing.assert_allclose(frame.T @ frame, np.eye(3), atol=1e-12)
    assert frame[2, 2] > 0.9


def test_measured_joints_of_another_hand_take_its_lengths(template):
    """A longer finger stretches, the others stay."""
    joints = template.joints.copy()
    joints[8:11] += 12 * (joints[10] - joints[11]) / np.linalg.norm(joints[10] - joints[11])
    surface = surface_from_joints(joints, "right", template, template.forearm)
    assert surface.vertices[:, 1].max() - template.vertices[:, 1].max() > 8


@pytest.mark.parametrize("level", [1, 2, 3])
def test_every_bone_lies_inside_its_own_part(subject, level):
    """Joints -> surface -> parts and back: the skin around the middle of every finger bone carries its part."""
    shape, template = subject
    rng = np.random.default_rng(level)
    for _ in range(10):
        joints, forearm = forward_kinematics(shape, sample_articulation(level, False, rng)[1])
        rotation = sample_orientation(level, rng)
        joints, forearm = joints @ rotation.T, forearm @ rotation.T
        surface = surface_from_joints(joints, "right", template, forearm)
        assert np.isfinite(surface.vertices).all()
        for (parent, child), part in BONE_PARTS.items():
            if parent == WRIST:
                continue
            middle = (joints[parent] + joints[child]) / 2
            own = surface.vertices[np.unique(surface.faces[surface.face_parts == part])]
            assert np.linalg.norm(own.mean(axis=0) - middle) < 14
            assert np.linalg.norm(own - middle, axis=1).min() < 13


def test_folded_knuckle_keeps_its_radius(template):
    """Skin around the index's middle joint stays about as far from it when the finger folds."""
    pose = sample_articulation(1, False, np.random.default_rng(0))[1]
    fingers = np.zeros((4, 4))
    fingers[0, 2] = 100
    joints, forearm = forward_kinematics(mean_shape(), type(pose)(fingers, pose.thumb, np.zeros(2)))
    folded = surface_from_joints(joints, "right", template, forearm)
    near = np.flatnonzero(np.linalg.norm(template.vertices - template.joints[6], axis=1) < 11)
    before = np.linalg.norm(template.vertices[near] - template.joints[6], axis=1).mean()
    after = np.linalg.norm(folded.vertices[near] - joints[6], axis=1).mean()
    assert after == pytest.approx(before, rel=0.08)


@needs_real_frames
def test_measured_joints_lie_inside_the_surface_they_make(template):
    """Real hands, folded and praying: each projected joint falls on its own amodal silhouette."""
    records, cameras, joints_3d = (
        json.loads((REAL_FRAMES / f"test_interhand2.6m_{name}.json").read_text())
        for name in ("data", "camera", "joint_3d")
    )
    hands = 0
    for image in records["images"]:
        capture, cam = str(image["capture"]), image["camera"]
        rotation, position, focal, centre = (
            np.array(cameras[capture][key][cam]) for key in ("camrot", "campos", "focal", "princpt")
        )
        camera = Camera(image["width"], image["height"], focal[0], *centre)
        record = joints_3d[capture][str(image["frame_idx"])]
        world, valid = np.array(record["world_coord"]), np.array(record["joint_valid"]).ravel() > 0
        for hand, rows in (("right", slice(0, 21)), ("left", slice(21, 42))):
            if not valid[rows].all():
                continue
            joints = (world[rows] - position) @ rotation.T
            labels = label_map(surface_from_joints(joints, hand, template, None), camera)
            u, v = np.round(project(joints, camera)).astype(int).T
            assert (labels[v, u] > 0).all()
            hands += 1
    assert hands == 6
