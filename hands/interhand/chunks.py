"""What a worker does: pictures of the release and their annotations -> encoded pictures and labels. Free of torch."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hands.files.crop import BOX_SCALE
from hands.files.decoding import BrokenEntry, decode_image
from hands.files.encoding import encode_labels, encode_swapped_jpeg
from hands.interhand.agreement import joint_agreement
from hands.interhand.labels import LabelSource, NoLabels, project, render
from hands.interhand.release import JOINT_ROWS, Fit, Joints, ReleaseCamera
from hands.parts import HANDS, LEFT_LABEL_OFFSET, NUM_CLASSES
from hands.synthetic.surface import Surface

BLACK = 10  # of 255: a picture without a brighter pixel shows nothing


@dataclass(frozen=True)
class FrameInfo:
    """What the lists say of one picture (layout_writer.ListedFrame). bbox: x, y, w, h, square, enlarged. None: not known."""

    split: str
    role: str
    path: str
    hand_type: str
    hand_type_valid: bool | None
    bbox: tuple[float, float, float, float]
    seq_name: str | None
    capture: int | None
    cam: int | None
    frame: int | None


@dataclass(frozen=True)
class ImportedFrame(FrameInfo):
    """One picture as the raw layout stores it (layout_writer.EncodedFrame)."""

    image: bytes | None
    labels_l: bytes | None
    labels_r: bytes | None


@dataclass(frozen=True)
class Job:
    """One picture to import. camera, joints and fits are None where the release has none, fits also where they are not asked
    for. labelled: whether its role takes labels."""

    info: FrameInfo
    picture: Path
    width: int
    height: int
    camera: ReleaseCamera | None
    joints: Joints | None
    fits: dict[str, Fit | None] | None
    labelled: bool


@dataclass(frozen=True)
class Chunk:
    """Jobs of one go; those of a moment stand together."""

    number: int
    jobs: tuple[Job, ...]


@dataclass(frozen=True)
class Imported:
    """What became of a chunk. dropped, without_labels, hands_left_out: (reason, path) of pictures that are not there, of
    pictures that lost their labels, of hands that could not be labelled. part_pixels: (2, 17) of all labels, left first.
    joints: (3,) as joint_agreement counts them, over all hands that were labelled."""

    frames: tuple[ImportedFrame, ...]
    dropped: tuple[tuple[str, str], ...]
    without_labels: tuple[tuple[str, str], ...]
    hands_left_out: tuple[tuple[str, str], ...]
    part_pixels: np.ndarray
    joints: np.ndarray


class _Dropped(Exception):
    """A picture cannot be used; the message is a short phrase to count such pictures by."""


def import_chunk(source: LabelSource, channel_order: str, chunk: Chunk) -> Imported:
    """Read, label and encode; nothing is refused, what cannot be used is reported.

    channel_order: 'bgr' swaps red and blue in the file, as the layout has it; 'rgb' keeps the release's own bytes.
    """
    return _ChunkImport(source, channel_order).run(chunk.jobs)


def square_box(box: np.ndarray) -> tuple[float, float, float, float]:
    """The release's box (4,) made square about its centre and enlarged by 1.25, as the raw layout has it."""
    x, y, w, h = (float(number) for number in box)
    side = BOX_SCALE * max(w, h)
    return x + w / 2 - side / 2, y + h / 2 - side / 2, side, side


