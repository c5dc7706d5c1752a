"""A subject's template: the distance field meshed once in rest pose, skinned to the bones, labelled by nearest bone."""

import functools

import numpy as np
from skimage.measure import marching_cubes

from hands.parts import WRIST
from hands.synthetic.anatomy import FOREARM_LENGTH, Anatomy, build_anatomy, signed_distance
from hands.synthetic.skeleton import Articulation, Shape, forward_kinematics, mean_shape
from hands.synthetic.surface import BONE_PART_IDS, BONES, FOREARM, KNUCKLES, NUM_BONES, Template, bone_frames

CELL = 4.7  # millimetres between grid points at the fingers
PALM_STRETCH, FOREARM_STRETCH = 1.25, 3.2  # how much coarser the grid is there
MARGIN = 18.0
WEIGHT_POWER = 9  # of the inverse distance to the bones: how abruptly one bone's hold gives way to the next's
THUMB_ROOT_BONE, FIRST_PALM_BONE = 2, 15  # places in BONES
LABELLED_FOREARM = 14.0  # millimetres behind the wrist that still count as palm and wrist

# Spread and half bent, so that every finger is meshed on its own and no fold is far from rest.
REST = Articulation(
    fingers=np.array([(9.0, 14, 14, 8), (2.0, 14, 14, 8), (-4.0, 14, 14, 8), (-10.0, 14, 14, 8)]),
    thumb=np.array((42.0, 30.0, 8.0, 10.0)),
    wrist=np.zeros(2),
)


def build_template(shape: Shape) -> Template:
    """Mesh one subject's right hand; about 2,000 vertices."""
    joints, forearm = forward_kinematics(shape, REST)
    anatomy = build_anatomy(joints, forearm, shape)
    vertices, faces = _mesh(anatomy, joints, shape.size)
    vertices = _onto_seams(vertices, joints, forearm, CELL * shape.size)
    vertices = _onto_skin(vertices, anatomy, shape.size)
    distances = bone_distances(vertices, joints, forearm)
    weights = distances ** -float(WEIGHT_POWER)
    weights /= weights.sum(axis=1, keepdims=True)
    centres = vertices[faces].mean(axis=1)
    return Template(
        vertices=vertices,
        faces=faces,
        face_parts=_label(centres, joints, forearm),
        weights=weights,
        joints=joints,
        forearm=forearm,
        frames=bone_frames(joints, forearm),
    )


@functools.cache
def mean_template() -> Template:
    """The template for joints of nobody in particular."""
    return build_template(mean_shape())


def bone_distances(points: np.ndarray, joints: np.ndarray, forearm: np.ndarray) -> np.ndarray:
    """(N, NUM_BONES) distance of points (N, 3) to every bone's segment, at least 1 mm."""
    distances = np.empty((len(points), NUM_BONES))
    for bone in range(NUM_BONES):
        start = joints[WRIST] if bone == FOREARM else joints[BONES[bone][0]]
        end = joints[WRIST] + forearm * FOREARM_LENGTH if bone == FOREARM else joints[BONES[bone][1]]
        axis = end - start
        along = np.clip((points - start) @ axis / (axis @ axis), 0, 1)
        distances[:, bone] = np.linalg.norm(points - start - along[:, None] * axis, axis=1)
    return np.maximum(distances, 1.0)


