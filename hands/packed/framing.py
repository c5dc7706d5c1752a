"""How hands lie in their frames: unpaired masks are framed as pairs are, so that a discriminator judges hands, not frames.

A pair is cropped to a listed box, an unpaired mask to the box around its own parts: always as large, always in the middle.
"""

import torch

from hands.parts import shows_part


def framed_like(labels: torch.Tensor, frames: torch.Tensor) -> torch.Tensor:
    """Maps that give each record's hands the middle and the longer side that those of another record have.

    Args:
        labels: (N, 2, P, P) of records to be framed anew.
        frames: (N, 2, P, P) labels of records to frame them like, one each.

    Returns:
        (N, 2, 3) float32, from normalised coordinates of the record as it is to be framed to those of the record as it is, as
        `affine_grid` takes them; the identity where either shows no part.
    """
    middle, side = _box(labels)
    wanted, wanted_side = _box(frames)
    known = (side > 0) & (wanted_side > 0)
    ratio = torch.where(known, side / wanted_side, 1.0)
    shift = torch.where(known.unsqueeze(1), middle - ratio.unsqueeze(1) * wanted, 0.0)
    return torch.cat([torch.diag_embed(ratio.unsqueeze(1).expand(-1, 2)), shift.unsqueeze(2)], dim=2)


def _box(labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Of the parts of labels (N, 2, P, P), both hands together: the middle x, y (N, 2) and the longer side (N,) of the box
    around them, in normalised coordinates, where a record spans -1 to 1; the side is negative where there is none."""
    side = labels.shape[-1]
    present = shows_part(labels).any(dim=1)
    along = torch.stack([present.any(dim=1), present.any(dim=2)], dim=1)  # columns and rows that show a part: (N, 2, P)
    places = torch.arange(side, device=labels.device)
    first = torch.where(along, places, side).amin(dim=2).float()
    end = torch.where(along, places + 1, 0).amax(dim=2).float()
    return (first + end) / side - 1, (end - first).amax(dim=1) * (2 / side)
