"""A frame's labels from its annotations: each hand's surface in the world, seen alone by one camera.

Two sources: `joints` bends the project's own hand to the 21 annotated joints; `mano` poses the licensed model with the
release's fits.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np

from hands.errors import InvalidInput
from hands.interhand.mano import load_models, pose
from hands.interhand.mano_parts import annotated_joints, label_parts, surface_of
from hands.interhand.release import JOINT_ROWS, Fit, Joints, ReleaseCamera
from hands.parts import WRIST
from hands.synthetic.camera import Camera
from hands.synthetic.render import label_map
from hands.synthetic.surface import Surface, surface_from_joints
from hands.synthetic.template import mean_template

SOURCES = ("joints", "mano")
SHORTEST_BONE, LONGEST_BONE = 5.0, 150.0  # millimetres; beyond, an annotation is no hand


class NoLabels(Exception):
    """A hand cannot be labelled; the message is a short phrase to count such hands by."""


@dataclass(frozen=True)
class LabelSource:
    """kind: one of SOURCES. mano_dir: folder of the MANO files, '' for joints. max_fit_error_mm: mean distance of a fit's
    joints to the annotated ones above which the fit is not used."""

    kind: str
    mano_dir: str
    max_fit_error_mm: float

    def check(self) -> None:
        """Raises InvalidInput unless hands can be labelled so."""
        if self.kind not in SOURCES:
            raise InvalidInput(f"labels is {self.kind!r}; choose {' or '.join(SOURCES)}.")
        if self.kind == "mano":
            _mano(self.mano_dir)

    def surface(self, hand: str, joints: Joints | None, fit: Fit | None) -> Surface:
        """One hand in the world frame, millimetres.

        Raises:
            NoLabels: the annotations do not carry it.
        """
        if joints is None:
            raise NoLabels("no joints in joint_3d")
        rows = JOINT_ROWS[hand]
        world, valid = joints.world[rows].astype(np.float64), joints.valid[rows]
        if self.kind == "mano":
            return self._fitted(hand, world, valid, fit)
        if not valid.all():
            raise NoLabels("invalid joints")
        _check_bones(world)
        return surface_from_joints(world, hand, mean_template(), None)

    def _fitted(self, hand: str, world: np.ndarray, valid: np.ndarray, fit: Fit | None) -> Surface:
        if fit is None:
            raise NoLabels("no MANO fit")
        model, parts = _mano(self.mano_dir)[hand]
        posed = pose(model, fit)
        if not valid.any():
            raise NoLabels("no valid joint to judge the MANO fit by")
        if fit_error(annotated_joints(posed, parts), world, valid) > self.max_fit_error_mm:
            raise NoLabels("MANO fit above max_fit_error_mm")
        return surface_of(posed, parts)


def fit_error(fitted: np.ndarray, annotated: np.ndarray, valid: np.ndarray) -> float:
    """Mean distance, millimetres, of joints (21, 3) to the annotated ones (21, 3) that are valid (21,)."""
    return float(np.linalg.norm(fitted - annotated, axis=1)[valid].mean())


def to_camera(points: np.ndarray, camera: ReleaseCamera) -> np.ndarray:
    """World points (N, 3) in the camera's frame, millimetres."""
    return (points - camera.position) @ camera.rotation.T


def project(points: np.ndarray, camera: ReleaseCamera) -> np.ndarray:
    """Pixels (N, 2) of world points (N, 3), x and y."""
    x, y, z = to_camera(points, camera).T
    return np.stack([x / z, y / z], axis=1) * camera.focal + camera.centre


def render(surface: Surface, camera: ReleaseCamera, width: int, height: int) -> np.ndarray:
    """(height, width) uint8 part ids 0..16 of one hand's surface, given in the world, seen alone.

    Raises:
        NoLabels: some of it lies behind the camera.
    """
    return label_map(*in_view(surface, camera, width, height))


def in_view(surface: Surface, camera: ReleaseCamera, width: int, height: int) -> tuple[Surface, Camera]:
    """A surface and a camera of one focal length, fx, that see it as the release's camera sees the surface in the world: what
    fy differs by stretches the surface along y.

    Raises:
        NoLabels: as `render`.
    """
    vertices = to_camera(surface.vertices, camera) * (1, camera.focal[1] / camera.focal[0], 1)
    if vertices[:, 2].min() <= 1:
        raise NoLabels("hand behind the camera")
    pinhole = Camera(width=width, height=height, focal=camera.focal[0], centre_x=camera.centre[0], centre_y=camera.centre[1])
    return Surface(vertices=vertices, faces=surface.faces, face_parts=surface.face_parts), pinhole


@cache
def _mano(mano_dir: str) -> dict:
    """(model, parts) by hand; once a process."""
    return {hand: (model, label_parts(model)) for hand, model in load_models(mano_dir).items()}


def _check_bones(world: np.ndarray) -> None:
    parents = np.array([WRIST if joint % 4 == 3 else joint + 1 for joint in range(WRIST)])
    lengths = np.linalg.norm(world[:WRIST] - world[parents], axis=1)
    if lengths.min() < SHORTEST_BONE or lengths.max() > LONGEST_BONE:
        raise NoLabels("joints that are no hand")
