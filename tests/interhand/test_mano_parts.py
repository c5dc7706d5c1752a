"""MANO's parts, derived from the model: each along its own bone, the wrist sealed."""

from dataclasses import replace

import numpy as np
import pytest

from hands.errors import InvalidInput
from hands.interhand.mano import pose
from hands.interhand.mano_parts import annotated_joints, label_parts, surface_of
from hands.parts import BONE_PARTS, NUM_PARTS, PALM_IDS
from hands.synthetic.surface import Surface
from tests.interhand.made_mano import BONES, JOINT_BONES, STILL


@pytest.mark.parametrize("hand", ["left", "right"])
def test_the_sealed_mesh_is_watertight_and_looks_outward(models, parts, hand):
    faces = parts[hand].faces
    assert faces.shape == (1538 + 16, 3)
    edges = {(a, b) for face in faces.tolist() for a, b in zip(face, face[1:] + face[:1], strict=True)}
    assert len(edges) == 3 * len(faces)
    assert edges == {(b, a) for a, b in edges}
    surface = surface_of(pose(models[hand], STILL), parts[hand])
    a, b, c = (surface.vertices[faces[:, i]] for i in range(3))
    assert np.einsum("fi,fi->", a, np.cross(b, c)) > 0
    assert (parts[hand].face_parts[1538:] == 9).all()
    loop = surface.vertices[parts[hand].wrist_loop]
    np.testing.assert_allclose(surface.vertices[778], loop.mean(axis=0))


def test_inward_faces_are_turned(models, parts):
    inward = label_parts(replace(models["right"], faces=models["right"].faces[:, ::-1].copy()))
    surface = Surface(np.vstack([models["right"].vertices, models["right"].vertices[inward.wrist_loop].mean(axis=0)]),
                      inward.faces, inward.face_parts)  # fmt: skip
    a, b, c = (surface.vertices[inward.faces[:, i]] for i in range(3))
    assert np.einsum("fi,fi->", a, np.cross(b, c)) > 0


@pytest.mark.parametrize("hand", ["left", "right"])
def test_every_part_is_there_and_lies_along_its_own_bone(models, parts, hand):
    """The faces of each finger part lie, on average, nearer to their own bone than to any other."""
    surface = surface_of(pose(models[hand], STILL), parts[hand])
    joints = annotated_joints(pose(models[hand], STILL), parts[hand])
    assert set(surface.face_parts) == set(range(1, NUM_PARTS + 1))
    centres = surface.vertices[surface.faces].mean(axis=1)
    middles = {part: (joints[a] + joints[b]) / 2 for (a, b), part in BONE_PARTS.items() if part not in PALM_IDS}
    for part in middles:
        own = centres[surface.face_parts == part].mean(axis=0)
        assert min(middles, key=lambda other: np.linalg.norm(middles[other] - own)) == part


def test_parts_do_not_depend_on_how_the_fingers_are_numbered(models, parts):
    """The same model with its chains in another order gets the same parts."""
    model = models["right"]
    order = np.array([0, 13, 14, 15, 7, 8, 9, 1, 2, 3, 10, 11, 12, 4, 5, 6])
    shuffled = replace(model, weights=model.weights[:, order], joint_regressor=model.joint_regressor[order])
    np.testing.assert_array_equal(label_parts(shuffled).face_parts, parts["right"].face_parts)


def test_joints_are_put_into_the_releases_order(models, parts):
    rest = models["right"].joint_regressor @ models["right"].vertices
    found = parts["right"].joint_of
    for joint, bone in enumerate(JOINT_BONES):
        annotated = 20 if joint == 0 else BONES[bone][0]
        assert found[annotated] == joint
    tips = models["right"].vertices[parts["right"].tips]
    for finger, tip in enumerate(tips):
        last = rest[found[4 * finger + 1]]
        assert 0.015 < np.linalg.norm(tip - last) < 0.045


def test_models_that_are_no_hand_are_refused(models):
    with pytest.raises(InvalidInput, match="five chains"):
        label_parts(replace(models["right"], parents=(-1, *range(15))))
    with pytest.raises(InvalidInput, match="open at the wrist"):
        label_parts(replace(models["right"], faces=models["right"].faces[1:]))
