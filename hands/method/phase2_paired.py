"""Phase 2, paired training: G2 learns on pairs by cross-entropy, Dice and what D says of its label maps."""

import math
from dataclasses import dataclass

import torch
from lightning.fabric import Fabric

from hands.errors import InvalidInput
from hands.method.gradients import ratio, watched
from hands.method.losses import ADV_INPUTS, SegmentationLoss, adversarial_loss, one_hot_labels, without_ignored
from hands.method.phase1 import discriminator_accuracy, masks_stream, update_discriminator, with_unpaired
from hands.networks.discriminator import Discriminator
from hands.networks.hands_network import HandsNetwork
from hands.packed.augment import AugmentConfig, augment
from hands.packed.batches import Batch, BatchStream, RecordReader, Shard, seeded_generator
from hands.training.devices import prepared_network
from hands.training.learner import Learner
from hands.training.loop import Recorder, ScheduleConfig, check_lr, fit
from hands.training.resume import TrainingCheckpoint

PAIRED_STREAM, MASKS_STREAM, AUGMENT_STREAM = 20, 21, 22
REAL_SHARE = 0.125  # of a batch's labels that a resting D is shown: nothing is learned from them, they only count its hits


@dataclass(frozen=True)
class Phase2PairedConfig:
    """adv_weight in [0, 1]: the adversarial term's share of the loss; at 0 there is no D. adv_input: what D sees of G2, a name
    of losses.ADV_INPUTS; update_discriminator: whether D goes on learning, with d_lr."""

    schedule: ScheduleConfig
    augment: AugmentConfig
    adv_weight: float
    adv_input: str
    update_discriminator: bool
    d_lr: float
    memory_format: str

    def __post_init__(self):
        if not 0 <= self.adv_weight <= 1:
            raise InvalidInput(f"adv_weight is {self.adv_weight}; expected a number in [0, 1].")
        check_lr("d_lr", self.d_lr)

    @property
    def trains_discriminator(self) -> bool:
        return self.update_discriminator and self.adv_weight > 0


@dataclass(frozen=True)
class Phase2PairedData:
    """Readers of the packed set; unpaired_masks is None where D sees the paired labels alone."""

    paired: RecordReader
    unpaired_masks: RecordReader | None
    val: RecordReader


class Phase2PairedStep:
    """One step: G2 down (1 - adv_weight) x segmentation + adv_weight x adversarial loss; D follows where it may.

    adv_grad_ratio is the norm of the adversarial term's gradient at the logits over that of the segmentation term's, both with
    their weights: below 1, labels lead. There is none where adv_weight is 1.
    """

    def __init__(self, g2: Learner, d: Discriminator | None, d_learner: Learner | None, loss: SegmentationLoss,
                 config: Phase2PairedConfig, size: int):  # fmt: skip
        self.g2 = g2
        self.d = d
        self.d_learner = d_learner
        self.loss = loss
        self.adv_weight = config.adv_weight
        self.d_input = ADV_INPUTS[config.adv_input]
        self.seed = config.schedule.seed
        self.augment_config = config.augment
        self.size = size
        self.shard = Shard(g2.fabric.global_rank, g2.fabric.world_size)

    def __call__(self, step: int, batches: tuple[Batch, ...]) -> dict[str, torch.Tensor]:
        fabric = self.g2.fabric
        generator = seeded_generator(self.seed, AUGMENT_STREAM, step)
        images, labels, _ = augment(batches[0], self.size, self.augment_config, generator, self.shard)

        # 1. G2 learns on pairs and from D
        logits = self.g2.forward(images)
        if self.d is None:
            losses = self.loss(logits, labels)
            self.g2.update(losses["loss_total"])
            return losses
        adv_norms, segmentation_norms = [], []
        fake = without_ignored(self.d_input(watched(logits, adv_norms)), labels)
        losses = self.loss(watched(logits, segmentation_norms), labels)
        self.d.eval().requires_grad_(False)
        with fabric.autocast():
            fake_logits = self.d(fake)
        loss_adv = adversarial_loss(fake_logits)
        loss_total = (1 - self.adv_weight) * losses["loss_total"] + self.adv_weight * loss_adv
        self.g2.update(loss_total)
        losses |= {"loss_adv": loss_adv, "loss_total": loss_total}
        if self.adv_weight < 1:
            losses["adv_grad_ratio"] = ratio(adv_norms, segmentation_norms)

        # 2. D goes on learning, where it may
        if self.d_learner is None:
            real = one_hot_labels(labels[: math.ceil(REAL_SHARE * len(labels))])
            with torch.no_grad(), fabric.autocast():
                return losses | discriminator_accuracy(self.d(real), fake_logits)
        self.d.train().requires_grad_(True)
        if len(batches) > 1:
            labels = with_unpaired(labels, batches, self.size, self.augment_config, generator, self.shard)
        return losses | update_discriminator(self.d_learner, one_hot_labels(labels), fake)


def fit_phase2_paired(
    fabric: Fabric,
    config: Phase2PairedConfig,
    data: Phase2PairedData,
    g2: HandsNetwork,
    d: Discriminator | None,
    loss: SegmentationLoss,
    recorder: Recorder,
    checkpoint: TrainingCheckpoint | None = None,
) -> dict[str, float]:
    """Trains G2 in place, and D with it where config.trains_discriminator. At adv_weight 0, D is left alone and may be None.

    Returns the metrics of G2's best epoch, whose weights both then hold.
    """
    schedule = config.schedule
    shard = Shard(fabric.global_rank, fabric.world_size)
    streams = [BatchStream(data.paired, schedule.batch_size, schedule.seed, PAIRED_STREAM, shard)]
    learners = {"g2": Learner(fabric, g2, schedule.lr, schedule.ema_decay, config.memory_format)}
    if config.trains_discriminator:
        learners["discriminator"] = Learner(fabric, d, config.d_lr, 0.0, config.memory_format)
        if data.unpaired_masks is not None:
            streams.append(masks_stream(data.unpaired_masks, streams[0].batch_size, schedule.seed, MASKS_STREAM, shard))
    else:
        d = prepared_network(fabric, d, config.memory_format) if config.adv_weight else None
    train_step = Phase2PairedStep(
        learners["g2"], d, learners.get("discriminator"), loss.to(fabric.device), config, data.paired.subset.size
    )
    return fit(fabric, schedule, tuple(streams), data.val, learners, train_step, recorder, checkpoint)
