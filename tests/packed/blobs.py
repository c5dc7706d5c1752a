"""A packed set small enough for every test that trains or scores: coloured blobs for hands."""

from pathlib import Path

import numpy as np

from hands.packed.manifest import SUBSET_CHANNELS, record_side
from hands.packed.packed_set import PackedSet
from hands.packed.packed_writer import PackedWriter
from hands.parts import HAND_TYPES, NUM_PARTS, PART_COLOURS
from hands.raw.provenance import UNKNOWN

SIZE = 32
COUNTS = {"train": 12, "unpaired_images": 16, "unpaired_masks": 8, "val": 6, "test": 4}
CHANNELS = {name: channels[-1] for name, channels in SUBSET_CHANNELS.items()}


def blob_labels(side: int, hand_type: str, generator: np.random.Generator) -> np.ndarray:
    """A disc a hand, cut into sectors that are parts: (2, side, side) uint8. Interacting discs overlap."""
    rows, columns = np.mgrid[:side, :side]
    labels = np.zeros((2, side, side), dtype=np.uint8)
    for hand, name in enumerate(("left", "right")):
        if hand_type not in (name, "interacting"):
            continue
        row, column = generator.uniform(0.4, 0.6) * side, (0.4 + 0.2 * hand + generator.uniform(-0.05, 0.05)) * side
        inside = np.hypot(rows - row, columns - column) < generator.uniform(0.2, 0.26) * side
        sector = (np.arctan2(rows - row, columns - column) / (2 * np.pi) + 0.5) * 4  # four of the sixteen parts
        parts = 1 + (4 * np.minimum(sector.astype(int), 3) + generator.integers(0, 2)) % NUM_PARTS
        labels[hand][inside] = parts[inside]
    return labels


def blob_image(labels: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Parts in their colours, the right hand in front: (3, side, side) uint8. Where a disc is tells which hand it is, as
    in a mirrored picture, too."""
    image = np.full((*labels.shape[1:], 3), 90.0)
    for hand_labels in labels:
        image[hand_labels > 0] = PART_COLOURS[hand_labels[hand_labels > 0]]
    noisy = image + generator.normal(0, 4, image.shape)
    return noisy.clip(0, 255).astype(np.uint8).transpose(2, 0, 1)


def write_blobs(folder: Path, size: int, counts: dict[str, int], seed: int) -> PackedSet:
    """A packed set of blobs in an existing empty folder; hand types take turns, the same seed gives the same bytes."""
    side = record_side(size)
    generator = np.random.default_rng(seed)
    with PackedWriter(folder, size, CHANNELS) as writer:
        for name, channels in CHANNELS.items():
            for position in range(counts[name]):
                hand_type = HAND_TYPES[(position + 2) % len(HAND_TYPES)]
                labels = blob_labels(side, hand_type, generator)
                record = np.concatenate([blob_image(labels, generator), labels])
                record = record[:3] if channels == 3 else record[-channels:]
                split = name if name in ("val", "test") else "train"
                writer.add(name, position, hand_type, f"{split}/Capture0/{name}/cam400000/image{position}", record)
        writer.finish("bgr", "0" * 32, counts, {name: {} for name in CHANNELS}, (UNKNOWN,))
    return PackedSet.open(folder)
