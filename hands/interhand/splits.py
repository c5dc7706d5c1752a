"""Which imported picture goes where: train, val, test by whole subjects or captures; train's into paired and unpaired."""

from dataclasses import dataclass

import numpy as np

from hands.errors import InvalidInput
from hands.interhand.frames import Frames
from hands.interhand.selection import moments
from hands.raw.layout_writer import ROLES

PAIRED, UNPAIRED_IMAGE, UNPAIRED_MASKS, VAL, TEST = range(len(ROLES))
LEFT_OUT = -1  # of a subject that is in val or test


@dataclass(frozen=True)
class Shares:
    """by: 'subject' or 'capture', what is never divided between splits. val, test: shares of these. paired: share of train's
    moments that become pairs. unpaired_masks: share of train's other moments that give their masks alone; the rest give
    their pictures alone. A moment is what all cameras saw at once: it is never divided either."""

    by: str
    val: float
    test: float
    paired: float
    unpaired_masks: float


def assign_roles(frames: Frames, positions: np.ndarray, shares: Shares, seed: int) -> np.ndarray:
    """Role (S,) of every picture, a place in ROLES or LEFT_OUT. No subject of val or test is in train, nor of test in val.

    Raises:
        InvalidInput: a share is not between 0 and 1, or there are too few subjects or captures for all splits.
    """
    for name in ("val", "test", "paired", "unpaired_masks"):
        if not 0 <= getattr(shares, name) <= 1:
            raise InvalidInput(f"the share of {name} is {getattr(shares, name)}; give a number from 0 to 1.")
    rng = np.random.default_rng(seed)
    subjects = frames.subjects[positions]
    groups = subjects if shares.by == "subject" else frames.captures[positions]
    roles = _split_groups(groups, shares, rng)
    for split, others in ((TEST, (VAL, PAIRED)), (VAL, (PAIRED,))):
        known = np.isin(subjects, subjects[roles == split])
        roles[known & np.isin(roles, others)] = LEFT_OUT
    for role, wanted in ((PAIRED, _needs_train(shares)), (VAL, shares.val), (TEST, shares.test)):
        if wanted and not (roles == role).any():
            raise InvalidInput(
                f"Split by {shares.by}, no picture is left for {'train' if role == PAIRED else ROLES[role]} once every subject"
                " is in one split only; split by subject, choose more captures, or give another seed."
            )
    train = np.flatnonzero(roles == PAIRED)
    _, place = moments(frames, positions[train])
    roles[train] = _train_roles(place, shares, rng)
    return roles


def _needs_train(shares: Shares) -> bool:
    return shares.val + shares.test < 1


def _split_groups(groups: np.ndarray, shares: Shares, rng: np.random.Generator) -> np.ndarray:
    names = rng.permutation(np.unique(groups))
    wanted = [max(1, round(share * len(names))) if share else 0 for share in (shares.val, shares.test)]
    if sum(wanted) + _needs_train(shares) > len(names):
        raise InvalidInput(
            f"The chosen pictures show {len(names)} {shares.by}{'s' * (len(names) != 1)}, too few for val_share {shares.val:g}"
            f" and test_share {shares.test:g}: a split shares none with another. Choose more of them, or set a share to 0."
        )
    roles = np.full(len(groups), PAIRED)
    roles[np.isin(groups, names[: wanted[0]])] = VAL
    roles[np.isin(groups, names[wanted[0] : sum(wanted)])] = TEST
    return roles


def _train_roles(place: np.ndarray, shares: Shares, rng: np.random.Generator) -> np.ndarray:
    count = place.max() + 1 if len(place) else 0
    paired = round(shares.paired * count)
    masks = round(shares.unpaired_masks * (count - paired))
    of_moment = np.full(count, UNPAIRED_IMAGE)
    order = rng.permutation(count)
    of_moment[order[:paired]] = PAIRED
    of_moment[order[paired : paired + masks]] = UNPAIRED_MASKS
    return of_moment[place]
