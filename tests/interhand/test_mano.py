"""MANO: its files, skinning by hand, parts derived from the model, and rays against the z-buffer."""

import os
import pickle

import numpy as np
import pytest

from hands.errors import InvalidInput
from hands.interhand import mano_file
from hands.interhand.labels import LabelSource, NoLabels, fit_error
from hands.interhand.mano import ManoModel, load_models, pose, rotation_matrices
from hands.interhand.mano_parts import annotated_joints, label_parts, surface_of
from hands.interhand.release import Fit, Joints
from hands.parts import BONE_PARTS, NUM_PARTS, PALM_IDS
from hands.synthetic.camera import Camera
from hands.synthetic.render import embree_scene, label_map, trace
from hands.synthetic.surface import Surface
from tests.interhand.made_release import (
    BONES,
    JOINT_BONES,
    MIRROR,
    PARENTS,
    mano_arrays,
    write_mano,
    write_mano_npz,
)
from tests.synthetic.zbuffer import NO_FACE, face_map

STILL = Fit(pose=np.zeros(48), shape=np.zeros(10), translation=np.zeros(3))


@pytest.fixture(scope="module")
def mano_dir(tmp_path_factory):
    return write_mano(tmp_path_factory.mktemp("mano") / "models")


@pytest.fixture(scope="module")
def models(mano_dir):
    return load_models(mano_dir)


@pytest.fixture(scope="module")
def parts(models):
    return {hand: label_parts(model) for hand, model in models.items()}


def random_fit(seed: int, hand: str) -> Fit:
    rng = np.random.default_rng(seed)
    axis_angles, translation = rng.normal(0, 0.3, (16, 3)), rng.normal(0, 0.1, 3)
    if hand == "left":
        axis_angles, translation = axis_angles * (1, -1, -1), translation * MIRROR
    return Fit(pose=axis_angles.ravel(), shape=rng.normal(0, 1, 10), translation=translation)


# files


@pytest.mark.parametrize("hand", ["left", "right"])
def test_a_pickle_of_chumpy_and_scipy_is_read_as_the_arrays_in_it(mano_dir, hand):
    content = mano_file.read(mano_file.find(mano_dir.parent, hand))  # in models/, as the download has it
    for key, array in mano_arrays(hand).items():
        np.testing.assert_array_equal(content[key], array.astype(np.int64 if array.dtype.kind in "iu" else np.float64))


def test_an_npz_is_the_same_model(tmp_path, mano_dir):
    folder = write_mano_npz(tmp_path / "npz")
    for hand in ("left", "right"):
        a, b = (mano_file.read(mano_file.find(where, hand)) for where in (mano_dir, folder))
        for key in mano_file.KEYS:
            np.testing.assert_array_equal(a[key], b[key])


class _Call:
    def __init__(self, function, *arguments):
        self.call = (function, arguments)

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_nothing_in_a_pickle_is_executed(tmp_path, protocol):
    marker = tmp_path / "executed"
    (tmp_path / "MANO_RIGHT.pkl").write_bytes(pickle.dumps({"f": _Call(os.mkdir, str(marker))}, protocol=protocol))
    with pytest.raises(InvalidInput, match=r"MANO_RIGHT.pkl is no MANO model \(it holds .*mkdir"):
        mano_file.read(tmp_path / "MANO_RIGHT.pkl")
    assert not marker.exists()


@pytest.mark.parametrize("content", [
    b"", b"not a pickle", b"\x80\x02}q\x00.", b"c__builtin__\neval\n(S'1'\ntR.", b"\x80\x02cnumpy\nndarray\nK\x05\x85R.",
    b"\x80\x02cnumpy\ndtype\nX\x02\x00\x00\x00O8K\x00K\x01\x87R.",
])  # fmt: skip
def test_other_pickles_are_refused(tmp_path, content):
    (tmp_path / "MANO_LEFT.pkl").write_bytes(content)
    with pytest.raises(InvalidInput, match="MANO_LEFT.pkl is no MANO model"):
        mano_file.read(tmp_path / "MANO_LEFT.pkl")


def test_a_cut_or_flipped_pickle_is_refused_or_read_never_worse(mano_dir, tmp_path):
    whole = (mano_dir / "MANO_RIGHT.pkl").read_bytes()
    rng = np.random.default_rng(0)
    file = tmp_path / "MANO_RIGHT.pkl"
    for _ in range(40):
        damaged = bytearray(whole[: rng.integers(1, len(whole))] if rng.random() < 0.3 else whole)
        for place in rng.integers(0, min(len(damaged), 3000), 3):
            damaged[place] = rng.integers(256)
        file.write_bytes(bytes(damaged))
        try:
            mano_file.read(file)
        except InvalidInput:
            pass


def test_a_missing_file_and_files_of_other_shapes_are_named(tmp_path):
    with pytest.raises(InvalidInput, match="has no MANO_LEFT.pkl or MANO_LEFT.npz"):
        load_models(tmp_path)
    write_mano_npz(tmp_path / "npz")
    np.savez(tmp_path / "npz" / "MANO_LEFT.npz", **{**mano_arrays("left"), "weights": np.ones((778, 24))})
    with pytest.raises(InvalidInput, match="MANO_LEFT.npz has weights of 778x24; MANO's is 778x16"):
        load_models(tmp_path / "npz")
    np.savez(tmp_path / "npz" / "MANO_LEFT.npz", **mano_arrays("right"))
    with pytest.raises(InvalidInput, match="holds the same hand"):
        load_models(tmp_path / "npz")
    arrays = mano_arrays("left")
    np.savez(tmp_path / "npz" / "MANO_LEFT.npz", **{key: arrays[key] for key in arrays if key != "posedirs"})
    with pytest.raises(InvalidInput, match="MANO_LEFT.npz.*posedirs"):
        load_models(tmp_path / "npz")


def test_the_left_hands_shapes_are_mirrored_only_where_they_are_not_yet(models, tmp_path):
    right, left = models["right"].shape_directions, models["left"].shape_directions
    np.testing.assert_array_equal(left, right * MIRROR[:, None])
    write_mano_npz(tmp_path / "npz")
    np.savez(tmp_path / "npz" / "MANO_LEFT.npz", **{**mano_arrays("left"), "shapedirs": left})
    np.testing.assert_array_equal(load_models(tmp_path / "npz")["left"].shape_directions, left)


# skinning


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


# parts


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
    from dataclasses import replace

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
    from dataclasses import replace

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
    from dataclasses import replace

    with pytest.raises(InvalidInput, match="five chains"):
        label_parts(replace(models["right"], parents=(-1, *range(15))))
    with pytest.raises(InvalidInput, match="open at the wrist"):
        label_parts(replace(models["right"], faces=models["right"].faces[1:]))


# rendering and fits


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
