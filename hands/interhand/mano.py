"""MANO's skinning in numpy: shape and pose blend shapes, then linear blend skinning.

Source: Romero, Tzionas, Black, "Embodied Hands: Modeling and Capturing Hands and Bodies Together", SIGGRAPH Asia 2017,
after Loper et al., "SMPL", 2015, section 3.
"""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from hands.errors import InvalidInput
from hands.interhand.mano_file import find, read
from hands.interhand.release import POSE_SIZE, SHAPE_SIZE, Fit
from hands.parts import HANDS

VERTICES, FACES, JOINTS = 778, 1538, 16
SAME_SHAPES = 1.0  # sum of |left - right| below which a left model has the right one's first shape direction


@dataclass(frozen=True)
class ManoModel:
    """One hand's model, metres."""

    vertices: np.ndarray  # (V, 3) rest pose, mean shape
    shape_directions: np.ndarray  # (V, 3, 10) metres for one unit of each shape parameter
    pose_directions: np.ndarray  # (V, 3, 135) metres, by the entries of the 15 rotations less the identity
    joint_regressor: np.ndarray  # (16, V) rest joints from rest vertices
    weights: np.ndarray  # (V, 16) rows sum to 1
    parents: tuple[int, ...]  # (16,) -1 for the root
    faces: np.ndarray  # (F, 3) int32
    mean_pose: np.ndarray  # (45,) axis-angle that the fits' poses are relative to


@dataclass(frozen=True)
class PosedMano:
    """vertices (V, 3) and joints (16, 3), millimetres in the world frame."""

    vertices: np.ndarray
    joints: np.ndarray


def load_models(mano_dir: str | Path) -> dict[str, ManoModel]:
    """Both hands' models by 'left' | 'right'.

    A left model whose first shape direction is the right's unmirrored, as distributed, gets its x mirrored: the release's
    fits assume so (vchoutas/smplx issue 48).

    Raises:
        InvalidInput: a file is missing, is no MANO model, or holds the other hand.
    """
    models = {hand: _model(read(find(mano_dir, hand)), find(mano_dir, hand)) for hand in HANDS}
    left, right = models["left"], models["right"]
    mirrored = right.vertices * (-1, 1, 1)
    if np.abs(left.vertices - mirrored).sum() > np.abs(left.vertices - right.vertices).sum():
        raise InvalidInput(
            f"{find(mano_dir, 'left')} holds the same hand as {find(mano_dir, 'right')}; expected its mirror image."
        )
    if np.abs(left.shape_directions[:, 0] - right.shape_directions[:, 0]).sum() < SAME_SHAPES:
        models["left"] = replace(left, shape_directions=left.shape_directions * np.array((-1.0, 1, 1))[:, None])
    return models


def pose(model: ManoModel, fit: Fit) -> PosedMano:
    """The hand of a fit. Its translation is added after the rotation about the model's own root joint."""
    shaped = model.vertices + model.shape_directions @ fit.shape.astype(np.float64)
    rest = model.joint_regressor @ shaped
    full_pose = fit.pose + np.concatenate([np.zeros(3), model.mean_pose])
    rotations = rotation_matrices(full_pose.reshape(JOINTS, 3))
    corrected = shaped + model.pose_directions @ (rotations[1:] - np.eye(3)).ravel()
    turned = np.empty((JOINTS, 3, 3))
    joints = np.empty((JOINTS, 3))
    for joint, parent in enumerate(model.parents):
        if parent < 0:
            turned[joint], joints[joint] = rotations[joint], rest[joint]
        else:
            turned[joint] = turned[parent] @ rotations[joint]
            joints[joint] = joints[parent] + turned[parent] @ (rest[joint] - rest[parent])
    offsets = joints - np.einsum("jab,jb->ja", turned, rest)
    blended = np.tensordot(model.weights, turned, axes=1)
    vertices = np.einsum("vab,vb->va", blended, corrected) + model.weights @ offsets
    return PosedMano(vertices=1000 * (vertices + fit.translation), joints=1000 * (joints + fit.translation))


def rotation_matrices(axis_angles: np.ndarray) -> np.ndarray:
    """(N, 3, 3) rotations by |a| radians about a, for axis-angles a (N, 3) (Rodrigues)."""
    angles = np.linalg.norm(axis_angles, axis=1)
    x, y, z = (axis_angles / np.maximum(angles, 1e-12)[:, None]).T
    zero = np.zeros_like(x)
    cross = np.stack([zero, -z, y, z, zero, -x, -y, x, zero], axis=1).reshape(-1, 3, 3)
    sine, cosine = np.sin(angles)[:, None, None], np.cos(angles)[:, None, None]
    return np.eye(3) + sine * cross + (1 - cosine) * cross @ cross


def _model(content: dict[str, np.ndarray], file: Path) -> ManoModel:
    pose_columns = 9 * (JOINTS - 1)
    expected = {
        "v_template": (VERTICES, 3),
        "shapedirs": (VERTICES, 3, SHAPE_SIZE),
        "posedirs": (VERTICES, 3, pose_columns),
        "J_regressor": (JOINTS, VERTICES),
        "weights": (VERTICES, JOINTS),
        "kintree_table": (2, JOINTS),
        "f": (FACES, 3),
        "hands_mean": (POSE_SIZE - 3,),
    }
    for key, shape in expected.items():
        if content[key].shape != shape or not np.isfinite(content[key]).all():
            found = "x".join(map(str, content[key].shape))
            raise InvalidInput(
                f"{file} has {key} of {found}; MANO's is {'x'.join(map(str, shape))} finite numbers: give MANO v1.2's file."
            )
    faces, weights = content["f"], content["weights"]
    parents = (-1, *content["kintree_table"][0, 1:].tolist())
    if not all(0 <= parent < joint for joint, parent in enumerate(parents) if joint):
        raise InvalidInput(f"{file} has a kintree_table whose joints do not follow their parents; give MANO v1.2's file.")
    if faces.min() < 0 or faces.max() >= VERTICES:
        raise InvalidInput(f"{file} has faces of vertices that are not there; give MANO v1.2's file.")
    if weights.min() < -1e-6 or not np.allclose(weights.sum(axis=1), 1, atol=1e-3):
        raise InvalidInput(f"{file} has skinning weights that do not sum to 1; give MANO v1.2's file.")
    return ManoModel(
        vertices=content["v_template"],
        shape_directions=content["shapedirs"],
        pose_directions=content["posedirs"],
        joint_regressor=content["J_regressor"],
        weights=weights,
        parents=parents,
        faces=faces.astype(np.int32),
        mean_pose=content["hands_mean"],
    )
