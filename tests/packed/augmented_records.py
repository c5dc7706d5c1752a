"""Records made up for tests of augmentation, and what their maps are made of."""

import torch

from hands.packed.batches import Batch, Shard
from hands.parts import HAND_TYPES, PART_COLOURS

ALONE = Shard(0, 1)
SIZE, SIDE = 64, 80


def random_records(n: int, channels: int = 5, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    records = torch.randint(0, 256, (n, channels, SIDE, SIDE), generator=generator, dtype=torch.uint8)
    if channels != 3:
        records[:, -2:] %= 17
    return records


def painted_records(n: int) -> torch.Tensor:
    """Blocks of one part, the same for both hands, painted into the picture in the part's colour."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.randint(0, 17, (n, 1, SIDE // 8, SIDE // 8), generator=generator)
    labels = coarse.repeat_interleave(8, 2).repeat_interleave(8, 3)
    colours = torch.from_numpy(PART_COLOURS)[labels[:, 0]].permute(0, 3, 1, 2)
    return torch.cat([colours, labels.byte(), labels.byte()], dim=1)


def decomposed(matrix: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Scale of the picture, angle in degrees and translation (N, 2) of maps of similarity transforms."""
    scale = 1 / torch.linalg.det(matrix[:, :, :2]).sqrt()
    angle = torch.rad2deg(torch.atan2(matrix[:, 1, 0], matrix[:, 0, 0]))
    return scale, angle, matrix[:, :, 2]


def interacting(records: torch.Tensor) -> Batch:
    """A batch of pictures of both hands."""
    return Batch(records, torch.full((len(records),), HAND_TYPES.index("interacting")))
