"""What of a subset can be judged, known from its index before anything is trained or read. Free of torch."""

import numpy as np

from hands.errors import InvalidInput
from hands.evaluation.judged import min_part_pixels
from hands.packed.packed_set import PackedSubset
from hands.parts import HAND_SUFFIXES, HAND_TYPES, HANDS, NUM_PARTS, PART_NAMES


def judged_hands(subset: PackedSubset) -> np.ndarray:
    """(N, 2) bool: the hands with a part that is large enough to be judged."""
    return subset.index.part_pixels >= min_part_pixels(subset.size)


def require_labels(subset: PackedSubset) -> None:
    """Raises InvalidInput for a subset without pictures or without labels."""
    if len(subset) == 0:
        raise InvalidInput(f"'{subset.name}' of the packed set is empty; pack a dataset that has it, or choose another split.")
    if subset.channels != 5:
        raise InvalidInput(f"'{subset.name}' cannot be scored: it has no pictures with labels; choose another split.")


def require_judged(subset: PackedSubset) -> None:
    """Raises InvalidInput where no epoch could be told from another: without labels, or without a part that is judged."""
    require_labels(subset)
    if not judged_hands(subset).any():
        raise InvalidInput(
            f"'{subset.name}' has {len(subset)} pictures, and in none of them a part of at least"
            f" {min_part_pixels(subset.size):g} pixels: there is nothing to score. Look at its labels (the run that prepared it"
            " has a preview), or choose another split."
        )


def require_parts(subset: PackedSubset) -> None:
    """Raises InvalidInput for pairs whose labels are background everywhere."""
    require_labels(subset)
    if not subset.index.part_pixels.any():
        raise InvalidInput(
            f"'{subset.name}' has {len(subset)} pictures, and no part of a hand is labelled in any: there is nothing to learn."
            " Look at its labels (the run that prepared it has a preview), or choose another split."
        )


def unscored(subset: PackedSubset) -> dict[str, str]:
    """Scores (as hands.evaluation.metrics names them) that this subset of pictures with labels cannot have, and why."""
    judged = judged_hands(subset).any(axis=1)
    interacting = subset.hand_types == HAND_TYPES.index("interacting")
    pixels = subset.index.part_pixels
    found = {}
    if not judged.any():
        found["miou"] = "no part is large enough to be judged"
    elif not judged[~interacting].any():
        found["miou_single"] = "no picture of a single hand has a part that is judged"
    elif not judged[interacting].any():
        found["miou_interacting"] = "no picture of interacting hands has a part that is judged"
    if not subset.index.overlap_pixels.any():
        found["miou_overlap"] = "no pixel belongs to both hands"
    if not subset.index.absent.any():
        found["absent_hand"] = "no picture lacks a hand"
    for hand, suffix in enumerate(HAND_SUFFIXES):
        if not pixels[:, hand].any():
            found[f"miou_dataset_{suffix}"] = f"no picture has a {HANDS[hand]} hand"
    return found


def coverage(subset: PackedSubset) -> list[str]:
    """Lines for people: that the subset is empty; of labelled pictures, in how many something is judged, and what cannot be
    scored."""
    if not len(subset):
        return [f"{subset.name}: empty"]
    if subset.channels != 5:
        return []
    judged = int(judged_hands(subset).any(axis=1).sum())
    least = f"a part of at least {min_part_pixels(subset.size):g} pixels"
    counted = f"{subset.name}: {judged} of {len(subset)} pictures can be judged ({least})"
    missing = [f"{subset.name}/{score} cannot be scored: {reason}" for score, reason in unscored(subset).items()]
    shown = int(np.bitwise_or.reduce(subset.index.parts))
    absent = [name for part, name in enumerate(PART_NAMES) if part and not shown >> part & 1]
    if absent and len(absent) < NUM_PARTS:
        missing.append(f"{subset.name}: no picture shows {', '.join(absent)}; nothing is said of how well they are found")
    return [counted, *missing]
