"""The picture of a scene: skin and sleeves under the lamps, composed over a background, seen by a camera's sensor."""

from dataclasses import dataclass

import numpy as np

from hands.synthetic.background import Cloth, cloth_colour
from hands.synthetic.camera import Camera, near_picture
from hands.synthetic.render import Hits, Lights, embree_scene, irradiance, trace, vertex_normals
from hands.synthetic.skin import Skin, albedo
from hands.synthetic.surface import Surface, Template

SKIN_WRAP = np.array((0.28, 0.13, 0.08))
OUTLINE_STEP = 6.0  # millimetres of depth between neighbouring pixels
CLOTH_TURNS, CLOTH_RINGS = 28, 12


@dataclass(frozen=True)
class Hand:
    """One hand in camera space, with what it wears."""

    surface: Surface
    template: Template
    skin: Skin
    sleeve: (
        tuple[np.ndarray, np.ndarray, np.ndarray] | None
    )  # vertices (S, 3), faces (T, 3), places on the cloth (S, 3)
    cloth: Cloth


@dataclass(frozen=True)
class Sensor:
    """How a camera records light."""

    grey: bool
    tint: np.ndarray  # (3,) gain of each colour
    exposure: float
    noise: float  # standard deviation at mid grey, in [0, 1]
    blur: float  # weight of the neighbours on either side, 0 sharp .. 0.25


def sample_lights(rng: np.random.Generator) -> Lights:
    """A dome of faint lamps and two strong ones, each spread over several directions so that shadows are soft."""
    count = 8
    index = np.arange(count) + 0.5
    height, angle = 1 - 1.35 * index / count, np.pi * (1 + 5**0.5) * index + rng.uniform(0, 2 * np.pi)
    ring = np.sqrt(1 - height**2)
    directions = [np.stack([ring * np.cos(angle), ring * np.sin(angle), -height], axis=1)]
    fill = rng.uniform(0.5, 1.0)
    colours = [np.full((count, 3), fill / count * 1.6)]
    for strength in (rng.uniform(0.5, 1.1), rng.uniform(0, 0.5)):
        key = rng.normal(0, (0.6, 0.5, 0.15)) + (0, -0.45, -0.75)
        spread = key / np.linalg.norm(key) + rng.normal(0, 0.09, (3, 3))
        directions.append(spread / np.linalg.norm(spread, axis=1, keepdims=True))
        colours.append(np.full((3, 3), strength / 3) * rng.uniform(0.92, 1.08, 3))
    return Lights(directions=np.concatenate(directions), colours=np.concatenate(colours))


