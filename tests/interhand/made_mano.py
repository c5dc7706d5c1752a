"""A hand model with MANO's fields, of our own making, and fits of it.

It is the project's mean hand, cut open at the wrist and collapsed to MANO's 778 vertices and 1538 faces; its shape and pose
directions are made up.
"""

import functools
import heapq
import pickle
import sys
import types
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from hands.interhand.release import Fit
from hands.parts import WRIST
from hands.synthetic.surface import BONES, FOREARM, bone_frames, palm_frame
from hands.synthetic.template import mean_template

MANO_VERTICES, WRIST_LOOP = 778, 16
PARENTS = (-1, 0, 1, 2, 0, 4, 5, 0, 7, 8, 0, 10, 11, 0, 13, 14)
FINGER_OF_CHAIN = (1, 2, 4, 3, 0)  # MANO's chains: index, middle, pinky, ring, thumb
MIRROR = np.array((-1.0, 1, 1))
STILL = Fit(pose=np.zeros(48), shape=np.zeros(10), translation=np.zeros(3))


def annotated(finger: int, k: int) -> int:
    """InterHand's number of a finger's k-th joint from its base."""
    return 4 * finger + 3 - k


def bone_of_joint(joint: int) -> int:
    """Place in BONES of what a MANO joint turns."""
    if joint == 0:
        return BONES.index((WRIST, 11))
    end = annotated(FINGER_OF_CHAIN[(joint - 1) // 3], (joint - 1) % 3)
    return BONES.index((end, end - 1))


JOINT_BONES = tuple(bone_of_joint(joint) for joint in range(16))


@functools.cache
def mano_arrays(hand: str) -> dict[str, np.ndarray]:
    """The fields of a MANO file, dense; metres."""
    template = mean_template()
    kept, faces = collapsed(template.vertices, template.faces[template.face_parts > 0])
    vertices, joints = template.vertices[kept] / 1000, template.joints / 1000
    weights = np.zeros((len(kept), 16))
    for bone in range(FOREARM + 1):
        joint = JOINT_BONES.index(bone) if bone in JOINT_BONES else 0
        weights[:, joint] += template.weights[kept, bone]
    rest = np.stack([joints[WRIST if joint == 0 else BONES[bone][0]] for joint, bone in enumerate(JOINT_BONES)])
    rng = np.random.default_rng(7)
    smooth = vertices - vertices.mean(axis=0)
    shapes = np.stack([smooth @ rng.normal(0, 0.03, (3, 3)) for _ in range(10)], axis=2)
    poses = np.einsum("vj,vcj->vcj", weights[:, 1:].repeat(9, axis=1), rng.normal(0, 2e-4, (len(kept), 3, 135)))
    mean_pose = rng.normal(0, 0.15, 45)
    regressor = np.stack([affine_weights(vertices, point) for point in rest])
    if hand == "left":
        faces, vertices = faces[:, [1, 0, 2]], vertices * MIRROR
        poses = poses * MIRROR[:, None] * np.tile(np.outer(MIRROR, MIRROR).ravel(), 15)  # of the mirrored rotations' entries
        mean_pose = (mean_pose.reshape(15, 3) * (1, -1, -1)).ravel()  # a mirrored axis turns the other way
    return {
        "v_template": vertices,
        "f": faces.astype(np.uint32),
        "weights": weights,
        "J_regressor": regressor,
        "shapedirs": shapes,  # the left's unmirrored, as the real file has them
        "posedirs": poses,
        "hands_mean": mean_pose,
        "kintree_table": np.array([[2**32 - 1, *PARENTS[1:]], range(16)], dtype=np.int64),
    }


def affine_weights(points: np.ndarray, target: np.ndarray) -> np.ndarray:
    """The smallest weights (N,) that sum to 1 and put points (N, 3) at target (3,)."""
    system = np.vstack([points.T, np.ones(len(points))])
    return np.linalg.lstsq(system, np.append(target, 1.0), rcond=None)[0]


def collapsed(vertices: np.ndarray, faces: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(778,) vertices that stay and the faces (1538, 3) between them: shortest edges collapse first, the border to 16."""
    around: dict[int, set[tuple[int, ...]]] = {}
    for face in map(tuple, faces.tolist()):
        for v in face:
            around.setdefault(v, set()).add(face)

    def neighbours(v: int) -> set[int]:
        return {w for face in around[v] for w in face} - {v}

    def shared(u: int, v: int) -> int:
        return sum(v in face for face in around[u])

    def normal(face: tuple[int, ...]) -> np.ndarray:
        a, b, c = vertices[list(face)]
        return np.cross(b - a, c - a)

    border = {v for v in around if any(shared(v, w) == 1 for w in neighbours(v))}

    def collapse(gone: int, stays: int) -> bool:
        if len(neighbours(gone) & neighbours(stays)) != shared(gone, stays):
            return False
        changed = {face: tuple(stays if v == gone else v for v in face) for face in around[gone] if stays not in face}
        if any(normal(old) @ normal(new) <= 0.3 * np.linalg.norm(normal(old)) * np.linalg.norm(normal(new))
               for old, new in changed.items()):  # fmt: skip
            return False
        for face in list(around[gone]):
            for v in face:
                around[v].discard(face)
        for face in changed.values():
            for v in face:
                around[v].add(face)
        del around[gone]
        return True

    def shrink(choose, target: int, count) -> None:
        heap = [(np.linalg.norm(vertices[u] - vertices[v]), u, v) for v in around for u in neighbours(v)]
        heapq.heapify(heap)
        while count() > target:
            length, stays, gone = heapq.heappop(heap)
            if stays in around and gone in around and gone in neighbours(stays) and choose(stays, gone):
                if collapse(gone, stays):
                    border.discard(gone)
                    for w in neighbours(stays):
                        for pair in ((stays, w), (w, stays)):
                            heapq.heappush(heap, (np.linalg.norm(vertices[stays] - vertices[w]), *pair))

    shrink(lambda u, v: u in border and v in border and shared(u, v) == 1, WRIST_LOOP, lambda: len(border))
    shrink(lambda u, v: v not in border, MANO_VERTICES, lambda: len(around))
    kept = np.array(sorted(around))
    place = {v: i for i, v in enumerate(kept.tolist())}
    left = {face for found in around.values() for face in found}
    return kept, np.array([[place[v] for v in face] for face in sorted(left)])


class _Ch:
    def __init__(self, x: np.ndarray):
        self.x = x


class _Select:
    def __init__(self, dense: np.ndarray):
        """As MANO's shapedirs are kept: ten of twenty columns of a wider array."""
        wide = np.concatenate([dense, np.full_like(dense, 9.0)], axis=2)
        self.a = _Ch(wide)
        self.idxs = np.arange(wide.size).reshape(wide.shape)[..., :10].ravel()
        self.preferred_shape = dense.shape


@contextmanager
def chumpy_names():
    """Lets the two classes above be pickled under chumpy's names."""
    modules = {"chumpy.ch": ("Ch", _Ch), "chumpy.reordering": ("Select", _Select)}
    for module, (name, kind) in modules.items():
        kind.__module__, kind.__qualname__ = module, name
        sys.modules[module] = types.SimpleNamespace(**{name: kind})
    sys.modules["chumpy"] = types.SimpleNamespace()
    try:
        yield
    finally:
        for module in ("chumpy", *modules):
            del sys.modules[module]


def write_mano(folder: Path) -> Path:
    """MANO_RIGHT.pkl and MANO_LEFT.pkl, pickled as the real ones are: chumpy, SciPy and column-wise arrays in them."""
    from scipy.sparse import csc_matrix

    folder.mkdir(parents=True)
    for hand in ("left", "right"):
        arrays = dict(mano_arrays(hand))
        arrays["J_regressor"] = csc_matrix(arrays["J_regressor"])
        arrays["posedirs"] = np.asfortranarray(arrays["posedirs"])
        arrays["shapedirs"] = _Select(arrays["shapedirs"])
        content = {**arrays, "bs_style": "lbs", "bs_type": "lrotmin", "seen": {1, 2}}
        with chumpy_names():
            (folder / f"MANO_{hand.upper()}.pkl").write_bytes(pickle.dumps(content, protocol=2))
    return folder


def write_mano_npz(folder: Path) -> Path:
    folder.mkdir(parents=True)
    for hand in ("left", "right"):
        np.savez(folder / f"MANO_{hand.upper()}.npz", **mano_arrays(hand))
    return folder


def fit_of(joints: np.ndarray, hand: str) -> dict[str, list]:
    """The fit, as NeuralAnnot writes it, that puts the model on the mean hand's joints (21, 3), millimetres in the world."""
    template = mean_template()
    mirror = MIRROR if hand == "left" else np.ones(3)
    target = joints * mirror  # a right hand, in a mirrored world
    forearm = palm_frame(target) @ palm_frame(template.joints).T @ template.forearm
    frames = bone_frames(target, forearm) @ np.swapaxes(bone_frames(template.joints, template.forearm), 1, 2)
    turned = frames[list(JOINT_BONES)]
    turned[0] = palm_frame(target) @ palm_frame(template.joints).T
    local = [turned[0]] + [turned[parent].T @ turned[joint] for joint, parent in enumerate(PARENTS) if joint]
    pose = np.stack([axis_angle(rotation) for rotation in local]) * ((1, -1, -1) if hand == "left" else 1)
    mean = mano_arrays(hand)["hands_mean"]
    trans = (target[WRIST] - template.joints[WRIST]) * mirror / 1000
    return {"pose": (pose.ravel() - np.append(np.zeros(3), mean)).tolist(), "shape": [0.0] * 10, "trans": trans.tolist()}


def axis_angle(rotation: np.ndarray) -> np.ndarray:
    angle = np.arccos(np.clip((np.trace(rotation) - 1) / 2, -1, 1))
    axis = np.array([rotation[2, 1] - rotation[1, 2], rotation[0, 2] - rotation[2, 0], rotation[1, 0] - rotation[0, 1]])
    return axis * (0.5 if angle < 1e-6 else angle / (2 * np.sin(angle)))


def random_fit(seed: int, hand: str) -> Fit:
    rng = np.random.default_rng(seed)
    axis_angles, translation = rng.normal(0, 0.3, (16, 3)), rng.normal(0, 0.1, 3)
    if hand == "left":
        axis_angles, translation = axis_angles * (1, -1, -1), translation * MIRROR
    return Fit(pose=axis_angles.ravel(), shape=rng.normal(0, 1, 10), translation=translation)
