"""What is behind the hands: a dark studio with lamps that glare, a grey wall, coloured cloth, somebody's shirt."""

import functools
from dataclasses import dataclass

import numpy as np

from hands.synthetic.camera import RELEASE_SIDE, Camera

KINDS = ("lamps", "shirt", "grey", "cloth")
LAMP_COLOURS = np.array([(1.0, 0.97, 0.9), (0.93, 1.0, 0.93), (1.0, 0.9, 0.85)])


@dataclass(frozen=True)
class Cloth:
    """A woven pattern, periods in millimetres."""

    colour: np.ndarray  # (3,) linear RGB
    stripe: np.ndarray  # (3,) linear RGB
    plaid: float  # 0 plain .. 1 stripes at full strength
    period: float
    phase: float


def sample_cloth(rng: np.random.Generator) -> Cloth:
    """A random fabric: about half plaid, half plain."""
    return Cloth(
        colour=rng.uniform(0.015, 0.35) * (0.25 + rng.dirichlet((1.2, 1.2, 1.2)) * 2),
        stripe=rng.uniform(0.01, 0.6) * (0.4 + rng.dirichlet((1.5, 1.5, 1.5)) * 1.8),
        plaid=float(rng.random() < 0.5) * rng.uniform(0.5, 1),
        period=rng.uniform(22, 55),
        phase=rng.uniform(0, 1),
    )


