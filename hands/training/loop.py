"""What the three training steps share: their schedule and the loop over epochs."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from lightning.fabric import Fabric
from torch import nn

from hands.errors import InvalidInput
from hands.evaluation.coverage import require_judged
from hands.evaluation.inference import score_subset
from hands.packed.batches import Batch, BatchStream, RecordReader, Shard
from hands.processes.progress import Progress
from hands.training.learner import Learner
from hands.training.resume import StopSignals, TrainingCheckpoint
from hands.training.state import TrainingState

EVAL_BATCH_SIZE = 64
WARMUP_FRACTION = 0.05
FINAL_LR_FRACTION = 0.02


@dataclass(frozen=True)
class ScheduleConfig:
    """How long and how fast a step trains.

    Attributes:
        seed: of data order, augmentation and random weights.
        epochs: passes over the step's main stream, >= 1.
        batch_size: images of a step of all processes together.
        lr: Adam's learning rate (its peak with the cosine schedule).
        lr_schedule: constant | cosine (linear warm-up over 5 % of the steps, then cosine down to 2 % of lr).
        ema_decay: decay of the running average of the weights, in [0, 1); 0 evaluates the weights themselves.
        eval_every: epochs between evaluations; the last epoch is always evaluated.
    """

    seed: int
    epochs: int
    batch_size: int
    lr: float
    lr_schedule: str
    ema_decay: float
    eval_every: int

    def __post_init__(self):
        for name, low in (("seed", 0), ("epochs", 1), ("batch_size", 1), ("eval_every", 1)):
            if getattr(self, name) < low:
                raise InvalidInput(f"{name} is {getattr(self, name)}; expected at least {low}.")
        if self.seed >= 1 << 63:
            raise InvalidInput(f"seed is {self.seed}; expected a number below 2 ** 63.")
        check_lr("lr", self.lr)
        if not 0 <= self.ema_decay < 1:
            raise InvalidInput(f"ema_decay is {self.ema_decay}; expected a number in [0, 1).")
        if self.lr_schedule not in ("constant", "cosine"):
            raise InvalidInput(f"lr_schedule is '{self.lr_schedule}'; expected constant or cosine.")

    def lr_factor(self, step: int, total_steps: int) -> float:
        """Factor on every learner's learning rate at a step, counted from 0."""
        if self.lr_schedule == "constant":
            return 1.0
        warmup = max(1, round(WARMUP_FRACTION * total_steps))
        if step < warmup:
            return (step + 1) / warmup
        progress = (step - warmup) / max(1, total_steps - warmup)
        cosine = 0.5 * (1 + math.cos(math.pi * progress))
        return FINAL_LR_FRACTION + (1 - FINAL_LR_FRACTION) * cosine


def check_lr(name: str, lr: float) -> None:
    """Raises InvalidInput for a learning rate that cannot be meant."""
    if not 0 < lr < 10:
        raise InvalidInput(f"{name} is {lr}; expected a number above 0 and below 10.")


class Recorder(Protocol):
    """Where a fit reports; hands.tracking has the one that writes to MLflow."""

    def epoch(self, epoch: int, metrics: dict[str, float]) -> None: ...

    def evaluated(self, epoch: int, network: nn.Module, is_best: bool) -> None:
        """Of epoch 0 it is the network that training starts from, which has no score."""

    def restore(self, history: list[tuple[int, dict[str, float]]]) -> None: ...


TrainStep = Callable[[int, tuple[Batch, ...]], dict[str, torch.Tensor]]


