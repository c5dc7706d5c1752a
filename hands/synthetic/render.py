"""Rays by embree: which face lies behind a pixel, the label map of a hand alone, what light reaches the skin."""

from dataclasses import dataclass

import numpy as np
from embreex.mesh_construction import TriangleMesh
from embreex.rtcore_scene import EmbreeScene

from hands.parts import PART_NAMES
from hands.synthetic.camera import Camera, pixel_box, ray_directions
from hands.synthetic.surface import Surface

PALM_AND_WRIST = PART_NAMES.index("palm and wrist")


@dataclass(frozen=True)
class Hits:
    """The N pixels behind which a mesh lies, and where on it."""

    rows: np.ndarray  # (N,)
    columns: np.ndarray  # (N,)
    faces: np.ndarray  # (N,) index of the face
    barycentric: np.ndarray  # (N, 3) float32, of the face's vertices
    depth: np.ndarray  # (N,) millimetres along z


def embree_scene(vertices: np.ndarray, faces: np.ndarray) -> EmbreeScene:
    """A mesh (V, 3), (F, 3) ready for rays."""
    scene = EmbreeScene()
    TriangleMesh(scene, vertices.astype(np.float32), faces.astype(np.int32))
    return scene


def trace(scene: EmbreeScene, vertices: np.ndarray, camera: Camera) -> Hits:
    """First face behind every pixel of the box around the vertices (V, 3), which the scene holds."""
    left, top, right, bottom = pixel_box(vertices, camera)
    rows, columns = (grid.ravel() for grid in np.mgrid[top:bottom, left:right])
    if not len(rows):
        none = np.zeros(0, dtype=int)
        return Hits(none, none, none, np.zeros((0, 3), np.float32), np.zeros(0, np.float32))
    directions = ray_directions(columns, rows, camera)
    answer = scene.run(np.zeros_like(directions), directions, output=1)
    found = np.flatnonzero(answer["primID"] >= 0)
    u, v = answer["u"][found], answer["v"][found]
    return Hits(
        rows=rows[found],
        columns=columns[found],
        faces=answer["primID"][found],
        barycentric=np.stack([1 - u - v, u, v], axis=1),
        depth=answer["tfar"][found],
    )


def label_map(surface: Surface, camera: Camera) -> np.ndarray:
    """(H, W) uint8 part ids 0..16 of one hand seen alone: what hides it, the other hand or its own forearm, is left out.
    Of its own parts that lie behind a pixel the nearest is labelled; what a hand hides of itself stays hidden.

    The hand ends open at the wrist; a ray that enters there meets skin from within, which counts as palm and wrist, as
    if the end were sealed.
    """
    labels = np.zeros((camera.height, camera.width), dtype=np.uint8)
    in_hand = surface.face_parts > 0
    faces = surface.faces[in_hand]
    hits = trace(embree_scene(surface.vertices, faces), surface.vertices[np.unique(faces)], camera)
    a, b, c = (surface.vertices[faces[:, i]] for i in range(3))
    from_within = np.einsum("fi,fi->f", np.cross(b - a, c - a), a) > 0  # the camera is at the origin
    parts = np.where(from_within, PALM_AND_WRIST, surface.face_parts[in_hand])
    labels[hits.rows, hits.columns] = parts[hits.faces]
    return labels


def vertex_normals(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """(V, 3) unit normals, mean of the faces around weighted by area."""
    a, b, c = (vertices[faces[:, i]] for i in range(3))
    face_normals = np.cross(b - a, c - a)
    normals = np.stack(
        [
            sum(np.bincount(faces[:, i], weights=face_normals[:, axis], minlength=len(vertices)) for i in range(3))
            for axis in range(3)
        ],
        axis=1,
    )
    return normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-9)


@dataclass(frozen=True)
class Lights:
    """Distant lamps around the hands."""

    directions: np.ndarray  # (L, 3) unit, from the hand to the lamp
    colours: np.ndarray  # (L, 3) linear RGB


def irradiance(
    scene: EmbreeScene, points: np.ndarray, normals: np.ndarray, lights: Lights, wrap: np.ndarray
) -> np.ndarray:
    """Linear RGB light (V, 3) on skin at points (V, 3): Lambert, wrapped, in the shadow of whatever the scene holds.

    wrap (3,): how far light bleeds under the skin past the terminator, red furthest
    (Green 2004, "Real-Time Approximations to Subsurface Scattering").
    Many lamps give soft shadows and dark creases without a separate ambient occlusion.
    """
    cosine = normals @ lights.directions.T
    vertex, lamp = np.nonzero(cosine > -wrap.max())
    origins = (points[vertex] + 1.2 * normals[vertex] + 0.8 * lights.directions[lamp]).astype(np.float32)
    blocked = scene.run(origins, lights.directions[lamp].astype(np.float32), query="OCCLUDED") == 0
    visible = np.zeros_like(cosine)
    visible[vertex, lamp] = ~blocked
    light = np.empty((len(points), 3))
    for channel in range(3):
        wrapped = np.maximum(cosine + wrap[channel], 0) / (1 + wrap[channel])
        light[:, channel] = (wrapped * visible) @ lights.colours[:, channel]
    return light


def push_apart(front: np.ndarray, back: np.ndarray, allowed: float) -> float:
    """How far (millimetres, in depth) to move the second hand away so that two hands hardly run into each other.

    front, back: vertices (V, 3) of the hand that stays and of the one that goes behind it. Between its first and its
    last vertex a hand counts as solid, on columns 6 mm wide; `allowed` millimetres of it may be entered, so that
    skin touches.
    """
    low = np.minimum(front[:, :2].min(axis=0), back[:, :2].min(axis=0))
    cells = ((np.maximum(front[:, :2].max(axis=0), back[:, :2].max(axis=0)) - low) // 6).astype(int) + 1
    far = np.full(cells, -np.inf)
    near = np.full(cells, np.inf)
    np.maximum.at(far, tuple(((front[:, :2] - low) // 6).astype(int).T), front[:, 2])
    np.minimum.at(near, tuple(((back[:, :2] - low) // 6).astype(int).T), back[:, 2])
    entered = far - near
    return float(max(entered.max() - allowed, 0)) if np.isfinite(entered).any() else 0.0
