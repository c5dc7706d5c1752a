"""The folder of the public InterHand2.6M release (v1.0), read as untrusted input.

    images/<split>/CaptureN/<seq>/camX/imageF.jpg
    annotations/<split>/InterHand2.6M_<split>_{data,camera,joint_3d,MANO_NeuralAnnot}.json

Cameras: camera point = R (world - campos), millimetres, x right, y down, z forward; u = fx X/Z + cx, v likewise.
Joints 0..20 are the right hand's, 21..41 the left's. MANO fits are in metres in the world frame.
"""

import hashlib
from array import array
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from hands.entries import is_plain_path
from hands.errors import InvalidInput
from hands.interhand.json_files import field, integer, nested, numbers, records, text
from hands.parts import HAND_TYPES, HANDS, NUM_JOINTS

SPLITS = ("train", "val", "test")
JOINT_ROWS = {"right": slice(0, NUM_JOINTS), "left": slice(NUM_JOINTS, 2 * NUM_JOINTS)}
POSE_SIZE, SHAPE_SIZE = 48, 10
_MAX_SIDE, _MAX_INT32 = 8192, (1 << 31) - 1
_CAMERA_FIELDS = {"camrot": (3, 3), "campos": (3,), "focal": (2,), "princpt": (2,)}
_CODED = ("seq_name", "camera")
_FIELDS = {
    "images": frozenset(("id", "file_name", "width", "height", "capture", "subject", "frame_idx", *_CODED)),
    "annotations": frozenset(("image_id", "hand_type", "hand_type_valid", "bbox")),
}

Moment = tuple[str, str]  # capture and frame as the JSON files' keys


@dataclass(frozen=True)
class Frames:
    """Columns over the N pictures of one split that have an annotation. About 300 bytes a picture."""

    file_names: list[str]  # below images/<split>
    widths: np.ndarray  # (N,) int32 pixels
    heights: np.ndarray  # (N,)
    captures: np.ndarray  # (N,) int32
    subjects: np.ndarray  # (N,)
    frames: np.ndarray  # (N,)
    sequences: np.ndarray  # (N,) index into sequence_names
    cameras: np.ndarray  # (N,) index into camera_names
    sequence_names: list[str]
    camera_names: list[str]
    hand_types: np.ndarray  # (N,) int8 index into parts.HAND_TYPES
    hand_types_valid: np.ndarray  # (N,) bool
    boxes: np.ndarray  # (N, 4) float32 x, y, w, h: 1.2 x the extent of the valid projected joints
    without_annotation: int  # pictures left out

    def moment(self, position: int) -> Moment:
        return str(self.captures[position]), str(self.frames[position])


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
        return _read_frames(self.file("data"))

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


class _Columns:
    """The two lists of a data file as compact columns."""

    def __init__(self, file: Path):
        self._file = file
        self.names: list[str] = []
        self.ids = array("q")
        self.images = {name: array("i") for name in ("width", "height", "capture", "subject", "frame_idx", *_CODED)}
        self.codes: dict[str, dict[str, int]] = {name: {} for name in _CODED}
        self.annotated, self.hand_types, self.valid, self.boxes = array("q"), array("b"), array("b"), array("f")
        for name, position, record in records(file, _FIELDS):
            where = f"{file.name}: {name}[{position}]"
            if name == "images":
                self._add_image(record, where)
            else:
                self._add_annotation(record, where)

    def _add_image(self, record: object, where: str) -> None:
        self.ids.append(integer(record, "id", where, 1 << 62))
        self.names.append(_picture_name(record, where))
        for key in ("width", "height"):
            self.images[key].append(integer(record, key, where, _MAX_SIDE))
        for key in ("capture", "subject", "frame_idx"):
            self.images[key].append(integer(record, key, where, _MAX_INT32))
        for key in _CODED:
            codes = self.codes[key]
            self.images[key].append(codes.setdefault(_folder_name(record, key, where), len(codes)))

    def _add_annotation(self, record: object, where: str) -> None:
        self.annotated.append(integer(record, "image_id", where, 1 << 62))
        hand_type = text(record, "hand_type", where)
        if hand_type not in HAND_TYPES:
            raise InvalidInput(f"{where} has hand_type '{hand_type}'; expected one of {', '.join(HAND_TYPES)}.")
        self.hand_types.append(HAND_TYPES.index(hand_type))
        self.valid.append(bool(field(record, "hand_type_valid", where)))
        self.boxes.extend(numbers(record, "bbox", (4,), where))


def _read_frames(file: Path) -> Frames:
    columns = _Columns(file)
    ids, annotated = np.array(columns.ids, np.int64), np.array(columns.annotated, np.int64)
    if not len(ids) or not len(annotated) or len(np.unique(ids)) != len(ids):
        raise InvalidInput(
            f"{file} lists {len(ids)} images and {len(annotated)} annotations; expected some of both, and no image twice."
        )
    order = np.argsort(annotated, kind="stable")
    place = np.searchsorted(annotated[order], ids).clip(max=len(order) - 1)
    kept = np.flatnonzero(annotated[order][place] == ids)
    kept = kept[np.argsort(ids[kept])]
    rows = order[place[kept]]
    values = {name: np.array(column, np.int32)[kept] for name, column in columns.images.items()}
    return Frames(
        file_names=[columns.names[i] for i in kept],
        widths=values["width"],
        heights=values["height"],
        captures=values["capture"],
        subjects=values["subject"],
        frames=values["frame_idx"],
        sequences=values["seq_name"],
        cameras=values["camera"],
        sequence_names=list(columns.codes["seq_name"]),
        camera_names=list(columns.codes["camera"]),
        hand_types=np.array(columns.hand_types, np.int8)[rows],
        hand_types_valid=np.array(columns.valid, bool)[rows],
        boxes=np.array(columns.boxes, np.float32).reshape(-1, 4)[rows],
        without_annotation=len(ids) - len(kept),
    )


def _picture_name(record: object, where: str) -> str:
    name = text(record, "file_name", where)
    if not is_plain_path(name):
        raise InvalidInput(f"{where} has file_name '{name}'; expected a path below images/ without '..'.")
    return name


def _folder_name(record: object, key: str, where: str) -> str:
    name = text(record, key, where)
    if not is_plain_path(name) or "/" in name:
        raise InvalidInput(f"{where} has {key} '{name}'; expected a name without '/'.")
    if key == "camera" and not (name.isascii() and name.isdecimal() and len(name) <= 18):
        raise InvalidInput(f"{where} has camera '{name}'; expected digits.")
    return name


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
