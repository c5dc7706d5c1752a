"""Colour of the skin at points of the resting hand: tone, mottling, reddish joints, pale palm, creases, nails."""

import functools
from dataclasses import dataclass

import numpy as np

from hands.parts import BONE_PARTS
from hands.synthetic.surface import BONES, KNUCKLES, Template, palm_frame

# Linear RGB from palest to darkest.
TONES = np.array(
    [(0.83, 0.60, 0.48), (0.72, 0.46, 0.33), (0.55, 0.31, 0.19), (0.33, 0.165, 0.09), (0.15, 0.072, 0.042)]
)
NOISE_SIDE = 48


@dataclass(frozen=True)
class Skin:
    """One subject's skin."""

    tone: np.ndarray  # (3,) linear RGB
    palm_tone: np.ndarray  # (3,) linear RGB
    nail_tone: np.ndarray  # (3,) linear RGB
    mottling: float
    shine: float


def sample_skin(rng: np.random.Generator) -> Skin:
    """A random subject's skin."""
    darkness = rng.uniform(0, len(TONES) - 1)
    tone = np.array([np.interp(darkness, range(len(TONES)), TONES[:, c]) for c in range(3)])
    tone *= rng.uniform(0.93, 1.07, 3)
    palest = np.array((0.74, 0.47, 0.36))
    return Skin(
        tone=tone,
        palm_tone=tone + 0.28 * (darkness / 4) * (palest - tone) + tone * (0.05, -0.01, 0.0),
        nail_tone=np.minimum(tone * (1.12, 1.05, 1.08) + (0.10, 0.055, 0.055), 0.95),
        mottling=rng.uniform(0.05, 0.12),
        shine=rng.uniform(0.008, 0.035),
    )


def albedo(skin: Skin, template: Template, points: np.ndarray, parts: np.ndarray) -> np.ndarray:
    """Linear RGB (N, 3) at resting points (N, 3) whose part ids are (N,)."""
    palm = palm_frame(template.joints)
    outness = np.clip(0.5 + (points - template.joints[KNUCKLES[1]]) @ palm[:, 2] / 14 + 0.45, 0, 1)
    for bone, (parent, child) in enumerate(BONES[:15]):
        chosen = parts == BONE_PARTS[(parent, child)]
        outness[chosen] = np.clip(
            0.5 + (points[chosen] - template.joints[child]) @ template.frames[bone][:, 2] / 8, 0, 1
        )
    colour = skin.palm_tone + outness[:, None] * (skin.tone - skin.palm_tone)
    fine, coarse = _noise(points, 1.1), _noise(points, 5.0)
    colour *= (1 + skin.mottling * (0.7 * fine + coarse))[:, None]
    colour[:, 1:] *= (1 - 0.6 * skin.mottling * _noise(points + 31, 8.0))[:, None]
    for finger in range(5):
        _mark_finger(colour, skin, template, finger, points, parts)
    return colour


def _mark_finger(
    colour: np.ndarray, skin: Skin, template: Template, finger: int, points: np.ndarray, parts: np.ndarray
) -> None:
    """Paint, in place, the nail and the creases of one finger's joints."""
    ids = [BONE_PARTS[BONES[3 * finger + i]] for i in range(3)]
    chosen = np.flatnonzero((parts == ids[0]) | (parts == ids[1]) | (parts == ids[2]))
    if not len(chosen):
        return
    tip, third, second = template.joints[4 * finger : 4 * finger + 3]
    for joint, bone, reach in ((third, 3 * finger + 1, 4.0), (second, 3 * finger + 2, 6.0)):
        local = (points[chosen] - joint) @ template.frames[bone]
        along, out = local[:, 1], local[:, 2]
        redness = np.exp(-((along / reach) ** 2)) * 0.12
        wrinkles = np.exp(-((along / (0.8 * reach)) ** 2)) * np.clip(np.cos(along * 2.4) - 0.35, 0, 1) * 0.16
        crease = np.exp(-((along / 0.9) ** 2)) * 0.22
        colour[chosen] *= 1 - np.where(out > 0, wrinkles, crease)[:, None]
        colour[chosen, 1:] *= 1 - redness[:, None]
    frame = template.frames[3 * finger]
    length = np.linalg.norm(tip - third)
    local = (points[chosen] - third) @ frame
    width = 0.24 * length * (1.12 if finger == 0 else 1.0)
    along = (local[:, 1] - 0.74 * length) / (0.3 * length)
    across = local[:, 0] / width
    edge = (np.abs(along) ** 3 + np.abs(across) ** 3) ** (1 / 3)
    on_back = (local[:, 2] > 0) & (local[:, 1] < 1.08 * length)
    nail = np.clip((1.0 - edge) / 0.12, 0, 1) * on_back
    rim = np.clip(1 - np.abs(edge - 1.03) / 0.14, 0, 1) * on_back * (along < 0.6)
    white = nail * np.clip((along - 0.72) / 0.1, 0, 1) * 0.6
    painted = colour[chosen] * (1 - 0.3 * rim[:, None])
    painted += nail[:, None] * (skin.nail_tone - painted)
    painted += white[:, None] * (np.array((0.85, 0.8, 0.74)) - painted) * 0.7
    colour[chosen] = painted


def _noise(points: np.ndarray, scale: float) -> np.ndarray:
    """Smooth noise (N,) in about [-1, 1] at points (N, 3), features of about 2 x scale millimetres."""
    index = np.floor(points / scale).astype(int) % NOISE_SIDE
    return _noise_volume()[index[:, 0], index[:, 1], index[:, 2]]


@functools.cache
def _noise_volume() -> np.ndarray:
    """A tile of smooth noise; the same for every subject."""
    volume = np.random.default_rng(0).normal(size=(NOISE_SIDE,) * 3)
    for _ in range(2):
        for axis in range(3):
            volume = (np.roll(volume, 1, axis) + 2 * volume + np.roll(volume, -1, axis)) / 4
    return (volume / (2 * volume.std())).astype(np.float32)
