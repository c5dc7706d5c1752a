"""The stream of encoded frames that makes a synthetic data set, rendered in parallel, the same bytes for the same seed.

Every frame draws from its own generator, seeded by the set's seed, the split and the frame's number in the split, so
neither the number of workers nor the order of work can show in it.
"""

import multiprocessing
from collections.abc import Iterator
from dataclasses import dataclass, fields
from itertools import groupby

import numpy as np

from hands.errors import InvalidInput
from hands.files.encoding import encode_labels, encode_swapped_jpeg
from hands.parts import LEFT_LABEL_OFFSET
from hands.processes.parents import end_with_parent
from hands.processes.progress import Progress
from hands.processes.workers import single_threaded_children
from hands.synthetic.poses import LEVELS
from hands.synthetic.scene import (
    Station,
    Subject,
    arrange,
    frame_bbox,
    label_maps,
    photograph,
    sample_station,
    sample_subject,
)

# Codes keep the generators of subjects, frames and cameras apart: numpy pads short seeds with zeros.
SPLIT_CODES = {"train": 1_000_001, "val": 1_000_002, "test": 1_000_003}
CAMERA_CODE = 1_000_004
CAMERAS = {"train": range(0, 24), "val": range(24, 32), "test": range(32, 40)}
COLOUR_CAMERA, GREY_CAMERA = 400_000, 410_000  # the release's numbering
CHUNK = 16  # frames of one subject that a worker renders at a time
SMALLEST_SIDE, LARGEST_SIDE = 48, 4096  # pixels


@dataclass(frozen=True)
class SynthesisConfig:
    """How much to make and how hard. Sizes in pixels; about a third of the cameras have width and height swapped."""

    seed: int
    level: int  # 1 upright hands and few poses, 2 upright with free fingers, 3 any direction and pose
    width: int
    height: int
    paired: int  # frames with picture and labels in train
    unpaired_images: int  # frames of train without labels
    unpaired_masks: int  # frames of train without a picture
    val: int
    test: int
    paired_subjects: int
    unpaired_subjects: int  # all of train's subjects, the paired ones among them
    eval_subjects: int  # of val and of test each
    workers: int


@dataclass(frozen=True)
class EncodedFrame:
    """One frame as files hold it.

    The picture's red and blue are swapped in the file (an RGB array handed to OpenCV's encoder), so `cv2.imdecode`
    gives RGB. Labels are PNG of three equal channels, the left hand's parts 17..32, the right hand's 1..16; an absent
    hand's are all zero.
    """

    split: str  # 'train' | 'val' | 'test'
    role: str  # 'paired' | 'unpaired_image' | 'unpaired_masks' | 'val' | 'test'
    path: str  # '<split>/CaptureN/<seq_name>/cam<cam>/image<frame>'
    hand_type: str
    hand_type_valid: int
    bbox: np.ndarray  # (4,) float32 x, y, w, h
    seq_name: str
    capture: int
    cam: str
    frame: int
    image: bytes | None  # JPEG; None for role 'unpaired_masks'
    labels_l: bytes | None  # PNG; None for role 'unpaired_image'
    labels_r: bytes | None


@dataclass(frozen=True)
class Job:
    """Which frame to make, before anything is drawn."""

    split: str
    role: str
    frame: int  # number within the split
    subject: int


def frames(config: SynthesisConfig) -> Iterator[EncodedFrame]:
    """All frames in order: paired, unpaired images, unpaired masks, val, test; subject after subject in each.

    Raises InvalidInput before the first frame if the configuration cannot be met.
    """
    check(config)
    return _frames(config)


def check(config: SynthesisConfig) -> None:
    """Raise InvalidInput unless a data set can be made so."""
    counts = ("paired", "unpaired_images", "unpaired_masks", "val", "test")
    lowest = dict.fromkeys(("seed", *counts), 0) | dict.fromkeys(
        ("paired_subjects", "unpaired_subjects", "eval_subjects", "workers"), 1
    )
    for field in fields(config):
        value = getattr(config, field.name)
        if field.name in lowest and value < lowest[field.name]:
            raise InvalidInput(f"{field.name} is {value}; give a whole number of at least {lowest[field.name]}.")
    if config.level not in LEVELS:
        raise InvalidInput(f"level is {config.level}; give one of {', '.join(map(str, LEVELS))}.")
    if not all(SMALLEST_SIDE <= side <= LARGEST_SIDE for side in (config.width, config.height)):
        raise InvalidInput(
            f"The picture is {config.width}x{config.height}; give sides of {SMALLEST_SIDE} to {LARGEST_SIDE} pixels."
        )
    if config.paired_subjects > config.unpaired_subjects:
        raise InvalidInput(
            f"paired_subjects is {config.paired_subjects}, more than unpaired_subjects ({config.unpaired_subjects});"
            " the paired set shows some of all train subjects, so give at most as many."
        )
    if not sum(getattr(config, name) for name in counts):
        raise InvalidInput(f"No frame is asked for; give at least one of {', '.join(counts)} a number above 0.")