def cloth_colour(cloth: Cloth, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Linear RGB (..., 3) at places u, v on the fabric, millimetres."""
    bands = []
    for place in (u / cloth.period + cloth.phase, v / cloth.period):
        turn = place - np.floor(place)
        bands.append(0.45 * (turn < 0.42) + 0.55 * ((turn > 0.66) & (turn < 0.74)))
    share = cloth.plaid * np.clip(bands[0] + bands[1], 0, 1)
    weave = 1 + 0.1 * np.sin(u * 3.1) * np.sin(v * 3.1)
    return (cloth.colour + share[..., None] * (cloth.stripe - cloth.colour)) * weave[..., None]


def paint_background(kind: str, camera: Camera, cloth: Cloth, rng: np.random.Generator) -> np.ndarray:
    """(H, W, 3) float32 linear RGB; `cloth` is what somebody behind the hands wears."""
    height, width = camera.height, camera.width
    if kind == "lamps":
        picture = _dark(height, width, rng)
        _add_lamps(picture, rng)
    elif kind == "shirt":
        picture = _dark(height, width, rng)
        _add_lamps(picture, rng)
        _add_torso(picture, camera, cloth, rng)
    elif kind == "grey":
        level = rng.uniform(0.03, 0.4)
        shade = 1 + 0.35 * _field(height, width, 3, rng) + 0.12 * _field(height, width, 24, rng)
        picture = np.repeat(np.clip(level * shade, 0.002, 1)[..., None], 3, axis=2)
    else:
        picture = _two_cloths(camera, rng)
    return picture.astype(np.float32)


def _dark(height: int, width: int, rng: np.random.Generator) -> np.ndarray:
    glow = np.clip(1 + 0.8 * _field(height, width, 4, rng), 0, None) * rng.uniform(0.0005, 0.006)
    return glow[..., None] * rng.uniform(0.8, 1.2, 3)


def _add_lamps(picture: np.ndarray, rng: np.random.Generator) -> None:
    """Add a loose lattice of glaring lamps in place: a burnt-out core, a halo and the aperture's rays."""
    height, width = picture.shape[:2]
    unit = max(height, width) / RELEASE_SIDE
    spacing = rng.uniform(75, 130) * unit
    lean, turn, rays = rng.uniform(-0.25, 0.25), rng.uniform(0, np.pi), rng.choice((4, 6))
    core = rng.uniform(2.2, 4.5) * unit
    colour = LAMP_COLOURS[rng.integers(len(LAMP_COLOURS))]
    reach = int(30 * unit) + 2
    for row in np.arange(rng.uniform(0, spacing), height, spacing):
        for column in np.arange(rng.uniform(-spacing, 0), width + spacing, spacing):
            y, x = row + rng.normal(0, 7 * unit) + lean * column * 0.3, column + rng.normal(0, 7 * unit)
            top, left = max(int(y) - reach, 0), max(int(x) - reach, 0)
            patch = picture[top : max(int(y) + reach, 0), left : max(int(x) + reach, 0)]
            if rng.random() < 0.25 or patch.size == 0:
                continue
            dy, dx = np.mgrid[top : top + patch.shape[0], left : left + patch.shape[1]].astype(np.float32) - np.array(
                (y, x), dtype=np.float32
            ).reshape(2, 1, 1)
            radius = np.hypot(dy, dx) + 1e-3
            spikes = np.abs(np.cos(np.arctan2(dy, dx) * rays / 2 + turn)) ** 40
            glare = 3 * np.exp(-((radius / core) ** 2)) + 0.25 * np.exp(-radius / (2.2 * core))
            glare += 0.35 * spikes * np.exp(-radius / (9 * unit))
            patch += (glare * np.clip(1 - radius / reach, 0, 1))[..., None] * colour * rng.uniform(0.6, 1.1)


def _add_torso(picture: np.ndarray, camera: Camera, cloth: Cloth, rng: np.random.Generator) -> None:
    """Somebody stands behind the hands, in place: a body's width of cloth with shaded flanks and folds."""
    height, width = picture.shape[:2]
    millimetres = 1150 / camera.focal
    centre, half, lean = rng.uniform(-170, 170), rng.uniform(95, 190), rng.normal(0, 0.1)
    folds = 1 + 0.3 * _field(height, width, 7, rng)
    bend = 6 * _field(height, width, 3, rng)
    v, u = np.mgrid[0:height, 0:width].astype(np.float32) * np.float32(millimetres)
    u += np.float32(-width / 2 * millimetres - centre) - np.float32(lean) * v
    across = u / (half * (1 + 0.12 * np.sin(v / 140)))
    inside = np.nonzero(np.abs(across) < 1)
    colour = cloth_colour(cloth, (u + bend)[inside], (v + bend)[inside])
    across = across[inside][:, None]
    shade = np.sqrt(1 - across**2) * np.clip(folds[inside], 0, None)[:, None] * rng.uniform(0.35, 1.0)
    cover = np.clip((1 - np.abs(across)) * 40, 0, 1)
    picture[inside] += cover * (colour * shade - picture[inside])


def _two_cloths(camera: Camera, rng: np.random.Generator) -> np.ndarray:
    """Two mottled fabrics that meet along a soft, bent edge."""
    height, width = camera.height, camera.width
    v, u = np.mgrid[0:height, 0:width] / max(height, width)
    angle = rng.uniform(0, 2 * np.pi)
    edge = np.cos(angle) * (u - 0.35) + np.sin(angle) * (v - 0.4) + 0.12 * _field(height, width, 3, rng)
    share = np.clip(edge * 60 + rng.normal(0, 12), 0, 1)[..., None]
    fabrics = []
    for _ in range(2):
        colour = rng.uniform(0.02, 0.5) * rng.dirichlet((0.8, 0.8, 0.8)) * 2
        mottle = 1 + 0.25 * _field(height, width, 6, rng) + 0.2 * _field(height, width, 20, rng)
        fabrics.append(np.clip(mottle, 0.1, 2)[..., None] * colour)
    return fabrics[0] + share * (fabrics[1] - fabrics[0])


def _field(height: int, width: int, cells: int, rng: np.random.Generator) -> np.ndarray:
    """Smooth noise (H, W) of about unit variance, coarsest features `cells` to the longer side, finer ones fainter."""
    total = np.zeros((height, width), dtype=np.float32)
    for octave, strength in enumerate((0.8, 0.5, 0.35)):
        nodes = np.maximum((np.array((height, width)) * cells * 2**octave) // max(height, width), 1) + 2
        noise = rng.standard_normal(nodes, dtype=np.float32) * np.float32(strength)
        total += _interpolation(height, int(nodes[0])) @ noise @ _interpolation(width, int(nodes[1])).T
    return total


@functools.lru_cache(maxsize=64)
def _interpolation(pixels: int, nodes: int) -> np.ndarray:
    """(pixels, nodes) weights of a Gaussian about every node: smooth enough that the nodes do not show."""
    place = np.linspace(0, nodes - 1, pixels)
    weights = np.exp(-(((place[:, None] - np.arange(nodes)) / 0.9) ** 2))
    return (weights / np.sqrt((weights**2).sum(axis=1, keepdims=True))).astype(np.float32)
