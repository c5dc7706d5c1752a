"""A sheet of augmented training pictures with both hands' labels: published, strong, and strong with hand paste side by side.

    python docs/pictures/augmentation.py <packed folder> <out.png> [pictures] [seed]
"""

import sys

import torch
from PIL import Image

from hands.packed.augment import AugmentConfig, augment
from hands.packed.batches import BatchStream, RecordReader, Shard, seeded_generator
from hands.packed.packed_set import PackedSet
from hands.pictures.figures import frame_rows

SHOWN = {
    "published": AugmentConfig("published", hand_paste=0.0),
    "strong": AugmentConfig("strong", hand_paste=0.0),
    "strong, hand_paste=1": AugmentConfig("strong", hand_paste=1.0),
}
ALONE = Shard(0, 1)


def sheet(folder: str, pictures: int, seed: int) -> Image.Image:
    """The first batch of so many training pictures that a seed gives, a row each."""
    subset = PackedSet.open(folder).subset("train")
    stream = BatchStream(RecordReader(subset, "disk", torch.device("cpu")), pictures, seed, 0, ALONE)
    batch = next(stream.batches(0, 1))
    crops = [augment(batch, subset.size, config, seeded_generator(seed), ALONE) for config in SHOWN.values()]
    images, labels = (torch.stack(parts, dim=1).flatten(0, 1) for parts in list(zip(*crops, strict=True))[:2])
    return frame_rows(images, labels, None, pictures * list(SHOWN), columns=len(SHOWN))


def main(folder: str, out: str, pictures: str = "16", seed: str = "0") -> None:
    sheet(folder, int(pictures), int(seed)).save(out)


if __name__ == "__main__":
    main(*sys.argv[1:])
