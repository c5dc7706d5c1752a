"""What the tests of single steps share: a schedule, and the losses of segmentation as published."""

from hands.method.losses import SegmentationLoss
from hands.training.loop import ScheduleConfig

SCHEDULE = ScheduleConfig(seed=0, epochs=2, batch_size=4, lr=5e-3, lr_schedule="cosine", ema_decay=0.9, eval_every=1)
ONES = 17 * [1.0]


def dice_and_ce() -> SegmentationLoss:
    return SegmentationLoss(0.35, 0.65, "dice", 0.0, ONES)
