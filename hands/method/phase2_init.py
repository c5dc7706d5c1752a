"""Phase 2, weights initialization: G2 learns on what G1, frozen, is confident of in unpaired pictures."""

from dataclasses import dataclass

import torch
from lightning.fabric import Fabric

from hands.errors import InvalidInput
from hands.method.losses import SegmentationLoss
from hands.method.pseudo_labels import hands_present, kept_shares, most_confident, pseudo_labels
from hands.networks.hands_network import HandsNetwork
from hands.packed.augment import AugmentConfig, augment
from hands.packed.batches import Batch, BatchStream, RecordReader, Shard, seeded_generator
from hands.training.devices import prepared_network
from hands.training.learner import Learner
from hands.training.loop import Recorder, ScheduleConfig, fit
from hands.training.resume import TrainingCheckpoint

UNPAIRED_STREAM, AUGMENT_STREAM = 10, 11


@dataclass(frozen=True)
class Phase2InitConfig:
    """drop_fraction: the share of every batch, in [0, 1), whose labels G1 is least sure of and that is not learned."""

    schedule: ScheduleConfig
    augment: AugmentConfig
    drop_fraction: float
    memory_format: str

    def __post_init__(self):
        if not 0 <= self.drop_fraction < 1:
            raise InvalidInput(f"drop_fraction is {self.drop_fraction}; expected a number in [0, 1).")


@dataclass(frozen=True)
class Phase2InitData:
    """Readers of the packed set."""

    unpaired_images: RecordReader
    val: RecordReader


class Phase2InitStep:
    """One step: G1 labels a batch of the stream, the less confident part is dropped, G2 learns on the rest."""

    def __init__(self, g1: HandsNetwork, g2: Learner, loss: SegmentationLoss, config: Phase2InitConfig, size: int):
        self.g1 = g1
        self.g2 = g2
        self.loss = loss
        self.drop_fraction = config.drop_fraction
        self.augment_config = config.augment
        self.size = size
        self.seed = config.schedule.seed
        self.shard = Shard(g2.fabric.global_rank, g2.fabric.world_size)

    def __call__(self, step: int, batches: tuple[Batch, ...]) -> dict[str, torch.Tensor]:
        generator = seeded_generator(self.seed, AUGMENT_STREAM, step)
        images, _, hand_types = augment(batches[0], self.size, self.augment_config, generator, self.shard)
        hand_types = hand_types.to(images.device)

        # 1. G1 labels the hands that are there, and the less confident part of the batch is dropped
        with torch.no_grad(), self.g2.fabric.autocast():
            labels, confidence = pseudo_labels(self.g1(images), hands_present(hand_types))
        kept = most_confident(confidence, self.drop_fraction)

        # 2. G2 learns on the rest
        losses = self.loss(self.g2.forward(images[kept]), labels[kept])
        self.g2.update(losses["loss_total"])
        return losses | {"kept_confidence": confidence[kept].mean(), **kept_shares(kept, hand_types)}


def fit_phase2_init(
    fabric: Fabric,
    config: Phase2InitConfig,
    data: Phase2InitData,
    g1: HandsNetwork,
    g2: HandsNetwork,
    loss: SegmentationLoss,
    recorder: Recorder,
    checkpoint: TrainingCheckpoint | None = None,
) -> dict[str, float]:
    """Trains G2 in place on batches of twice schedule.batch_size pictures, of which drop_fraction is dropped.

    Returns the metrics of G2's best epoch, whose weights it then holds.
    """
    schedule = config.schedule
    shard = Shard(fabric.global_rank, fabric.world_size)
    stream = BatchStream(data.unpaired_images, 2 * schedule.batch_size, schedule.seed, UNPAIRED_STREAM, shard)
    g1 = prepared_network(fabric, g1, config.memory_format)
    learner = Learner(fabric, g2, schedule.lr, schedule.ema_decay, config.memory_format)
    train_step = Phase2InitStep(g1, learner, loss.to(fabric.device), config, data.unpaired_images.subset.size)
    return fit(fabric, schedule, (stream,), data.val, {"g2": learner}, train_step, recorder, checkpoint)
