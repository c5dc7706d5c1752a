"""Signed distance of a resting right hand: tapered limbs and ellipsoids joined by a smooth minimum.

All radii are of a mean adult hand in millimetres and scale with the subject's Shape.
"""

from dataclasses import dataclass

import numpy as np

from hands.parts import WRIST
from hands.synthetic.skeleton import Shape
from hands.synthetic.surface import KNUCKLES, bone_frames, palm_frame

FOREARM_LENGTH = 230.0
FLATNESS = 0.92  # of a finger: depth over width
NEAR, FAR = 14.0, 1e3  # millimetres: beyond NEAR a piece does not bend the skin; where none is near, FAR

# Half widths of thumb..pinky at: base, middle of the proximal bone, its end, middle of the next bone, its end,
# middle of the last bone, tip. (The thumb's proximal bone is its metacarpal.)
FINGER_RADII = np.array(
    [
        (13.2, 12.4, 11.0, 10.1, 10.7, 10.8, 7.7),
        (10.8, 10.0, 9.9, 9.1, 8.9, 8.4, 6.7),
        (10.8, 10.2, 10.1, 9.3, 9.1, 8.6, 6.9),
        (10.3, 9.5, 9.4, 8.6, 8.4, 8.0, 6.4),
        (9.2, 8.2, 8.1, 7.4, 7.4, 7.0, 5.7),
    ]
)


@dataclass(frozen=True)
class Limb:
    """A bone's flesh: a capsule of varying radius, flattened front to back."""

    start: np.ndarray  # (3,)
    end: np.ndarray  # (3,)
    out: np.ndarray  # (3,) unit, the direction in which it is flattened
    radii: np.ndarray  # (3,) at start, middle, end
    flatness: float


@dataclass(frozen=True)
class Ellipsoid:
    """A muscle, a pad, a knuckle."""

    centre: np.ndarray  # (3,)
    frame: np.ndarray  # (3, 3) columns are its axes
    radii: np.ndarray  # (3,)


@dataclass(frozen=True)
class Anatomy:
    """Primitives of a hand, grouped by how they join."""

    palm: tuple[Limb | Ellipsoid, ...]
    fingers: tuple[tuple[Limb | Ellipsoid, ...], ...]  # thumb..pinky


def build_anatomy(joints: np.ndarray, forearm: np.ndarray, shape: Shape) -> Anatomy:
    """Flesh for the resting joints (21, 3) of a right hand; forearm (3,) is the unit direction to the elbow."""
    frames = bone_frames(joints, forearm)
    fingers = tuple(tuple(_finger(joints, frames, finger, shape.size * shape.thickness[finger])) for finger in range(5))
    return Anatomy(palm=tuple(_palm(joints, forearm, shape)), fingers=fingers)


def _finger(joints: np.ndarray, frames: np.ndarray, finger: int, scale: float) -> list[Limb | Ellipsoid]:
    radii = FINGER_RADII[finger] * scale
    tip, third, second, base = joints[4 * finger : 4 * finger + 4]
    outs = frames[3 * finger : 3 * finger + 3, :, 2]  # distal, middle, proximal
    end = tip - (tip - third) / np.linalg.norm(tip - third) * radii[6] * 0.3  # the joint lies inside the tip
    pieces: list[Limb | Ellipsoid] = [
        Limb(start=base, end=second, out=outs[2], radii=radii[0:3], flatness=FLATNESS),
        Limb(start=second, end=third, out=outs[1], radii=radii[2:5], flatness=FLATNESS),
        Limb(start=third, end=end, out=outs[0], radii=radii[4:7], flatness=0.84),
    ]
    pad = 0.45 * third + 0.55 * tip - outs[0] * radii[5] * 0.22
    pieces.append(Ellipsoid(pad, frames[3 * finger], radii[5] * np.array((0.92, 1.25, 0.8))))
    pieces.append(
        Ellipsoid(third + outs[1] * radii[4] * 0.18, frames[3 * finger + 1], radii[4] * np.array((0.95, 0.8, 0.85)))
    )
    pieces.append(
        Ellipsoid(second + outs[2] * radii[2] * 0.2, frames[3 * finger + 2], radii[2] * np.array((0.96, 0.9, 0.88)))
    )
    if finger > 0:
        middle_pad = 0.5 * (second + third) - outs[1] * radii[3] * 0.3
        pieces.append(Ellipsoid(middle_pad, frames[3 * finger + 1], radii[3] * np.array((0.88, 1.05, 0.8))))
        base_pad = 0.35 * base + 0.65 * second - outs[2] * radii[1] * 0.32
        pieces.append(Ellipsoid(base_pad, frames[3 * finger + 2], radii[1] * np.array((0.88, 1.3, 0.8))))
    return pieces


