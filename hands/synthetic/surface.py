"""Template + any 21 joints -> posed, labelled surface: the one way from joints to a mesh.

The joints may come from the generator or be measured, e.g. `joint_3d` of InterHand2.6M (21 rows of one hand,
millimetres). Nothing but positions is needed: the twist of every bone follows from the palm's plane and from the
plane in which its finger bends.

Skinning is by dual quaternions (Kavan et al. 2007, "Skinning with Dual Quaternions"): neighbouring bones share a
pivot, so a folded knuckle keeps its radius where a linear blend would collapse.
"""

from dataclasses import dataclass

import numpy as np

from hands.parts import BONE_PARTS, NUM_JOINTS, WRIST
from hands.synthetic.skeleton import thumb_frame

BONES = tuple(BONE_PARTS)  # (parent, child) joints; the forearm follows as one more bone
FOREARM = len(BONES)
NUM_BONES = len(BONES) + 1
BONE_PART_IDS = np.array([*BONE_PARTS.values(), 0])  # the forearm is outside the labels
PARENT_JOINT = np.array([parent for parent, _ in BONES] + [WRIST])
PARENT_BONE = np.array([next((b for b, (_, c) in enumerate(BONES) if c == p), FOREARM) for p in PARENT_JOINT])
KNUCKLES = (7, 11, 15, 19)  # index..pinky
HINGE_EVIDENCE = 0.35  # sine of the bend at which a finger's bending plane weighs as much as the palm
REST_THUMB = (42.0, 30.0)  # degrees of abduction about which the thumb's twist is carried along


@dataclass(frozen=True)
class Template:
    """A right hand in rest pose: mesh, bones and how they hold on to each other."""

    vertices: np.ndarray  # (V, 3) millimetres, hand frame
    faces: np.ndarray  # (F, 3) int32, counter-clockwise seen from outside
    face_parts: np.ndarray  # (F,) uint8 0..16
    weights: np.ndarray  # (V, NUM_BONES), rows sum to 1
    joints: np.ndarray  # (21, 3)
    forearm: np.ndarray  # (3,) unit, from the wrist towards the elbow
    frames: np.ndarray  # (NUM_BONES, 3, 3) as `bone_frames` gives them


@dataclass(frozen=True)
class Surface:
    """A posed hand."""

    vertices: np.ndarray  # (V, 3) millimetres, in the frame of the joints
    faces: np.ndarray  # (F, 3) int32, counter-clockwise seen from outside
    face_parts: np.ndarray  # (F,) uint8 0..16


def surface_from_joints(joints: np.ndarray, hand: str, template: Template, forearm: np.ndarray | None) -> Surface:
    """Bend a template to 21 joints.

    joints: (21, 3) millimetres, InterHand order, any right-handed frame. hand: 'left' | 'right'.
    forearm: (3,) unit direction from the wrist to the elbow in the same frame, or None for a straight wrist.
    The bones take the length that the joints give; thickness scales with the hand as a whole.
    """
    mirror = np.array((-1.0, 1, 1)) if hand == "left" else np.ones(3)
    target = joints * mirror
    if forearm is None:
        forearm_target = palm_frame(target) @ palm_frame(template.joints).T @ template.forearm
    else:
        forearm_target = forearm * mirror
    vertices, rest = _stretch(template, target)
    rotations = bone_frames(target, forearm_target) @ np.swapaxes(bone_frames(rest, template.forearm), 1, 2)
    posed = _skin(vertices, template.weights, rotations, rest[PARENT_JOINT], target[PARENT_JOINT])
    faces = template.faces[:, ::-1] if hand == "left" else template.faces
    return Surface(vertices=posed * mirror, faces=faces, face_parts=template.face_parts)


def palm_frame(joints: np.ndarray) -> np.ndarray:
    """(3, 3), columns: towards the little finger, towards the fingers, out of the back; of a right hand's joints."""
    heads = joints[list(KNUCKLES)]
    along = _unit(heads[:3].mean(axis=0) - joints[WRIST])
    across = _unit(_perpendicular(heads[3] - heads[0], along))
    return np.stack([across, along, _cross(across, along)], axis=1)


def bone_frames(joints: np.ndarray, forearm: np.ndarray) -> np.ndarray:
    """(NUM_BONES, 3, 3) orientations, columns: hinge axis, bone, out of the back; of a right hand's joints."""
    palm = palm_frame(joints)
    directions = np.stack([_unit(joints[child] - joints[parent]) for parent, child in BONES] + [-forearm])
    frames = np.empty((NUM_BONES, 3, 3))
    for bone in [*range(15, 20), FOREARM]:
        frames[bone] = _rotation_between(palm[:, 1], directions[bone]) @ palm
    rest_thumb = palm @ thumb_frame(*REST_THUMB)
    for finger in range(5):
        distal, middle, proximal = 3 * finger, 3 * finger + 1, 3 * finger + 2
        carried = rest_thumb if finger == 0 else palm
        carried = _rotation_between(carried[:, 1], directions[proximal]) @ carried
        chain = directions[[proximal, middle, distal]]
        hinge = -_cross(chain[0], chain[1]) - _cross(chain[1], chain[2])
        if hinge @ carried[:, 0] > 0:
            hinge = _unit(_perpendicular(hinge + HINGE_EVIDENCE * carried[:, 0], chain[0]))
            carried = np.stack([hinge, chain[0], _cross(hinge, chain[0])], axis=1)
        for bone, previous in ((proximal, proximal), (middle, proximal), (distal, middle)):
            carried = _rotation_between(directions[previous], directions[bone]) @ carried
            frames[bone] = carried
    return frames


