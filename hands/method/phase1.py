"""Phase 1: G1 learns on the paired set; D learns on the side to tell real label maps from G1's."""

from dataclasses import dataclass

import torch
from lightning.fabric import Fabric

from hands.method.losses import ADV_INPUTS, cross_entropy_loss, discriminator_loss, one_hot_labels, without_ignored
from hands.networks.discriminator import Discriminator
from hands.networks.hands_network import HandsNetwork
from hands.packed.augment import AugmentConfig, augment
from hands.packed.batches import Batch, BatchStream, RecordReader, Shard, seeded_generator
from hands.packed.framing import framed_like
from hands.training.learner import Learner
from hands.training.loop import Recorder, ScheduleConfig, check_lr, fit
from hands.training.resume import TrainingCheckpoint

PAIRED_STREAM, MASKS_STREAM, AUGMENT_STREAM = 0, 1, 2


@dataclass(frozen=True)
class Phase1Config:
    """adv_input: what D sees of G1, a name of losses.ADV_INPUTS; d_lr: D's learning rate."""

    schedule: ScheduleConfig
    augment: AugmentConfig
    adv_input: str
    d_lr: float
    memory_format: str

    def __post_init__(self):
        check_lr("d_lr", self.d_lr)


@dataclass(frozen=True)
class Phase1Data:
    """Readers of the packed set; unpaired_masks is None where D sees the paired labels alone."""

    paired: RecordReader
    unpaired_masks: RecordReader | None
    val: RecordReader


class Phase1Step:
    """One step: G1 down the cross-entropy of a paired batch, then D down its loss on real and detached fake labels."""

    def __init__(self, g1: Learner, d: Learner, weights: torch.Tensor, config: Phase1Config, size: int):
        self.g1 = g1
        self.d = d
        self.weights = weights
        self.size = size
        self.seed = config.schedule.seed
        self.augment_config = config.augment
        self.d_input = ADV_INPUTS[config.adv_input]
        self.shard = Shard(g1.fabric.global_rank, g1.fabric.world_size)

    def __call__(self, step: int, batches: tuple[Batch, ...]) -> dict[str, torch.Tensor]:
        generator = seeded_generator(self.seed, AUGMENT_STREAM, step)
        images, labels, _ = augment(batches[0], self.size, self.augment_config, generator, self.shard)

        # 1. G1 learns on pairs
        logits = self.g1.forward(images)
        loss_ce = cross_entropy_loss(logits, labels, self.weights)
        self.g1.update(loss_ce)

        # 2. D learns on real and fake labels
        fake = without_ignored(self.d_input(logits.detach()), labels)
        if len(batches) > 1:
            labels = with_unpaired(labels, batches, self.size, self.augment_config, generator, self.shard)
        losses_d = update_discriminator(self.d, one_hot_labels(labels), fake)
        return {"loss_ce": loss_ce, "loss_total": loss_ce, **losses_d}


def masks_stream(reader: RecordReader, batch_size: int, seed: int, stream: int, shard: Shard) -> BatchStream:
    """Unpaired masks for D, half a batch of them."""
    half = batch_size // 2 // shard.world_size * shard.world_size
    return BatchStream(reader, max(shard.world_size, half), seed, stream, shard)


def with_unpaired(
    labels: torch.Tensor, batches: tuple[Batch, ...], size: int, config: AugmentConfig, generator: torch.Generator, shard: Shard
) -> torch.Tensor:
    """The labels that D is shown as real, (N, 2, S, S): unpaired ones in place of as many paired ones, each framed as the one
    whose place it takes. So many as there are fake ones, which is all that D costs and what batch norm and both halves of its
    loss are weighted by.

    Args:
        labels: (N, 2, S, S), paired.
        batches: of pairs, N, and of unpaired masks, at most as many.
        generator: as it has augmented the pairs.
    """
    paired, unpaired = batches
    framing = framed_like(unpaired.records[:, -2:], paired.records[: len(unpaired.records), -2:])
    unpaired_labels = augment(unpaired, size, config, generator, shard, framing).labels
    return torch.cat([labels[len(unpaired_labels) :], unpaired_labels])


def update_discriminator(d: Learner, real: torch.Tensor, fake: torch.Tensor) -> dict[str, torch.Tensor]:
    """One step of D on maps (N, 34, S, S); fake carries no gradient to the network that made it.

    Both go through D in one batch, so that batch norm's statistics do not tell D which is which.
    """
    real_logits, fake_logits = d.forward(torch.cat([real, fake.detach()])).split([len(real), len(fake)])
    loss_d = discriminator_loss(real_logits, fake_logits)
    d.update(loss_d)
    return {"loss_d": loss_d, **discriminator_accuracy(real_logits, fake_logits)}


def discriminator_accuracy(real_logits: torch.Tensor, fake_logits: torch.Tensor) -> dict[str, torch.Tensor]:
    """Share of D's patches that are right, on real and on fake label maps."""
    return {
        "d_real_acc": (real_logits > 0).double().mean(),
        "d_fake_acc": (fake_logits < 0).double().mean(),
    }


def fit_phase1(
    fabric: Fabric,
    config: Phase1Config,
    data: Phase1Data,
    g1: HandsNetwork,
    d: Discriminator,
    weights: torch.Tensor,
    recorder: Recorder,
    checkpoint: TrainingCheckpoint | None = None,
) -> dict[str, float]:
    """Trains G1 and D in place; returns the metrics of G1's best epoch, whose weights both then hold."""
    schedule = config.schedule
    shard = Shard(fabric.global_rank, fabric.world_size)
    streams = [BatchStream(data.paired, schedule.batch_size, schedule.seed, PAIRED_STREAM, shard)]
    if data.unpaired_masks is not None:
        streams.append(masks_stream(data.unpaired_masks, streams[0].batch_size, schedule.seed, MASKS_STREAM, shard))
    learners = {
        "g1": Learner(fabric, g1, schedule.lr, schedule.ema_decay, config.memory_format),
        "discriminator": Learner(fabric, d, config.d_lr, 0.0, config.memory_format),
    }
    train_step = Phase1Step(
        learners["g1"],
        learners["discriminator"],
        weights.to(fabric.device),
        config,
        data.paired.subset.size,
    )
    return fit(fabric, schedule, tuple(streams), data.val, learners, train_step, recorder, checkpoint)
