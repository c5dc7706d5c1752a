"""Do labels lie where the joints are? How many valid joints fall on their hand, and on or beside their part."""

import numpy as np

from hands.parts import BONE_PARTS, NUM_JOINTS

BESIDE = 3  # pixels
PARTS_OF_JOINT = tuple(
    frozenset(part for bone, part in BONE_PARTS.items() if joint in bone) for joint in range(NUM_JOINTS)
)  # of the bones that meet there


def joint_agreement(labels: np.ndarray, pixels: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """(3,) joints that are valid and in the picture; of these on the hand; of these with a part of theirs within BESIDE.

    A joint that the hand itself hides, in a fist say, has another part before it and may miss the last.

    Args:
        labels: (H, W) part ids 0..16 of one hand. pixels: (21, 2) projected joints, x and y. valid: (21,) bool.
    """
    height, width = labels.shape
    columns, rows = np.round(pixels).astype(np.int64).T
    judged = np.flatnonzero(valid & (columns >= 0) & (columns < width) & (rows >= 0) & (rows < height))
    on_hand = on_part = 0
    for joint in judged:
        row, column = rows[joint], columns[joint]
        if labels[row, column] == 0:
            continue
        on_hand += 1
        around = labels[max(row - BESIDE, 0) : row + BESIDE + 1, max(column - BESIDE, 0) : column + BESIDE + 1]
        on_part += not PARTS_OF_JOINT[joint].isdisjoint(around.ravel().tolist())
    return np.array([len(judged), on_hand, on_part])