def _onto_seams(vertices: np.ndarray, joints: np.ndarray, forearm: np.ndarray, cell: float) -> np.ndarray:
    """Move the vertices next to a seam between two parts onto it, so that the parts' borders are not ragged.

    The seam of two bones that share a joint is the plane halfway between them; that of neighbours is where both are
    equally far.
    """
    distances = bone_distances(vertices, joints, forearm)[:, :FOREARM]
    first = np.argmin(distances, axis=1)
    same_part = BONE_PART_IDS[:FOREARM] == BONE_PART_IDS[first][:, None]
    second = np.argmin(np.where(same_part, np.inf, distances), axis=1)
    ends = np.array(BONES)
    directions = joints[ends[:, 1]] - joints[ends[:, 0]]
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    outer, inner = np.minimum(first, second), np.maximum(first, second)  # BONES lists tips first, the palm last
    at_knuckle = (inner >= FIRST_PALM_BONE) & (outer > THUMB_ROOT_BONE)
    # Whichever metacarpal is nearest, a finger bends against its own.
    inner = np.where(at_knuckle, FIRST_PALM_BONE + outer // 3, inner)
    linked = (ends[outer, 0] == ends[inner, 1])[:, None]

    def from_seam(points: np.ndarray) -> np.ndarray:
        reach = bone_distances(points, joints, forearm)
        return np.take_along_axis(reach, second[:, None], 1)[:, 0] - np.take_along_axis(reach, first[:, None], 1)[:, 0]

    value, step = from_seam(vertices), 0.1
    gradient = np.stack([(from_seam(vertices + step * axis) - value) / step for axis in np.eye(3)], axis=1)
    between = -value[:, None] * gradient / np.maximum((gradient**2).sum(axis=1, keepdims=True), 0.1)
    normal = directions[outer] + directions[inner]
    normal /= np.linalg.norm(normal, axis=1, keepdims=True)
    across = ((joints[ends[outer, 0]] - vertices) * normal).sum(axis=1, keepdims=True) * normal
    move = np.where(linked, across, between)
    move[np.linalg.norm(move, axis=1) > 0.6 * cell] = 0
    to_cut = LABELLED_FOREARM - (vertices - joints[WRIST]) @ forearm
    at_cut = np.abs(to_cut) < 0.8 * cell
    move[at_cut] = to_cut[at_cut, None] * forearm
    return vertices + move


def _label(centres: np.ndarray, joints: np.ndarray, forearm: np.ndarray) -> np.ndarray:
    """Part (F,) of every face: its nearest bone's, where the forearm begins a little behind the wrist."""
    distances = bone_distances(centres, joints, forearm)
    nearest_in_hand = BONE_PART_IDS[np.argmin(distances[:, :FOREARM], axis=1)]
    behind_wrist = (centres - joints[WRIST]) @ forearm
    return np.where(behind_wrist > LABELLED_FOREARM, 0, nearest_in_hand).astype(np.uint8)


def _mesh(anatomy: Anatomy, joints: np.ndarray, size: float) -> tuple[np.ndarray, np.ndarray]:
    """Closed mesh of the zero level, outward faces: marching cubes on a grid that is coarser towards the elbow."""
    cell = CELL * size
    low, high = joints.min(axis=0) - MARGIN * size, joints.max(axis=0) + MARGIN * size
    knuckles = joints[list(KNUCKLES), 1].min()
    top = np.arange(high[1], knuckles, -cell)
    palm = np.arange(top[-1] - cell, joints[WRIST, 1] - 28 * size, -cell * PALM_STRETCH)
    arm = np.arange(palm[-1] - cell * FOREARM_STRETCH, -(FOREARM_LENGTH + 60) * size, -cell * FOREARM_STRETCH)
    ys = np.concatenate([top, palm, arm])[::-1]
    width = np.interp(ys, (-130 * size, -30 * size, knuckles, knuckles + 25 * size), (2.9, 1.6, 1.2, 1.0))
    half = np.array((max(-low[0], high[0]), max(-low[2], high[2]))) + cell
    xs = np.arange(-half[0], half[0] + cell, cell)
    zs = np.arange(-half[1], half[1] + cell, cell)
    grid = np.stack(
        np.broadcast_arrays(
            xs[:, None, None] * width[None, :, None], ys[None, :, None], zs[None, None, :] * width[None, :, None]
        ),
        axis=-1,
    )
    field = signed_distance(anatomy, grid.reshape(-1, 3), size).reshape(grid.shape[:3])
    index, faces, _, _ = marching_cubes(field, 0.0)
    y = np.interp(index[:, 1], np.arange(len(ys)), ys)
    stretch = np.interp(index[:, 1], np.arange(len(ys)), width)
    vertices = np.stack([(xs[0] + index[:, 0] * cell) * stretch, y, (zs[0] + index[:, 2] * cell) * stretch], axis=1)
    vertices = _relax(vertices, faces, anatomy, size)
    if _volume(vertices, faces) < 0:
        faces = faces[:, ::-1]
    return vertices, np.ascontiguousarray(faces, dtype=np.int32)


def _relax(vertices: np.ndarray, faces: np.ndarray, anatomy: Anatomy, size: float) -> np.ndarray:
    """Even out the triangles: move every vertex to its neighbours' mean, then back onto the skin."""
    edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    degree = np.bincount(edges[:, 0], minlength=len(vertices))[:, None]
    for _ in range(3):
        mean = np.zeros_like(vertices)
        np.add.at(mean, edges[:, 0], vertices[edges[:, 1]])
        vertices = _onto_skin(0.4 * vertices + 0.6 * mean / degree, anatomy, size)
    return vertices


def _onto_skin(vertices: np.ndarray, anatomy: Anatomy, size: float) -> np.ndarray:
    """One Newton step towards the zero level."""
    step = 0.2
    distance = signed_distance(anatomy, vertices, size)
    gradient = np.stack(
        [(signed_distance(anatomy, vertices + step * axis, size) - distance) / step for axis in np.eye(3)], axis=1
    )
    squared = np.maximum((gradient**2).sum(axis=1, keepdims=True), 0.25)
    return vertices - np.clip(distance[:, None] * gradient / squared, -2.0, 2.0)


def _volume(vertices: np.ndarray, faces: np.ndarray) -> float:
    a, b, c = (vertices[faces[:, i]] for i in range(3))
    return float(np.einsum("fi,fi->", a, np.cross(b, c)) / 6)