def plan(config: SynthesisConfig) -> list[Job]:
    """Every frame's split, role, number and subject; val's and test's subjects are nobody else's."""
    train, evaluation = config.unpaired_subjects, config.eval_subjects
    shares = (
        ("train", "paired", config.paired, range(config.paired_subjects)),
        ("train", "unpaired_image", config.unpaired_images, range(train)),
        ("train", "unpaired_masks", config.unpaired_masks, range(train)),
        ("val", "val", config.val, range(train, train + evaluation)),
        ("test", "test", config.test, range(train + evaluation, train + 2 * evaluation)),
    )
    jobs: list[Job] = []
    numbers = dict.fromkeys(SPLIT_CODES, 0)
    for split, role, count, subjects in shares:
        for i in range(count):
            jobs.append(Job(split, role, numbers[split], subjects[i * len(subjects) // count]))
            numbers[split] += 1
    return jobs


def _frames(config: SynthesisConfig) -> Iterator[EncodedFrame]:
    jobs = plan(config)
    with single_threaded_children(), multiprocessing.get_context("spawn").Pool(config.workers, end_with_parent, (0,)) as pool:
        ids = sorted({job.subject for job in jobs})
        building = pool.imap(_build_subject, [(config.seed, subject) for subject in ids])
        subjects = {}
        with Progress("synthesize", len(ids), "subjects") as progress:
            for subject in ids:
                subjects[subject] = next(building)
                progress.update(1)
        batches = ((config, subjects[batch[0].subject], batch) for batch in _batches(jobs))
        with Progress("synthesize", len(jobs), "frames") as progress:
            for encoded in pool.imap(_render_batch, batches):
                yield from encoded
                progress.update(len(encoded))


def _batches(jobs: list[Job]) -> Iterator[list[Job]]:
    """Runs of consecutive jobs of one subject and role, at most CHUNK long."""
    for _, run in groupby(jobs, key=lambda job: (job.role, job.subject)):
        run = list(run)
        yield from (run[i : i + CHUNK] for i in range(0, len(run), CHUNK))


def _build_subject(task: tuple[int, int]) -> Subject:
    seed, subject = task
    return sample_subject(np.random.default_rng([seed, subject]))


def _station(config: SynthesisConfig, number: int) -> Station:
    return sample_station(config.width, config.height, np.random.default_rng([config.seed, CAMERA_CODE, number]))


def _render_batch(task: tuple[SynthesisConfig, Subject, list[Job]]) -> list[EncodedFrame]:
    config, subject, jobs = task
    return [_render(config, subject, job) for job in jobs]


def _render(config: SynthesisConfig, subject: Subject, job: Job) -> EncodedFrame:
    rng = np.random.default_rng([config.seed, SPLIT_CODES[job.split], job.frame])
    number = int(rng.choice(CAMERAS[job.split]))
    station = _station(config, number)
    arrangement = arrange(subject, station.camera, config.level, job.role == "paired", rng)
    image = labels_l = labels_r = None
    if job.role != "unpaired_image":
        left, right = label_maps(arrangement, station.camera)
        labels_l, labels_r = stored_labels(left, LEFT_LABEL_OFFSET), stored_labels(right, 0)
    if job.role != "unpaired_masks":
        image = encode_swapped_jpeg(photograph(arrangement, subject, station, rng))
    cam = str((GREY_CAMERA if station.sensor.grey else COLOUR_CAMERA) + number)
    seq_name = f"{job.frame // CHUNK:04d}_{arrangement.pose}"
    return EncodedFrame(
        split=job.split,
        role=job.role,
        path=f"{job.split}/Capture{job.subject}/{seq_name}/cam{cam}/image{job.frame}",
        hand_type=arrangement.hand_type,
        hand_type_valid=1,
        bbox=frame_bbox(arrangement, station.camera),
        seq_name=seq_name,
        capture=job.subject,
        cam=cam,
        frame=job.frame,
        image=image,
        labels_l=labels_l,
        labels_r=labels_r,
    )


def stored_labels(labels: np.ndarray, offset: int) -> bytes:
    """PNG of (H, W) uint8 labels; `offset` is added to the parts, not to the background."""
    return encode_labels(np.where(labels > 0, labels + np.uint8(offset), 0).astype(np.uint8))