def sleeve(
    wrist: np.ndarray, forearm: np.ndarray, start: float, radius: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A tube of cloth around the forearm (3,) from `start` millimetres behind the wrist.

    Returns vertices (S, 3), faces (T, 3) and every vertex' place on the cloth (S, 3), millimetres.
    """
    side = np.cross(forearm, (0.31, 0.2, 0.93))
    side /= np.linalg.norm(side)
    other = np.cross(forearm, side)
    along = np.concatenate([[start + 1.5], start + np.linspace(0, 1, CLOTH_RINGS) ** 1.3 * 260])
    turn = np.linspace(0, 2 * np.pi, CLOTH_TURNS, endpoint=False)
    folds = np.sin(along[:, None] / rng.uniform(9, 14) + 1.5 * np.sin(turn + rng.uniform(0, 6))) * rng.uniform(0.5, 1.6)
    radii = radius + 0.05 * (along[:, None] - start) + folds
    radii[0] -= 4  # the hem turns in
    circle = np.cos(turn)[:, None] * side + np.sin(turn)[:, None] * other
    vertices = wrist + along[:, None, None] * forearm + radii[..., None] * circle
    places = np.stack(np.broadcast_arrays(turn * radius, along[:, None], 0.0), axis=-1)
    ring, spoke = np.mgrid[0 : len(along) - 1, 0:CLOTH_TURNS]
    a, b = ring * CLOTH_TURNS + spoke, ring * CLOTH_TURNS + (spoke + 1) % CLOTH_TURNS
    quads = np.stack([a, b, b + CLOTH_TURNS, a + CLOTH_TURNS], axis=-1).reshape(-1, 4)
    return vertices.reshape(-1, 3), np.concatenate([quads[:, :3], quads[:, [0, 2, 3]]]), places.reshape(-1, 3)


def take_picture(
    hands: list[Hand], lights: Lights, background: np.ndarray, camera: Camera, sensor: Sensor, rng: np.random.Generator
) -> np.ndarray:
    """(H, W, 3) uint8 RGB of one or two hands before a background (H, W, 3), linear."""
    vertices, faces, normals, places, owner = _gather(hands)
    scene = embree_scene(vertices, faces)
    hits = trace(scene, vertices, camera)
    view = vertices / np.linalg.norm(vertices, axis=1, keepdims=True)
    seen = np.flatnonzero(((normals * view).sum(axis=1) < 0.35) & near_picture(vertices, camera))
    light = np.zeros_like(vertices)
    light[seen] = irradiance(scene, vertices[seen], normals[seen], lights, SKIN_WRAP)
    at_hits = _interpolate(np.concatenate([light, normals, places], axis=1), faces[hits.faces], hits)
    light, normal, place = at_hits[:, :3], at_hits[:, 3:6], at_hits[:, 6:]
    colour = _surface_colour(hands, owner[hits.faces], hits, place)
    shine = _highlight(normal, lights) * light[:, 1]
    is_skin = owner[hits.faces] % 2 == 0
    gloss = np.array([hand.skin.shine for hand in hands])[owner[hits.faces] // 2] * is_skin
    picture = background.copy()
    picture[hits.rows, hits.columns] = colour * light + (gloss * shine)[:, None]
    _soften_outline(picture, hits)
    return _record(picture, sensor, rng)


def _soften_outline(picture: np.ndarray, hits: Hits) -> None:
    """One ray a pixel leaves outlines stepped: blend, in place, the pixels on either side of a jump in depth."""
    depth = np.zeros(picture.shape[:2], dtype=np.float32)
    depth[hits.rows, hits.columns] = hits.depth
    jump = np.zeros(depth.shape, dtype=bool)
    below = np.abs(depth[1:] - depth[:-1]) > OUTLINE_STEP
    beside = np.abs(depth[:, 1:] - depth[:, :-1]) > OUTLINE_STEP
    jump[1:] |= below
    jump[:-1] |= below
    jump[:, 1:] |= beside
    jump[:, :-1] |= beside
    jump[[0, -1]] = jump[:, [0, -1]] = False
    rows, columns = np.nonzero(jump)
    mixed = picture[rows, columns] * np.float32(0.36)
    for down, right in ((-1, 0), (1, 0), (0, -1), (0, 1)):
        mixed += picture[rows + down, columns + right] * np.float32(0.16)
    picture[rows, columns] = mixed


def _gather(hands: list[Hand]) -> tuple[np.ndarray, ...]:
    """All meshes as one: vertices, faces, normals, places on the material, owner.

    A face's owner is twice the hand's index, plus one on its sleeve.
    """
    vertices, faces, normals, places, owner, count = [], [], [], [], [], 0
    for index, hand in enumerate(hands):
        pieces = [(hand.surface.vertices, hand.surface.faces, hand.template.vertices)]
        if hand.sleeve is not None:
            pieces.append(hand.sleeve)
        for kind, (points, triangles, place) in enumerate(pieces):
            vertices.append(points)
            faces.append(triangles + count)
            normals.append(vertex_normals(points, triangles))
            places.append(place)
            owner.append(np.full(len(triangles), 2 * index + kind))
            count += len(points)
    return tuple(np.concatenate(list_) for list_ in (vertices, faces, normals, places, owner))


def _interpolate(values: np.ndarray, corners: np.ndarray, hits: Hits) -> np.ndarray:
    """(N, C) float32 of per-vertex values (V, C) at the hits."""
    values = values.astype(np.float32)
    return sum(values[corners[:, i]] * hits.barycentric[:, i : i + 1] for i in range(3))


def _surface_colour(hands: list[Hand], owner: np.ndarray, hits: Hits, place: np.ndarray) -> np.ndarray:
    colour = np.empty_like(place)
    first = 0
    for index, hand in enumerate(hands):
        bare, clothed = owner == 2 * index, owner == 2 * index + 1
        parts = hand.surface.face_parts[hits.faces[bare] - first]
        colour[bare] = albedo(hand.skin, hand.template, place[bare], parts)
        colour[clothed] = cloth_colour(hand.cloth, place[clothed, 0], place[clothed, 1])
        first += len(hand.surface.faces) + (0 if hand.sleeve is None else len(hand.sleeve[1]))
    return colour


def _highlight(normal: np.ndarray, lights: Lights) -> np.ndarray:
    """Blinn highlight (N,) of the strongest lamp, the camera looking along z."""
    lamp = lights.directions[np.argmax(lights.colours.sum(axis=1))]
    half = lamp + (0, 0, -1)
    half /= np.linalg.norm(half)
    cosine = np.clip(normal @ half.astype(np.float32) / np.linalg.norm(normal, axis=1).clip(1e-6), 0, 1)
    return 6 * cosine**24


def _record(picture: np.ndarray, sensor: Sensor, rng: np.random.Generator) -> np.ndarray:
    """Linear light -> 8 bit: optics' blur, exposure, gamma, noise."""
    picture = picture.astype(np.float32) * (sensor.exposure * sensor.tint).astype(np.float32)
    if sensor.grey:
        picture = picture @ np.array((0.3, 0.55, 0.15), dtype=np.float32)
        picture = picture[..., None]
    np.clip(picture, 0, 1, out=picture)
    for axis in (0, 1):
        picture = _blurred(picture, axis, sensor.blur)
    np.sqrt(picture, out=picture)  # close to a gamma of 2.2, and much faster
    picture += rng.standard_normal(picture.shape, dtype=np.float32) * np.float32(sensor.noise)
    recorded = (np.clip(picture, 0, 1) * 255 + 0.5).astype(np.uint8)
    return np.repeat(recorded, 3, axis=2) if sensor.grey else recorded


def _blurred(picture: np.ndarray, axis: int, weight: float) -> np.ndarray:
    """Every pixel gives `weight` of itself to either neighbour along an axis."""
    width = [(1, 1) if a == axis else (0, 0) for a in range(picture.ndim)]
    padded = np.moveaxis(np.pad(picture, width, mode="edge"), axis, 0)
    neighbours = np.moveaxis(padded[:-2] + padded[2:], 0, axis)
    return np.float32(1 - 2 * weight) * picture + np.float32(weight) * neighbours
