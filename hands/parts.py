"""Part ids, names, groups and colours, and the tensor contract of the whole project.

Tensor contract
---------------
Sizes stand as comments at line ends: N images, S picture side in pixels, P side of a packed record.

=========== ================== ======== ====================================================
name        shape              dtype    meaning
=========== ================== ======== ====================================================
images      (N, 3, S, S)       float32  RGB in [0, 1]
labels      (N, 2, S, S)       int64    part ids 0..16, or 255; hand 0 is the left, hand 1 the right
logits      (N, 34, S, S)      float    channels 0..16 left hand, 17..33 right hand
records     (N, C, P, P)       uint8    packed: 3 RGB channels, then left and right labels
=========== ================== ======== ====================================================

The two hands are labelled independently: a pixel may belong to both (amodal), so there are two label
maps of 17 classes, never one of 33. Each is as if the other hand were not there; what a hand hides of itself
stays hidden, since a map holds one part a pixel.

255 (IGNORED) in a given label map says that this hand's part there is unknown: losses and scores leave such pixels out, as if
they were not part of the picture. Predicted labels and pseudo-labels never hold it; what lies outside a picture is background.
"""

from typing import TypeVar

import numpy as np

from hands.errors import InvalidInput

Labels = TypeVar("Labels")  # an array or a tensor

SIZE_STEP, MAX_SIZE = 32, 1024  # S: encoders halve it five times, and so does the discriminator
BACKGROUND = 0
IGNORED = 255
PART_NAMES = (
    "background",
    "ring proximal",
    "index middle",
    "pinky proximal",
    "middle proximal",
    "middle distal",
    "ring distal",
    "pinky distal",
    "thumb base",
    "palm and wrist",
    "thumb middle",
    "index proximal",
    "index distal",
    "thumb distal",
    "pinky middle",
    "middle middle",
    "ring middle",
)
PART_SCORES = tuple(f"iou/{name.replace(' ', '_')}" for name in PART_NAMES[1:])  # of parts 1..16, among a split's scores
NUM_PARTS = 16
NUM_CLASSES = 1 + NUM_PARTS  # per hand, background included
HANDS = ("left", "right")
HAND_SUFFIXES = ("l", "r")
NUM_CHANNELS = len(HANDS) * NUM_CLASSES
LEFT_LABEL_OFFSET = 16  # the raw mask LMDB stores the left hand's parts as 17..32

HAND_TYPES = ("left", "right", "interacting")  # position is the code stored in packed sets

PALM_IDS = (8, 9)
FINGERTIP_IDS = (5, 6, 7, 12, 13)
FINGER_IDS = tuple(sorted(set(range(1, NUM_CLASSES)) - set(PALM_IDS) - set(FINGERTIP_IDS)))


def check_size(size: int) -> None:
    """Refuses a picture side S that not every network takes.

    Raises:
        InvalidInput: it is not a multiple of 32 from 32 to 1024.
    """
    if isinstance(size, int) and size % SIZE_STEP == 0 and SIZE_STEP <= size <= MAX_SIZE:
        return
    below = min(max(int(size) // SIZE_STEP * SIZE_STEP, SIZE_STEP), MAX_SIZE - SIZE_STEP)
    raise InvalidInput(
        f"size is {size}; expected a multiple of {SIZE_STEP} from {SIZE_STEP} to {MAX_SIZE}, such as {below} or "
        f"{below + SIZE_STEP}."
    )


def shows_part(labels: Labels) -> Labels:
    """Where labels are a part, neither background nor ignored: booleans of their shape."""
    return (labels != BACKGROUND) & (labels != IGNORED)


# Joints of one hand as InterHand2.6M orders them: each finger from tip to base, thumb to pinky, wrist last.
NUM_JOINTS = 21
FINGERS = ("thumb", "index", "middle", "ring", "pinky")
JOINT_NAMES = tuple(f"{finger} {i}" for finger in FINGERS for i in ("tip", "3", "2", "1")) + ("wrist",)
WRIST = 20

# Part of the bone that ends (distally) at a joint: (parent joint, child joint) -> part id.
BONE_PARTS = {
    (1, 0): 13,
    (2, 1): 10,
    (3, 2): 8,
    (5, 4): 12,
    (6, 5): 2,
    (7, 6): 11,
    (9, 8): 5,
    (10, 9): 15,
    (11, 10): 4,
    (13, 12): 6,
    (14, 13): 16,
    (15, 14): 1,
    (17, 16): 7,
    (18, 17): 14,
    (19, 18): 3,
    (20, 3): 9,
    (20, 7): 9,
    (20, 11): 9,
    (20, 15): 9,
    (20, 19): 9,
}
FINGER_PARTS = {  # from the palm to the tip
    "thumb": (8, 10, 13),
    "index": (11, 2, 12),
    "middle": (4, 15, 5),
    "ring": (1, 16, 6),
    "pinky": (3, 14, 7),
}

# One hue a finger, lighter towards the tip; the palm stands back in red-brown.
PART_COLOURS = np.array(
    [
        (0, 0, 0),
        (232, 74, 60),
        (52, 140, 50),
        (196, 40, 150),
        (240, 160, 30),
        (250, 226, 130),
        (255, 150, 140),
        (255, 150, 225),
        (40, 90, 210),
        (170, 62, 72),
        (70, 160, 235),
        (20, 96, 60),
        (140, 220, 90),
        (120, 225, 245),
        (226, 90, 190),
        (246, 196, 70),
        (250, 110, 96),
    ],
    dtype=np.uint8,
)
