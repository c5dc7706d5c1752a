"""A hand's skeleton: angles within anatomical limits -> 21 joints in InterHand2.6M order.

Hand frame, right hand, millimetres: origin at the wrist, x towards the little finger, y towards the
fingers, z out of the back of the hand. The left hand is its mirror image in x.
"""

from dataclasses import dataclass

import numpy as np

from hands.parts import NUM_JOINTS, WRIST

# Degrees. Fingers: rows index..pinky; columns spread (+ towards the thumb), flexion at the knuckle (MCP),
# at the middle joint (PIP), at the end joint (DIP). Thumb: radial and palmar abduction of the metacarpal,
# flexion at MCP and IP. Ranges of motion after Kapandji, The Physiology of the Joints, vol. 1.
FINGER_LIMITS = np.array(
    [
        [(-12, 18), (-20, 88), (0, 105), (-5, 75)],
        [(-12, 12), (-20, 90), (0, 105), (-5, 75)],
        [(-16, 10), (-20, 90), (0, 105), (-5, 75)],
        [(-26, 10), (-25, 92), (0, 100), (-5, 75)],
    ],
    dtype=np.float64,
)
THUMB_LIMITS = np.array([(-8, 58), (8, 55), (-10, 60), (-15, 80)], dtype=np.float64)
WRIST_LIMITS = np.array([(-45, 50), (-20, 28)], dtype=np.float64)  # flexion to the palm, deviation to the thumb

# Joints of a mean adult hand with the fingers straight: where the metacarpals end, how long the phalanges are.
METACARPAL_HEADS = np.array([(-25.0, 84.0, -1.0), (-3.5, 86.0, 3.0), (16.5, 80.0, 0.5), (33.0, 70.0, -6.0)])
PHALANGES = np.array([(43.0, 25.0, 22.5), (46.0, 29.5, 23.5), (42.0, 27.5, 23.0), (33.5, 19.5, 20.0)])
FINGER_SPLAY = np.array([5.0, 0.5, -5.0, -11.0])  # degrees towards the thumb, before any spread
THUMB_ROOT = np.array((-23.0, 24.0, -11.0))
THUMB_BONES = np.array((42.0, 33.5, 28.5))


@dataclass(frozen=True)
class Shape:
    """What sets one subject's hand apart; lengths relative to the mean adult hand."""

    size: float
    finger_lengths: np.ndarray  # (5, 3) thumb..pinky, proximal to distal
    palm_width: float
    palm_length: float
    thickness: np.ndarray  # (5,) of the fingers, thumb..pinky
    bulk: float  # of palm and forearm


@dataclass(frozen=True)
class Articulation:
    """Joint angles of one hand in degrees."""

    fingers: np.ndarray  # (4, 4) index..pinky: spread, MCP, PIP, DIP
    thumb: np.ndarray  # (4,) radial and palmar abduction, MCP, IP
    wrist: np.ndarray  # (2,) flexion, deviation


def sample_shape(rng: np.random.Generator) -> Shape:
    """A random subject."""
    lengths = 1 + np.clip(rng.normal(0, 0.05, (5, 1)), -0.09, 0.09) + np.clip(rng.normal(0, 0.03, (5, 3)), -0.05, 0.05)
    stoutness = rng.uniform(0.87, 1.08)
    return Shape(
        size=rng.uniform(0.86, 1.07),
        finger_lengths=lengths * rng.uniform(0.95, 1.06),
        palm_width=rng.uniform(0.95, 1.07) * (0.5 + 0.5 * stoutness),
        palm_length=rng.uniform(0.95, 1.05),
        thickness=stoutness * (1 + np.clip(rng.normal(0, 0.03, 5), -0.05, 0.05)),
        bulk=stoutness * rng.uniform(0.95, 1.06),
    )


def mean_shape() -> Shape:
    """The mean adult hand."""
    return Shape(
        size=1.0,
        finger_lengths=np.ones((5, 3)),
        palm_width=1.0,
        palm_length=1.0,
        thickness=np.ones(5),
        bulk=1.0,
    )


