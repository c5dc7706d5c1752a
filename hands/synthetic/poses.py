"""Poses by level: a small vocabulary of gestures, free fingers between and beyond them, how hands face the camera."""

import numpy as np

from hands.synthetic.skeleton import FINGER_LIMITS, THUMB_LIMITS, Articulation, axis_rotation, clip_to_limits

# Fingers index..pinky: spread, MCP, PIP, DIP; thumb: radial and palmar abduction, MCP, IP. Degrees.
STRAIGHT, CURLED = (0, 4, 6, 4), (0, 80, 98, 55)
GESTURES = {
    "open": ([(1, 4, 6, 4), (0, 4, 6, 4), (0, 5, 6, 4), (0, 6, 6, 4)], (38, 18, 8, 2)),
    "spread": ([(12, 0, 5, 3), (2, -2, 5, 3), (-7, 0, 5, 3), (-15, 2, 5, 3)], (54, 22, 2, -4)),
    "fist": ([CURLED, CURLED, CURLED, (0, 82, 96, 55)], (22, 42, 42, 48)),
    "point": ([STRAIGHT, (0, 78, 98, 55), CURLED, CURLED], (22, 42, 38, 45)),
    "victory": ([(12, 2, 6, 4), (-9, 4, 6, 4), (0, 76, 98, 55), CURLED], (12, 46, 42, 40)),
    "thumb": ([CURLED, CURLED, CURLED, CURLED], (56, 12, -4, -10)),
    "relaxed": ([(4, 18, 30, 16), (1, 24, 36, 20), (-3, 28, 40, 22), (-7, 30, 38, 20)], (34, 30, 14, 14)),
    "pinch": ([(2, 52, 52, 28), (0, 28, 34, 18), (-3, 18, 26, 14), (-8, 12, 20, 10)], (16, 46, 22, 26)),
}
NARROW_GESTURES = ("open", "fist", "point", "relaxed")  # all that the paired set knows above level 1
JITTER = 4.0  # degrees about a gesture at level 1
LEVELS = (1, 2, 3)


def sample_articulation(level: int, narrow: bool, rng: np.random.Generator) -> tuple[str, Articulation]:
    """A named pose within the anatomical limits.

    Level 1: a gesture of the vocabulary with little jitter. Levels 2 and 3: fingers free; with `narrow` only blends of
    four gestures.
    """
    if level == 1:
        name = str(rng.choice(list(GESTURES)))
        return name, clip_to_limits(_jittered(_gesture(name), JITTER, rng))
    if narrow:
        first, second = rng.choice(NARROW_GESTURES, size=2)
        return f"{first}_{second}", clip_to_limits(_jittered(_blend(str(first), str(second), rng), 5.0, rng))
    if rng.random() < 0.4:
        first, second = rng.choice(list(GESTURES), size=2)
        return f"{first}_{second}", clip_to_limits(_jittered(_blend(str(first), str(second), rng), 8.0, rng))
    return "free", clip_to_limits(_free(rng))


def sample_orientation(level: int, rng: np.random.Generator) -> np.ndarray:
    """Rotation (3, 3) from the hand frame to the camera frame, for a right hand.

    Level 1 shows the backs of upright hands within about 25 degrees: at 64 pixels a left palm and a right back look
    alike, so the thumb's side tells left from right. Level 2 shows backs and palms, level 3 any direction.
    """
    upright = np.diag((1.0, -1.0, -1.0))  # fingers up, back to the camera
    if level == 3:
        return _any_direction(rng)
    limits = (25.0, 20.0, 22.0) if level == 1 else (40.0, 35.0, 35.0)
    pitch, yaw, roll = np.clip(rng.normal(0, np.array(limits) / 2), -np.array(limits), limits)
    palm_shown = level == 2 and rng.random() < 0.4
    facing = axis_rotation((0, 1.0, 0), 180.0 if palm_shown else 0.0)
    tilt = axis_rotation((0, 0, 1.0), roll) @ axis_rotation((0, 1.0, 0), yaw) @ axis_rotation((1.0, 0, 0), pitch)
    return tilt @ facing @ upright


def _any_direction(rng: np.random.Generator) -> np.ndarray:
    """A uniform rotation (3, 3), but for those whose forearm would stand between the hand and the camera."""
    while True:
        quaternion = rng.normal(size=4)
        w, *axis = quaternion / np.linalg.norm(quaternion)
        sine = np.linalg.norm(axis)
        rotation = axis_rotation(np.array(axis) / sine, np.rad2deg(2 * np.arctan2(sine, w)))
        if rotation[2, 1] < 0.12:  # the fingers' direction away from the camera
            return rotation


def _gesture(name: str) -> Articulation:
    fingers, thumb = GESTURES[name]
    return Articulation(
        fingers=np.array(fingers, dtype=np.float64), thumb=np.array(thumb, dtype=np.float64), wrist=np.zeros(2)
    )


def _jittered(articulation: Articulation, degrees: float, rng: np.random.Generator) -> Articulation:
    """The same pose, a little off: fingers mostly move together, end joints follow middle joints."""
    together = rng.normal(0, degrees)
    offset = rng.normal(0, degrees, (4, 4)) * (0.4, 1, 1, 0.4)
    offset[:, 1:3] += together
    offset[:, 3] += 0.6 * offset[:, 2]
    return Articulation(
        fingers=articulation.fingers + offset,
        thumb=articulation.thumb + rng.normal(0, degrees, 4),
        wrist=articulation.wrist + rng.normal(0, 2 * degrees, 2) * (1.0, 0.6),
    )


def _blend(first: str, second: str, rng: np.random.Generator) -> Articulation:
    a, b, share = _gesture(first), _gesture(second), rng.random()
    return Articulation(
        fingers=(1 - share) * a.fingers + share * b.fingers,
        thumb=(1 - share) * a.thumb + share * b.thumb,
        wrist=np.zeros(2),
    )


def _free(rng: np.random.Generator) -> Articulation:
    """Every finger on its own between straight and curled; neighbours tend to do alike."""
    curl = np.clip(rng.uniform(0, 1) + rng.normal(0, 0.33, 4), -0.08, 1)
    fold = np.clip(curl + rng.normal(0, 0.25, 4), 0, 1)
    fingers = np.empty((4, 4))
    fingers[:, 0] = rng.uniform(FINGER_LIMITS[:, 0, 0], FINGER_LIMITS[:, 0, 1])
    fingers[:, 0] = -np.sort(-fingers[:, 0])  # fingers cross only where their rest directions already do
    fingers[:, 1] = 84 * curl
    fingers[:, 2] = 4 + 92 * fold
    fingers[:, 3] = 0.6 * fingers[:, 2] + rng.normal(0, 6, 4)
    thumb = rng.uniform(THUMB_LIMITS[:, 0] * 0.9, THUMB_LIMITS[:, 1] * 0.9)
    thumb[2:] = np.abs(rng.normal(0, (20, 28)))
    return Articulation(fingers=fingers, thumb=thumb, wrist=rng.normal(0, (16, 8)))
