"""Where a crop's pixels come from: affine maps (N, 2, 3) from its coordinates to its record's, as `affine_grid` takes them.

Both coordinates span [-1, 1] from edge to edge; a map says where to look, so it moves the other way than the picture does.
"""

import math

import torch
import torch.nn.functional as F

RADIANS = math.pi / 180


def crop_maps(scale: torch.Tensor, angle: torch.Tensor, translation: torch.Tensor, flips: torch.Tensor) -> torch.Tensor:
    """Maps to a record as large as the crop: enlarged by `scale` (N,) and turned by `angle` (N,) degrees counterclockwise about
    the middle, moved by `translation` (N, 2) in halves of the side, then mirrored where `flips` (N,) says so."""
    cosine, sine = (1 / scale) * torch.cos(angle * RADIANS), (1 / scale) * torch.sin(angle * RADIANS)
    maps = torch.stack([cosine, -sine, translation[:, 0], sine, cosine, translation[:, 1]], dim=1).view(-1, 2, 3)
    return mirrored(maps, flips)


def mirrored(maps: torch.Tensor, where: torch.Tensor) -> torch.Tensor:
    """Maps of the mirror images of the crops, `where` (N,) says so."""
    maps = maps.clone()
    maps[:, :, 0] *= torch.where(where, -1.0, 1.0).unsqueeze(1)
    return maps


def shrunk_and_moved(maps: torch.Tensor, scale: torch.Tensor, shift: torch.Tensor) -> torch.Tensor:
    """Maps of crops that show what those of `maps` show, smaller by `scale` (N,) about the middle and then moved by `shift`
    (N, 2), in halves of the crop's side."""
    linear = maps[:, :, :2] / scale.view(-1, 1, 1)
    return torch.cat([linear, maps[:, :, 2:] - linear @ shift.unsqueeze(2)], dim=2)


def sample(records: torch.Tensor, maps: torch.Tensor, size: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Crops of records: one sampling grid a record serves the image (bilinear) and the labels (nearest).

    A crop may reach beyond its record. It then looks as if the picture ended there, as most boxes reach beyond their picture:
    black, and background.

    Args:
        records: (N, C, P, P) uint8 with C = 5, or 3 (no labels), or 2 (no image).
        maps: (N, 2, 3), on any device.
        size: side S of the crops.

    Returns:
        images (N, 3, S, S) float32 in [0, 255] and labels (N, 2, S, S) int64; an absent one has 0 channels.
    """
    n, channels = records.shape[:2]
    grid = F.affine_grid(maps.to(records.device), [n, channels, size, size], align_corners=False)
    n_image = 0 if channels == 2 else 3
    values = records.to(torch.float32, memory_format=torch.channels_last)
    images = F.grid_sample(values[:, :n_image], grid, mode="bilinear", align_corners=False)
    labels = F.grid_sample(values[:, n_image:], grid, mode="nearest", align_corners=False).long()
    return images, labels
