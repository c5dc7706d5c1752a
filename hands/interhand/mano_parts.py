"""Which part every face of MANO belongs to, read off the model itself, and its open wrist closed.

Fingers: the kinematic tree has five chains of three joints below the root. In the rest pose the thumb's begins nearest to the
wrist; the others follow from it across the palm: index, middle, ring, pinky. A chain's joints turn, in order, its proximal,
middle and distal part (the thumb's: base, middle, distal); the root turns palm and wrist.
Faces: a face belongs to the joint that holds most of it, by the sum of its three vertices' skinning weights.
Wrist: the faces' border is one loop; a fan from its mean closes it and counts as palm and wrist.
Nothing here depends on which hand it is, so the left model gets the mirror image of the right's parts.
"""

from dataclasses import dataclass

import numpy as np

from hands.errors import InvalidInput
from hands.interhand.mano import JOINTS, ManoModel, PosedMano
from hands.parts import BONE_PARTS, FINGERS, NUM_JOINTS, PART_NAMES, WRIST
from hands.synthetic.surface import Surface

PALM_AND_WRIST = PART_NAMES.index("palm and wrist")
ROOT = 0


@dataclass(frozen=True)
class ManoParts:
    """A model's labelled topology. L: length of the wrist's loop."""

    faces: np.ndarray  # (F + L, 3) int32, counter-clockwise seen from outside; vertex V is the loop's mean
    face_parts: np.ndarray  # (F + L,) uint8 1..16
    wrist_loop: np.ndarray  # (L,) vertices around the open wrist
    joint_of: np.ndarray  # (21,) MANO joint of InterHand's joints; -1 for the tips
    tips: np.ndarray  # (5,) vertex at the end of thumb..pinky


def label_parts(model: ManoModel) -> ManoParts:
    """Derive all from the model.

    Raises:
        InvalidInput: its joints are not five chains of three, or its wrist is not one open loop.
    """
    chains = _chains(model)
    joint_parts = np.full(JOINTS, PALM_AND_WRIST)
    joint_of = np.full(NUM_JOINTS, -1)
    joint_of[WRIST] = ROOT
    for finger, chain in enumerate(chains):
        for k, joint in enumerate(chain):
            annotated = 4 * finger + 3 - k  # InterHand counts from the tip
            joint_parts[joint] = BONE_PARTS[annotated, annotated - 1]
            joint_of[annotated] = joint
    faces, loop = _sealed(model.faces)
    rest = np.vstack([model.vertices, model.vertices[loop].mean(axis=0)])
    if _volume(rest, faces) < 0:
        faces = faces[:, ::-1]
    held = model.weights[model.faces].sum(axis=1)
    parts = np.concatenate([joint_parts[held.argmax(axis=1)], np.full(len(loop), PALM_AND_WRIST)])
    return ManoParts(
        faces=np.ascontiguousarray(faces),
        face_parts=parts.astype(np.uint8),
        wrist_loop=loop,
        joint_of=joint_of,
        tips=np.array([_tip(model, chain[-1]) for chain in chains]),
    )


def surface_of(posed: PosedMano, parts: ManoParts) -> Surface:
    """The posed hand with its wrist closed, millimetres."""
    centre = posed.vertices[parts.wrist_loop].mean(axis=0)
    return Surface(vertices=np.vstack([posed.vertices, centre]), faces=parts.faces, face_parts=parts.face_parts)


def annotated_joints(posed: PosedMano, parts: ManoParts) -> np.ndarray:
    """(21, 3) millimetres, in InterHand's order: MANO's joints and the fingers' end vertices."""
    joints = posed.joints[parts.joint_of]
    joints[0 : 4 * len(FINGERS) : 4] = posed.vertices[parts.tips]
    return joints


def _chains(model: ManoModel) -> list[tuple[int, ...]]:
    """The joints of thumb, index, middle, ring, pinky, each from its base."""
    children = [[j for j, parent in enumerate(model.parents) if parent == joint] for joint in range(JOINTS)]
    chains = []
    for base in children[ROOT]:
        chain = [base]
        while len(children[chain[-1]]) == 1:
            chain += children[chain[-1]]
        chains.append(tuple(chain))
    if sorted(map(len, chains)) != [3] * len(FINGERS):
        raise InvalidInput("The MANO file's joints are not five chains of three below one root; give MANO v1.2's files.")
    rest = model.joint_regressor @ model.vertices
    chains.sort(key=lambda chain: np.linalg.norm(rest[chain[0]] - rest[ROOT]))
    thumb, *fingers = chains
    knuckles = rest[[chain[0] for chain in fingers]].mean(axis=0)
    along = knuckles - rest[ROOT]
    across = knuckles - rest[thumb[-1]]
    across = across - along * (across @ along) / (along @ along)
    return [thumb, *sorted(fingers, key=lambda chain: rest[chain[0]] @ across)]


def _sealed(faces: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Faces with a fan over their one border, and the border's vertices in order."""
    edges = {(int(a), int(b)) for face in faces for a, b in zip(face, np.roll(face, -1), strict=True)}
    after = {a: b for a, b in edges if (b, a) not in edges}
    loop = [min(after)] if after else []
    while loop and after.get(loop[-1], loop[0]) != loop[0] and len(loop) <= len(after):
        loop.append(after[loop[-1]])
    if len(loop) < 3 or len(loop) != len(after):
        raise InvalidInput("The MANO file's mesh is not open at the wrist alone; give MANO v1.2's files.")
    centre = faces.max() + 1
    fan = [(b, a, centre) for a, b in zip(loop, np.roll(loop, -1), strict=True)]
    return np.concatenate([faces, np.array(fan)]).astype(np.int32), np.array(loop)


def _tip(model: ManoModel, joint: int) -> int:
    """The vertex farthest from a finger's last joint, of those that the joint holds most."""
    own = np.flatnonzero(model.weights.argmax(axis=1) == joint)
    if not len(own):
        raise InvalidInput("The MANO file's skinning weights leave a joint without vertices; give MANO v1.2's files.")
    rest = model.joint_regressor[joint] @ model.vertices
    return int(own[np.linalg.norm(model.vertices[own] - rest, axis=1).argmax()])


def _volume(vertices: np.ndarray, faces: np.ndarray) -> float:
    a, b, c = (vertices[faces[:, i]] for i in range(3))
    return float(np.einsum("fi,fi->", a, np.cross(b, c)))
