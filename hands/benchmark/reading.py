"""Line 1: packed batches against the conventional way, frames a second on the same cores.

The conventional way decodes, of every sample, a PNG picture and two PNG masks of the full size with OpenCV, warps all
three to the crop, changes the colours and stacks the batch. Its files are in memory already, and a thread a core works
on them (OpenCV works outside of Python's lock), so nothing but the work itself is measured.
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import cv2
import numpy as np
import torch

from hands.benchmark.measure import Row, compare, rates_in_turn
from hands.benchmark.setting import ONE_PROCESS, PUBLISHED, BenchSetting
from hands.packed.augment import augment
from hands.packed.batches import BatchStream, seeded_generator
from hands.packed.published_augmentation import COLOUR, ROTATION_STEP
from hands.processes.processors import allowed_processors
from hands.raw.layout import RawDataset
from hands.training.devices import keep_freed_memory

READING_GOAL, AUGMENTATION_GOAL = 100.0, 10.0
SAMPLES = 64  # distinct pictures of the conventional way
BATCH_SIZE = 64
BATCHES = 8
READING_STREAM = 91


@dataclass(frozen=True)
class Sample:
    """image, labels: PNG bytes as they lie in a folder, the labels' left and right. box: x, y, w, h in pixels."""

    image: bytes
    labels: tuple[bytes, bytes]
    box: tuple[float, float, float, float]


def png_samples(raw: RawDataset) -> list[Sample]:
    samples = []
    for entry in raw.entries("train")[:SAMPLES]:
        picture = cv2.imencode(".png", np.ascontiguousarray(raw.pictures.image(entry)))[1].tobytes()
        samples.append(Sample(picture, raw.pictures.encoded_labels(entry.mask_id), entry.box))
    return samples


def conventional_sample(sample: Sample, size: int, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """One sample, decoded and augmented: image (3, S, S) float32 in [0, 1], labels (2, S, S) int64."""
    image = cv2.imdecode(np.frombuffer(sample.image, np.uint8), cv2.IMREAD_COLOR)
    masks = [cv2.imdecode(np.frombuffer(mask, np.uint8), cv2.IMREAD_COLOR)[..., 0] for mask in sample.labels]
    x, y, w, h = sample.box
    angle = ROTATION_STEP * generator.standard_normal()
    matrix = cv2.getRotationMatrix2D((x + w / 2, y + h / 2), angle, size / w)
    matrix[:, 2] += size / 2 - np.array([x + w / 2, y + h / 2])
    crop = cv2.warpAffine(image, matrix, (size, size), flags=cv2.INTER_LINEAR)
    labels = np.stack([cv2.warpAffine(mask, matrix, (size, size), flags=cv2.INTER_NEAREST) for mask in masks])
    labels[0] = np.where(labels[0] > 0, labels[0] - 16, 0)  # the left hand's parts are stored as 17..32
    gains = generator.uniform(1 - COLOUR, 1 + COLOUR, 3)
    return (crop * (gains / 255)).clip(0, 1).astype(np.float32).transpose(2, 0, 1), labels.astype(np.int64)


def reading_rows(setting: BenchSetting) -> list[Row]:
    keep_freed_memory()
    fabric = setting.fabric()
    samples = png_samples(RawDataset(setting.raw, "bgr"))
    stream = BatchStream(setting.reader("train", fabric), BATCH_SIZE, setting.seed, READING_STREAM, ONE_PROCESS)
    cv2.setNumThreads(1)
    pool = ThreadPoolExecutor(allowed_processors())

    def conventional() -> int:
        tasks = [pool.submit(conventional_sample, samples[i % len(samples)], setting.size, np.random.default_rng(i))
                 for i in range(BATCH_SIZE)]  # fmt: skip
        images, labels = zip(*(task.result() for task in tasks), strict=True)
        torch.from_numpy(np.stack(images)), torch.from_numpy(np.stack(labels))
        return BATCH_SIZE

    def packed() -> int:
        return sum(len(stream.reader.read(stream.indices(step))) for step in range(BATCHES))

    def augmented() -> int:
        crops = (
            augment(batch, setting.size, PUBLISHED, seeded_generator(step), ONE_PROCESS)
            for step, batch in enumerate(stream.batches(0, BATCHES))
        )
        return sum(len(images) for images, _, _ in crops)

    sides = {"conventional": conventional, "packed": packed, "augmented": augmented}
    rates = rates_in_turn(sides, setting.extent, fabric.device, "1 reading")
    pool.shutdown()
    sizes = f"{setting.width}x{setting.height} to {setting.size}x{setting.size}"
    on = f"{sizes}, batch {BATCH_SIZE}, {setting.device.data_residency}"
    return [
        compare(1, name, "frames/s", rates[side], "conventional", rates["conventional"], goal, on)
        for name, side, goal in (
            ("packed reading", "packed", READING_GOAL),
            ("packed reading, augmented", "augmented", AUGMENTATION_GOAL),
        )
    ]