def fit(
    fabric: Fabric,
    schedule: ScheduleConfig,
    streams: tuple[BatchStream, ...],
    val_reader: RecordReader,
    learners: dict[str, Learner],
    train_step: TrainStep,
    recorder: Recorder,
    checkpoint: TrainingCheckpoint | None = None,
) -> dict[str, float]:
    """Trains for schedule.epochs epochs of the first stream.

    Args:
        streams: the batches of each are handed to train_step together; the first sets the length of an epoch.
        learners: by name; the first one is evaluated by `val/miou`, and its best epoch is kept, or the last one where
            pictures of val_reader are trained on.
        train_step: (step, batches) -> scalars to average under "train/".
        checkpoint: where the state is kept, and from where it goes on if there is one; None keeps none.

    Returns:
        the metrics of the epoch that is kept; every learner's network then holds the weights of that epoch.

    Raises:
        Diverged: a loss became NaN or infinite.
        InvalidInput: no picture of val_reader has a part that is judged.
        Stopped: a signal asked for the end; the checkpoint holds the state of the step that was finished last.
    """
    require_judged(val_reader.subset)
    main = next(iter(learners.values()))
    epoch_steps = streams[0].steps_per_epoch
    total_steps = schedule.epochs * epoch_steps
    judged = not any(stream.reader.subset.overlaps(val_reader.subset) for stream in streams)
    state = TrainingState(learners, judged)
    if checkpoint is not None and (saved := checkpoint.load()) is not None:
        state.restore(saved)
        recorder.restore(state.history)
    if state.step == 0:
        recorder.evaluated(0, main.evaluated, is_best=False)
    batches = zip(*(stream.batches(state.step, total_steps) for stream in streams), strict=True)
    batch_size, is_first = streams[0].batch_size, fabric.global_rank == 0
    progress = Progress("training", total_steps * batch_size, "images", state.step * batch_size, shown=is_first)
    progress.tell()
    with progress, StopSignals(checkpoint is not None) as signals:
        for epoch in range(state.epoch + 1, schedule.epochs + 1):
            progress.title = f"epoch {epoch} of {schedule.epochs}"
            started = time.perf_counter()
            for learner in learners.values():
                learner.network.train()
            for step in range(state.step, epoch * epoch_steps):
                for learner in learners.values():
                    learner.scale_lr(schedule.lr_factor(step, total_steps))
                state.averages.add(train_step(step, next(batches)))
                state.step = step + 1
                progress.update(batch_size)
                stopping = asked_to_stop(fabric, signals)
                if checkpoint is not None and (checkpoint.due() or stopping):
                    if is_first:
                        checkpoint.save(state.to_dict(state.seconds + time.perf_counter() - started))
                    if stopping:
                        signals.stop()
            metrics = {f"train/{name}": value for name, value in state.averages.means(fabric).items()}
            _refuse_divergence(metrics, epoch)
            seconds = state.seconds + time.perf_counter() - started
            metrics["train/images_per_s"] = epoch_steps * batch_size / seconds
            due = epoch % schedule.eval_every == 0 or epoch == schedule.epochs
            if due:
                for learner in learners.values():
                    learner.share_buffers()
                metrics |= evaluate(fabric, main.evaluated, val_reader, "val")
                is_best = state.best.offer(epoch, metrics)
                progress.note = f"val/miou {metrics['val/miou']:.3f}"
                progress.tell()
            recorder.epoch(epoch, metrics)
            if due:
                recorder.evaluated(epoch, main.evaluated, is_best)
            state.finish_epoch(epoch, metrics)
            if checkpoint is not None:
                if is_first:
                    checkpoint.save(state.to_dict(0.0))
                if asked_to_stop(fabric, signals):
                    signals.stop()
    state.best.restore()
    return state.best.metrics


def asked_to_stop(fabric: Fabric, signals: StopSignals) -> bool:
    """Whether any process has received a signal: all must stop after the same step.

    A signal that arrives while the processes tell each other counts the next time.
    """
    asked = signals.received is not None
    if fabric.world_size > 1 and signals.active:
        asked = fabric.all_reduce(torch.tensor(float(asked), device=fabric.device), reduce_op="sum").item() > 0
    return asked


def evaluate(fabric: Fabric, network: nn.Module, reader: RecordReader, prefix: str) -> dict[str, float]:
    """Scores of a subset, named "<prefix>/miou" and so on."""
    shard = Shard(fabric.global_rank, fabric.world_size)
    scores, _ = score_subset(network, reader, EVAL_BATCH_SIZE, fabric.autocast, shard, progress=False)
    return {f"{prefix}/{name}": value for name, value in scores.values.items()}


def _refuse_divergence(metrics: dict[str, float], epoch: int) -> None:
    broken = [name for name, value in metrics.items() if not math.isfinite(value)]
    if broken:
        raise Diverged(f"{', '.join(broken)} became NaN or infinite in epoch {epoch}; lower lr or the loss weights.")


class Diverged(InvalidInput):
    """Training left the range of finite numbers: the parameters, not the program, are at fault."""