def _stretch(template: Template, target: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Give the resting hand the target's bone lengths: its vertices (V, 3) and joints (21, 3)."""
    ends = np.array(BONES)
    rest = template.joints[ends[:, 1]] - template.joints[ends[:, 0]]
    rest_lengths = np.linalg.norm(rest, axis=1)
    lengths = np.linalg.norm(target[ends[:, 1]] - target[ends[:, 0]], axis=1)
    radial = lengths.sum() / rest_lengths.sum()
    joints = np.zeros((NUM_JOINTS, 3))
    joints[WRIST] = template.joints[WRIST]
    for bone in reversed(range(len(BONES))):  # BONES lists every finger from its tip, the palm last
        parent, child = BONES[bone]
        joints[child] = joints[parent] + rest[bone] * (lengths[bone] / rest_lengths[bone])
    axes = np.concatenate([rest / rest_lengths[:, None], template.forearm[None]])
    ratios = np.append(lengths / rest_lengths, radial)
    scales = radial * np.eye(3) + (ratios - radial)[:, None, None] * axes[:, :, None] * axes[:, None, :]
    offsets = joints[PARENT_JOINT] - np.einsum("bij,bj->bi", scales, template.joints[PARENT_JOINT])
    blended = np.einsum("vb,bij->vij", template.weights, scales)
    return np.einsum("vij,vj->vi", blended, template.vertices) + template.weights @ offsets, joints


def _skin(
    vertices: np.ndarray, weights: np.ndarray, rotations: np.ndarray, pivots: np.ndarray, targets: np.ndarray
) -> np.ndarray:
    """Dual quaternion blend of the rigid motions x -> rotation (x - pivot) + target, one a bone."""
    real = np.stack([_quaternion(rotation) for rotation in rotations])
    for bone in [FOREARM, *reversed(range(FOREARM))]:
        if real[bone] @ real[PARENT_BONE[bone]] < 0:
            real[bone] = -real[bone]
    translations = targets - np.einsum("bij,bj->bi", rotations, pivots)
    dual = 0.5 * _multiply(np.concatenate([np.zeros((NUM_BONES, 1)), translations], axis=1), real)
    blended = weights @ real
    norm = np.linalg.norm(blended, axis=1, keepdims=True)
    r, d = blended / norm, weights @ dual / norm
    w, q = r[:, :1], r[:, 1:]
    rotated = vertices + 2 * np.cross(q, np.cross(q, vertices) + w * vertices)
    return rotated + 2 * (w * d[:, 1:] - d[:, :1] * q + np.cross(q, d[:, 1:]))


def _unit(vector: np.ndarray) -> np.ndarray:
    return vector / np.linalg.norm(vector)


def _perpendicular(vector: np.ndarray, axis: np.ndarray) -> np.ndarray:
    return vector - axis * (vector @ axis)


def _cross(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Cross product of two (3,) vectors; numpy's own takes ten times as long for so few."""
    return np.array((a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]))


def _rotation_between(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """The smallest rotation (3, 3) that takes one unit vector to another."""
    cosine = source @ target
    if cosine < -0.999999:  # any axis will do
        axis = _unit(_perpendicular(np.eye(3)[np.argmin(np.abs(source))], source))
        return 2 * np.outer(axis, axis) - np.eye(3)
    x, y, z = _cross(source, target)
    cross = np.array([(0, -z, y), (z, 0, -x), (-y, x, 0)])
    return np.eye(3) + cross + cross @ cross / (1 + cosine)


def _quaternion(rotation: np.ndarray) -> np.ndarray:
    """(4,) w, x, y, z of a rotation matrix, by its largest component (Shepperd 1978)."""
    m = rotation
    products = np.array(
        [
            (1 + m[0, 0] + m[1, 1] + m[2, 2], m[2, 1] - m[1, 2], m[0, 2] - m[2, 0], m[1, 0] - m[0, 1]),
            (m[2, 1] - m[1, 2], 1 + m[0, 0] - m[1, 1] - m[2, 2], m[0, 1] + m[1, 0], m[0, 2] + m[2, 0]),
            (m[0, 2] - m[2, 0], m[0, 1] + m[1, 0], 1 - m[0, 0] + m[1, 1] - m[2, 2], m[1, 2] + m[2, 1]),
            (m[1, 0] - m[0, 1], m[0, 2] + m[2, 0], m[1, 2] + m[2, 1], 1 - m[0, 0] - m[1, 1] + m[2, 2]),
        ]
    )
    return _unit(products[np.argmax(np.diagonal(products))])


def _multiply(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Quaternion product of (N, 4) and (N, 4)."""
    scalar = a[:, :1] * b[:, :1] - (a[:, 1:] * b[:, 1:]).sum(axis=1, keepdims=True)
    return np.concatenate([scalar, a[:, :1] * b[:, 1:] + b[:, :1] * a[:, 1:] + np.cross(a[:, 1:], b[:, 1:])], axis=1)