class _ChunkImport:
    def __init__(self, source: LabelSource, channel_order: str):
        self._source, self._channel_order = source, channel_order
        self._surfaces: dict[tuple[int, int, str], Surface | NoLabels] = {}  # one moment's serve all its cameras
        self._frames: list[ImportedFrame] = []
        self._dropped: list[tuple[str, str]] = []
        self._without_labels: list[tuple[str, str]] = []
        self._hands_left_out: list[tuple[str, str]] = []
        self._part_pixels = np.zeros((len(HANDS), NUM_CLASSES), np.int64)
        self._joints = np.zeros(3, np.int64)

    def run(self, jobs: tuple[Job, ...]) -> Imported:
        for job in jobs:
            try:
                self._frames.append(self._frame(job))
            except _Dropped as error:
                self._dropped.append((str(error), job.info.path))
        return Imported(
            frames=tuple(self._frames),
            dropped=tuple(self._dropped),
            without_labels=tuple(self._without_labels),
            hands_left_out=tuple(self._hands_left_out),
            part_pixels=self._part_pixels,
            joints=self._joints,
        )

    def _frame(self, job: Job) -> ImportedFrame:
        info = job.info
        _check_box(job)
        image = None if info.role == "unpaired_masks" else self._picture(job)
        labels = self._labels(job) if job.labelled else None
        role = info.role
        if labels is None and job.labelled:
            if role != "paired":
                raise _Dropped("no labels")
            role = "unpaired_image"
        encoded_l = encoded_r = None
        if labels is not None:
            if role == "unpaired_masks" and not labels.any():
                raise _Dropped("labels empty")
            self._part_pixels += [np.bincount(hand.ravel(), minlength=NUM_CLASSES) for hand in labels]
            left = np.where(labels[0] > 0, labels[0] + np.uint8(LEFT_LABEL_OFFSET), 0).astype(np.uint8)
            encoded_l, encoded_r = encode_labels(left), encode_labels(labels[1])
        fields = {**vars(info), "role": role}
        return ImportedFrame(**fields, image=image, labels_l=encoded_l, labels_r=encoded_r)

    def _picture(self, job: Job) -> bytes:
        try:
            encoded = job.picture.read_bytes()
        except OSError:
            raise _Dropped("picture missing") from None
        try:
            image = decode_image(encoded, str(job.picture), upright=False)
        except BrokenEntry as error:
            raise _Dropped(error.reason) from None
        if image.shape[:2] != (job.height, job.width):
            raise _Dropped("picture of another size")
        if image.max() <= BLACK:
            raise _Dropped("picture all black")
        grey = np.array_equal(image[..., 0], image[..., 2])  # then swapping changes nothing
        return encoded if grey or self._channel_order == "rgb" else encode_swapped_jpeg(image)

    def _labels(self, job: Job) -> np.ndarray | None:
        """(2, H, W) uint8; None where a hand that the picture shows cannot be labelled."""
        labels = np.zeros((len(HANDS), job.height, job.width), np.uint8)
        failures = []
        try:
            _check_annotated(job)
        except NoLabels as error:
            self._without_labels.append((str(error), job.info.path))
            return None
        for hand, name in enumerate(HANDS):
            if job.info.hand_type not in (name, "interacting"):
                continue
            try:
                labels[hand] = render(self._surface(job, name), job.camera, job.width, job.height)
            except NoLabels as error:
                failures.append(str(error))
                self._hands_left_out.append((str(error), f"{job.info.path} {name}"))
        if failures:
            self._without_labels.append(("a hand left out", job.info.path))
            return None
        for hand, name in enumerate(HANDS):
            if job.info.hand_type in (name, "interacting"):
                rows = JOINT_ROWS[name]
                pixels = project(job.joints.world[rows], job.camera)
                self._joints += joint_agreement(labels[hand], pixels, job.joints.valid[rows])
        return labels

    def _surface(self, job: Job, hand: str) -> Surface:
        key = (job.info.capture, job.info.frame, hand)
        if key not in self._surfaces:
            try:
                fit = job.fits.get(hand) if job.fits else None
                self._surfaces[key] = self._source.surface(hand, job.joints, fit)
            except NoLabels as error:
                self._surfaces[key] = error
        found = self._surfaces[key]
        if isinstance(found, NoLabels):
            raise NoLabels(str(found))
        return found


def _check_annotated(job: Job) -> None:
    if job.camera is None:
        raise NoLabels("camera without extrinsics")
    if not job.info.hand_type_valid:
        raise NoLabels("hand_type not valid")
    if job.fits is not None:
        fitted = {hand for hand, fit in job.fits.items() if fit is not None}
        shown = set(HANDS) if job.info.hand_type == "interacting" else {job.info.hand_type}
        if fitted - shown:
            raise NoLabels("MANO fits do not match hand_type")


def _check_box(job: Job) -> None:
    x, y, w, h = job.info.bbox
    if min(w, h) < 1 or max(map(abs, job.info.bbox)) > 1e5:
        raise _Dropped("box of no use")
    if x >= job.width or y >= job.height or x + w <= 0 or y + h <= 0:
        raise _Dropped("box outside the picture")
