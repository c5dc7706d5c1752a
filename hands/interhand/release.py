"""The folder of the public InterHand2.6M release (v1.0), read as untrusted input.

    images/<split>/CaptureN/<seq>/camX/imageF.jpg
    annotations/<split>/InterHand2.6M_<split>_{data,camera,joint_3d,MANO_NeuralAnnot}.json

Cameras: camera point = R (world - campos), millimetres, x right, y down, z forward; u = fx X/Z + cx, v likewise.
Joints 0..20 are the right hand's, 21..41 the left's. MANO fits are in metres in the world frame.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from hands.errors import InvalidInput
from hands.interhand.frames import Frames, Moment, read_frames
from hands.interhand.json_files import field, nested, numbers
from hands.parts import HANDS, NUM_JOINTS

SPLITS = ("train", "val", "test")
JOINT_ROWS = {"right": slice(0, NUM_JOINTS), "left": slice(NUM_JOINTS, 2 * NUM_JOINTS)}
POSE_SIZE, SHAPE_SIZE = 48, 10
_CAMERA_FIELDS = {"camrot": (3, 3), "campos": (3,), "focal": (2,), "princpt": (2,)}


@dataclass(frozen=True)
class ReleaseCamera:
    """World to picture: rotation (3, 3), position (3,) millimetres, focal (2,) and centre (2,) pixels."""

    rotation: np.ndarray
    position: np.ndarray
    focal: np.ndarray
    centre: np.ndarray


@dataclass(frozen=True)
class Joints:
    """world: (42, 3) float32 millimetres, right hand first. valid: (42,) bool."""

    world: np.ndarray
    valid: np.ndarray


@dataclass(frozen=True)
class Fit:
    """MANO parameters of one hand: pose (48,) axis-angle less the mean pose, shape (10,), translation (3,) metres."""

    pose: np.ndarray
    shape: np.ndarray
    translation: np.ndarray


class Release:
    """One split of a release.

    Raises:
        InvalidInput: no such split, or the folder lacks images or annotations of it.
    """

    def __init__(self, folder: str | Path, split: str):
        self.folder, self.split = Path(folder), split
        if split not in SPLITS:
            raise InvalidInput(f"release_split is {split!r}; choose one of {', '.join(SPLITS)}.")
        missing = [path for path in (self.images, self.file("data").parent) if not path.is_dir()]
        if missing:
            raise InvalidInput(
                f"release_dir {folder} has no {missing[0].relative_to(self.folder)}; give the release's folder, with images/"
                " and annotations/ in it."
            )

    @property
    def images(self) -> Path:
        return self.folder / "images" / self.split

    def file(self, kind: str) -> Path:
        """kind: data, camera, joint_3d or MANO_NeuralAnnot."""
        return self.folder / "annotations" / self.split / f"InterHand2.6M_{self.split}_{kind}.json"

    def digest(self, kinds: tuple[str, ...]) -> dict[str, str]:
        """SHA-256 of the JSON files by kind."""
        digests = {}
        for kind in kinds:
            try:
                with self.file(kind).open("rb") as stream:
                    digests[kind] = hashlib.file_digest(stream, "sha256").hexdigest()
            except OSError as error:
                raise InvalidInput(
                    f"{self.file(kind)} cannot be read ({error.strerror}); download the release's annotations of {self.split}."
                ) from error
        return digests

    def frames(self) -> Frames:
        """All pictures of the split that have an annotation, by image id."""
        return read_frames(self.file("data"))

    @cached_property
    def cameras(self) -> dict[tuple[str, str], ReleaseCamera]:
        """By capture and camera name; cameras that lack any of their four records are left out."""
        return _read_cameras(self.file("camera"))

    def joints(self, wanted: set[Moment]) -> dict[Moment, Joints]:
        """Joints of the wanted moments, as far as the file has them."""
        return _read_moments(self.file("joint_3d"), wanted, _joints)

    def fits(self, wanted: set[Moment]) -> dict[Moment, dict[str, Fit | None]]:
        """MANO fits of the wanted moments by hand, None where a fit is null."""
        return _read_moments(self.file("MANO_NeuralAnnot"), wanted, _fits)


def _read_cameras(file: Path) -> dict[tuple[str, str], ReleaseCamera]:
    cameras = {}
    records: dict[str, dict[str, object]] = {}
    for capture, kind, by_name in nested(file, lambda capture, kind: kind in _CAMERA_FIELDS):
        records.setdefault(capture, {})[kind] = by_name
    for capture, kinds in records.items():
        where = f"{file.name}: capture {capture}"
        tables = {kind: field(kinds, kind, where) for kind in _CAMERA_FIELDS}
        if not all(isinstance(table, dict) for table in tables.values()):
            raise InvalidInput(f"{where} is not nested as {{campos: {{camera: ...}}}}; copy the file again.")
        for name in set.intersection(*(set(table) for table in tables.values())):
            read = {kind: numbers(tables[kind], name, shape, f"{where}: {kind}") for kind, shape in _CAMERA_FIELDS.items()}
            rotation = read["camrot"]
            if not np.allclose(rotation @ rotation.T, np.eye(3), atol=1e-3) or np.linalg.det(rotation) < 0:
                raise InvalidInput(f"{where}: camrot {name} is no rotation; copy the file again.")
            if (read["focal"] <= 0).any():
                raise InvalidInput(f"{where}: focal {name} is {read['focal'].tolist()}; expected pixels above 0.")
            cameras[capture, name] = ReleaseCamera(rotation, read["campos"], read["focal"], read["princpt"])
    return cameras


def _read_moments(file: Path, wanted: set[Moment], read: Callable[[object, str], object]) -> dict:
    """read(record, where) of every wanted moment that the file has."""
    stream = nested(file, lambda capture, frame: (capture, frame) in wanted)
    return {
        (capture, frame): read(record, f"{file.name}: capture {capture}, frame {frame}") for capture, frame, record in stream
    }


def _joints(record: object, where: str) -> Joints:
    count = 2 * NUM_JOINTS
    world = numbers(record, "world_coord", (count, 3), where).astype(np.float32)
    return Joints(world=world, valid=numbers(record, "joint_valid", (count,), where) > 0)


def _fits(record: object, where: str) -> dict[str, Fit | None]:
    return {hand: _fit(field(record, hand, where), f"{where}, {hand}") for hand in HANDS}


def _fit(record: object, where: str) -> Fit | None:
    if record is None:
        return None
    pose, shape, trans = (
        numbers(record, key, (size,), where).astype(np.float32)
        for key, size in (("pose", POSE_SIZE), ("shape", SHAPE_SIZE), ("trans", 3))
    )
    return Fit(pose=pose, shape=shape, translation=trans)
