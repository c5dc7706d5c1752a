"""Hand paste: a single hand is cut out along its label and laid over, or behind, the hand of another single-hand picture.

It is copy and paste (Ghiasi et al., arXiv:2012.07177) made for amodal labels: each hand keeps a label map of its own, so that
both stay exact where one hand now hides the other. A few labelled single hands give scenes of two hands without end.
The label ends at the wrist: a pasted hand has no forearm.
"""

import math
from dataclasses import dataclass

import torch

from hands.packed.crop_maps import mirrored, shrunk_and_moved
from hands.parts import BACKGROUND, HAND_TYPES, shows_part

INTERACTING = HAND_TYPES.index("interacting")  # left and right are 0 and 1, as their labels' places
SCALES = (0.6, 0.95)  # each of both hands is shrunk by U of these
DISTANCES = (0.08, 0.35)  # between the middles of their boxes, in sides of the crop


@dataclass(frozen=True)
class Pastes:
    """K hands to paste, and where to. On the CPU.

    receivers, donors: (K,) positions in the batch; receivers are in order, each once. in_front: (K,) bool.
    scales: (K, 2) of the receiver's picture and of the pasted hand. shifts: (K, 2) of the receiver's picture, in halves of the
    crop's side; the pasted hand is moved by as much the other way.
    """

    receivers: torch.Tensor
    donors: torch.Tensor
    in_front: torch.Tensor
    scales: torch.Tensor
    shifts: torch.Tensor

    def __len__(self) -> int:
        return len(self.receivers)


def draw_pastes(
    hand_types: torch.Tensor, probability: float, n: int, share: slice, generator: torch.Generator
) -> Pastes:
    """Each single-hand picture receives a hand with this probability, of any other single-hand picture beside it.

    Args:
        hand_types: of the pictures `share` of a batch of n. Donors are sought among them.
    """
    draws = torch.rand(n, 7, generator=generator)[share]
    single = (hand_types != INTERACTING).nonzero().squeeze(1)
    if len(single) < 2:
        single = single[:0]
    chosen, donor, order, scales, angle, distance = draws[single].split([1, 1, 1, 2, 1, 1], dim=1)
    receives = chosen.squeeze(1) < probability
    ahead = 1 + (donor.squeeze(1) * (len(single) - 1)).long()  # among the single-hand pictures, in a ring
    donors = single[(torch.arange(len(single)) + ahead) % max(1, len(single))]
    middles = (DISTANCES[0] + (DISTANCES[1] - DISTANCES[0]) * distance) * torch.cat(
        [torch.cos(2 * math.pi * angle), torch.sin(2 * math.pi * angle)], dim=1
    )
    pastes = (single, donors, order.squeeze(1) < 0.5, SCALES[0] + (SCALES[1] - SCALES[0]) * scales, middles)
    return Pastes(*(values[receives] for values in pastes))


def receiver_maps(maps: torch.Tensor, pastes: Pastes) -> torch.Tensor:
    """Maps (N, 2, 3) of the batch's crops, the receivers' shrunk and moved aside."""
    changed = shrunk_and_moved(maps[pastes.receivers], pastes.scales[:, 0], pastes.shifts)
    return maps.index_copy(0, pastes.receivers, changed)


def donor_maps(maps: torch.Tensor, pastes: Pastes, flips: torch.Tensor, hand_types: torch.Tensor) -> torch.Tensor:
    """Maps (K, 2, 3) of the crops that hands are cut out of: each donor moved as it is in the batch, but mirrored where its
    hand is to become the one that the receiver lacks.

    Args:
        maps: (N, 2, 3) of the batch's crops before any paste. flips: (N,) whether they mirror. hand_types: (N,) of the records.
    """
    absent = 1 - flipped_types(hand_types, flips)[pastes.receivers]
    mirrors = hand_types[pastes.donors] != absent
    unlike = mirrors != flips[pastes.donors]
    return shrunk_and_moved(mirrored(maps[pastes.donors], unlike), pastes.scales[:, 1], -pastes.shifts)


def flipped_types(hand_types: torch.Tensor, flips: torch.Tensor) -> torch.Tensor:
    """Hand types (N,) of pictures that are mirrored where `flips` (N,) says so."""
    return torch.where(flips & (hand_types != INTERACTING), 1 - hand_types, hand_types)


def paste(
    images: torch.Tensor,
    labels: torch.Tensor,
    hand_types: torch.Tensor,
    pasted_images: torch.Tensor,
    pasted_labels: torch.Tensor,
    receivers: torch.Tensor,
    in_front: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Pictures with two hands of pictures with one.

    Args:
        images: (N, 3, S, S), or no channels. labels: (N, 2, S, S), 0..16 or IGNORED.
        hand_types: (N,) positions in HAND_TYPES, on the CPU.
        pasted_images: (K, 3, S, S) that hands are cut out of along pasted_labels (K, S, S), which become those of the hand
            that the receiver lacks. IGNORED pixels are not cut out, and stay IGNORED.
        receivers: (K,) positions of single-hand pictures, each once, on the CPU.
        in_front: (K,) bool, on the CPU; behind, a hand shows only where the receiver's own is known not to be.

    Returns:
        images, labels and hand types; the receivers' are interacting.
    """
    device = labels.device
    present = hand_types[receivers].to(device)
    places = receivers.to(device)
    own, other = labels[places, present], labels[places, 1 - present]
    shown = shows_part(pasted_labels) & (in_front.to(device).view(-1, 1, 1) | (own == BACKGROUND))
    images = images.index_copy(0, places, torch.where(shown.unsqueeze(1), pasted_images, images[places]))
    labels = labels.index_put((places, 1 - present), torch.where(pasted_labels == BACKGROUND, other, pasted_labels))
    return images, labels, hand_types.index_fill(0, receivers, INTERACTING)