def clip_to_limits(articulation: Articulation) -> Articulation:
    """The nearest angles that a hand can take; a fist leaves no room to spread, so spread shrinks with flexion."""
    fingers = np.clip(articulation.fingers, FINGER_LIMITS[..., 0], FINGER_LIMITS[..., 1])
    room = np.cos(np.deg2rad(np.clip(fingers[:, 1], 0, 90)))
    fingers[:, 0] *= room
    return Articulation(
        fingers=fingers,
        thumb=np.clip(articulation.thumb, THUMB_LIMITS[:, 0], THUMB_LIMITS[:, 1]),
        wrist=np.clip(articulation.wrist, WRIST_LIMITS[:, 0], WRIST_LIMITS[:, 1]),
    )


def axis_rotation(axis: np.ndarray, degrees: float) -> np.ndarray:
    """Rotation by `degrees` about the unit vector `axis` (3,), right-handed, as a (3, 3) matrix (Rodrigues)."""
    x, y, z = axis
    cross = np.array([(0, -z, y), (z, 0, -x), (-y, x, 0)])
    angle = np.deg2rad(degrees)
    return np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross


def forward_kinematics(shape: Shape, articulation: Articulation) -> tuple[np.ndarray, np.ndarray]:
    """Pose a right hand.

    Returns the joints (21, 3) in the hand frame, millimetres, InterHand order, and the unit direction (3,)
    from the wrist along the forearm.
    """
    joints = np.zeros((NUM_JOINTS, 3))
    palm = np.array((shape.palm_width, shape.palm_length, 1.0)) * shape.size
    joints[0:4] = _thumb(shape, articulation.thumb, THUMB_ROOT * palm)
    for finger in range(4):
        lengths = PHALANGES[finger] * shape.finger_lengths[finger + 1] * shape.size
        joints[4 * finger + 4 : 4 * finger + 8] = _finger(
            METACARPAL_HEADS[finger] * palm, lengths, FINGER_SPLAY[finger], articulation.fingers[finger]
        )
    joints[WRIST] = 0
    flexion, deviation = articulation.wrist
    forearm = axis_rotation((0, 0, 1.0), -deviation) @ axis_rotation((1.0, 0, 0), flexion) @ (0, -1.0, 0)
    return joints, forearm


def _finger(head: np.ndarray, lengths: np.ndarray, splay: float, angles: np.ndarray) -> np.ndarray:
    """Joints (4, 3) of one finger, tip to base. Bent fingers converge to the root of the palm."""
    spread, mcp, pip, dip = angles
    convergence = np.cos(np.deg2rad(max(mcp, 0.0)))
    sideways = axis_rotation((0, 0, 1.0), spread + splay * convergence)
    points = [head]
    for length, flexion in zip(lengths, np.cumsum((mcp, pip, dip)), strict=True):
        points.append(points[-1] + length * (sideways @ axis_rotation((1.0, 0, 0), -flexion) @ (0, 1.0, 0)))
    return np.array(points[::-1])


def thumb_frame(radial: float, palmar: float) -> np.ndarray:
    """Orientation (3, 3) of the thumb's metacarpal, columns: hinge axis, bone, out of the nail.

    The saddle joint turns the pad from facing the index finger's side towards the fingers as the thumb is opposed.
    """
    a, b = np.deg2rad((radial, palmar))
    bone = np.array((-np.sin(a) * np.cos(b), np.cos(a) * np.cos(b), -np.sin(b)))
    opposition = np.clip((palmar - radial + 20) / 60, 0, 1)
    pad = np.array((1.0, 0.0, -0.75 + 1.0 * opposition))
    pad -= bone * (pad @ bone)
    pad /= np.linalg.norm(pad)
    return np.stack([np.cross(pad, bone), bone, -pad], axis=1)


def _thumb(shape: Shape, angles: np.ndarray, root: np.ndarray) -> np.ndarray:
    """Joints (4, 3) of the thumb, tip to base."""
    radial, palmar, mcp, ip = angles
    frame = thumb_frame(radial, palmar)
    points = [root]
    for length, flexion in zip(
        THUMB_BONES * shape.finger_lengths[0] * shape.size, np.cumsum((0.0, mcp, ip)), strict=True
    ):
        points.append(points[-1] + length * (frame @ axis_rotation((1.0, 0, 0), -flexion) @ (0, 1.0, 0)))
    return np.array(points[::-1])