def _palm(joints: np.ndarray, forearm: np.ndarray, shape: Shape) -> list[Limb | Ellipsoid]:
    palm = palm_frame(joints)
    across, along, out = palm.T
    wrist = joints[WRIST]
    heads = joints[list(KNUCKLES)]
    size = shape.size
    bulk = size * shape.bulk

    def place(x: float, y: float, z: float) -> np.ndarray:
        return wrist + (across * x * shape.palm_width + along * y * shape.palm_length + out * z) * size

    pieces: list[Limb | Ellipsoid] = []
    roots = ((-13.0, 8, 0), (-4.5, 8, 2), (5.0, 8, 1), (13.0, 7, -2))
    for head, root, radius in zip(heads, roots, (12.6, 12.6, 12.0, 11.2), strict=True):
        radii = bulk * np.array((14.0, 13.2, radius))
        pieces.append(Limb(place(*root), head - out * bulk * 2.5, out, radii, 0.86))
    for head, radius in zip(heads, (9.4, 9.8, 8.8, 8.0), strict=True):
        pieces.append(Ellipsoid(head + out * bulk * 2.4, palm, bulk * radius * np.array((0.8, 1.05, 0.95))))
    for left, right in zip(heads[:-1], heads[1:], strict=True):  # the webs and the pad behind them
        web = 0.5 * (left + right) + along * size * 13
        pieces.append(Ellipsoid(web - out * bulk * 3.5, palm, bulk * np.array((8.5, 10.0, 6.5))))
    cmc, mcp = joints[3], joints[2]
    thumb_axis = (mcp - cmc) / np.linalg.norm(mcp - cmc)
    side = across - thumb_axis * (across @ thumb_axis)
    side /= np.linalg.norm(side)
    thenar = np.stack([side, thumb_axis, np.cross(side, thumb_axis)], axis=1)
    pieces.append(
        Ellipsoid(
            0.55 * cmc + 0.45 * mcp + side * 7 * bulk - out * 3.5 * bulk, thenar, bulk * np.array((16.5, 29.0, 13.5))
        )
    )
    pieces.append(Ellipsoid(place(18.0, 30.0, -8.0), palm, bulk * np.array((15.0, 31.0, 13.5))))
    first_web = 0.36 * mcp + 0.34 * heads[0] + 0.3 * cmc
    pieces.append(Limb(cmc, first_web + 0.35 * (heads[0] - first_web), out, bulk * np.array((11.0, 10.0, 7.5)), 0.7))
    pieces.append(
        Limb(mcp * 0.75 + cmc * 0.25, 0.62 * heads[0] + 0.38 * cmc, out, bulk * np.array((7.5, 6.6, 7.5)), 0.75)
    )
    elbow = wrist + forearm * FOREARM_LENGTH * size
    wide = wrist + forearm * 115 * size
    for offset in (-9.0, 9.0):  # radius and ulna
        shift = across * offset * bulk
        pieces.append(
            Limb(wrist + shift - forearm * 6 * size, wide + shift * 1.4, out, bulk * np.array((19.5, 20.5, 26.0)), 0.86)
        )
    pieces.append(Limb(wide, elbow, out, bulk * np.array((38.0, 42.0, 42.0)), 0.88))
    ulna = wrist + across * 19 * bulk + forearm * 14 * size + out * 8 * bulk
    pieces.append(Ellipsoid(ulna, palm, bulk * np.array((9.0, 10.0, 8.5))))
    return pieces


def signed_distance(anatomy: Anatomy, points: np.ndarray, size: float) -> np.ndarray:
    """Distance (N,) of points (N, 3) to the skin, millimetres, negative inside; exact only near the skin."""
    palm = _join(anatomy.palm, points, 9.0 * size)
    thumb, *fingers = (_join(pieces, points, 2.2 * size) for pieces in anatomy.fingers)
    joined = fingers[0]
    for finger in fingers[1:]:
        joined = smooth_minimum(joined, finger, 2.5 * size)
    return smooth_minimum(smooth_minimum(palm, thumb, 8.0 * size), joined, 5.0 * size)


def smooth_minimum(a: np.ndarray, b: np.ndarray, width: float) -> np.ndarray:
    """The smaller of two distances, rounded where they differ by less than `width` (Quilez, polynomial)."""
    overlap = np.maximum(width - np.abs(a - b), 0)
    return np.minimum(a, b) - overlap * overlap / (4 * width)


def _join(pieces: tuple[Limb | Ellipsoid, ...], points: np.ndarray, width: float) -> np.ndarray:
    """Smooth minimum of the distances to all pieces; a piece is left out where it is too far to matter."""
    joined = np.full(len(points), FAR)
    for piece in pieces:
        low, high = _reach(piece)
        near = np.flatnonzero(((points > low - NEAR) & (points < high + NEAR)).all(axis=1))
        joined[near] = smooth_minimum(joined[near], _distance(piece, points[near]), width)
    return joined


def _reach(piece: Limb | Ellipsoid) -> tuple[np.ndarray, np.ndarray]:
    """Corners of a box around a piece."""
    ends = np.stack([piece.centre, piece.centre] if isinstance(piece, Ellipsoid) else [piece.start, piece.end])
    return ends.min(axis=0) - piece.radii.max(), ends.max(axis=0) + piece.radii.max()


def _distance(piece: Limb | Ellipsoid, points: np.ndarray) -> np.ndarray:
    if isinstance(piece, Ellipsoid):
        local = (points - piece.centre) @ piece.frame
        outer = np.linalg.norm(local / piece.radii, axis=1)
        inner = np.linalg.norm(local / piece.radii**2, axis=1)
        return outer * (outer - 1) / np.maximum(inner, 1e-6)
    axis = piece.end - piece.start
    relative = points - piece.start
    along = np.clip(relative @ axis / (axis @ axis), 0, 1)
    radius = np.interp(along, (0, 0.5, 1), piece.radii)
    outward = (points - piece.start - along[:, None] * axis) @ piece.out
    squared = ((relative - along[:, None] * axis) ** 2).sum(axis=1)
    flattened = np.sqrt(squared + outward**2 * (1 / piece.flatness**2 - 1))
    return (flattened - radius) * (
        piece.flatness + (1 - piece.flatness) * np.clip(1 - np.abs(outward) / np.sqrt(squared + 1e-9), 0, 1)
    )
