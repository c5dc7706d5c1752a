"""What the three training steps share: a learner, the loop over epochs, and the best epoch's weights."""

import math
import os
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from lightning.fabric import Fabric
from torch import nn
from torch.optim.swa_utils import AveragedModel
from tqdm import tqdm

from hands.batches import BatchStream, RecordReader, Shard
from hands.devices import resolve_memory_format
from hands.errors import InvalidInput
from hands.inference import require_labels, score_subset
from hands.resume import StopSignals, TrainingCheckpoint

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


class Learner:
    """A network in training: its optimizer and, when ema_decay > 0, the running average of its weights."""

    def __init__(self, fabric: Fabric, network: nn.Module, lr: float, ema_decay: float, memory_format: str):
        self.fabric = fabric
        chosen = resolve_memory_format(memory_format, fabric._precision.precision)
        network = network.to(fabric.device, memory_format=chosen)
        self.average = AveragedModel(network, multi_avg_fn=_ema(ema_decay), use_buffers=True) if ema_decay else None
        optimizer = torch.optim.Adam(network.parameters(), lr=lr, fused=True)
        self.lr = lr
        self.network = network
        self.forward, self.optimizer = fabric.setup(network, optimizer)

    def scale_lr(self, factor: float) -> None:
        for group in self.optimizer.param_groups:
            group["lr"] = factor * self.lr

    def update(self, loss: torch.Tensor) -> None:
        """One optimizer step down the loss."""
        self.optimizer.zero_grad(set_to_none=True)
        self.fabric.backward(loss)
        self.optimizer.step()
        if self.average is not None:
            self.average.update_parameters(self.network)

    def state_dict(self) -> dict:
        return {
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.optimizer.state_dict(),
            "average": None if self.average is None else self.average.state_dict(),
        }

    def load_state_dict(self, state: dict) -> None:
        """Raises ValueError, RuntimeError and the like where the state is another network's."""
        self.network.load_state_dict(state["network"])
        own = self.optimizer.optimizer.state_dict()["param_groups"]
        self.optimizer.optimizer.load_state_dict({"state": state["optimizer"]["state"], "param_groups": own})
        for parameter, moments in self.optimizer.optimizer.state.items():  # which torch takes as they are
            if {moments[name].shape for name in ("exp_avg", "exp_avg_sq")} != {parameter.shape} or moments["step"].numel() != 1:
                raise ValueError("the optimizer's state is of other weights")
        if self.average is not None:
            self.average.load_state_dict(state["average"])

    def share_buffers(self) -> None:
        """Averages batch norm's running statistics over the processes, which have seen different parts of the batches."""
        if self.fabric.world_size == 1:
            return
        for buffer in self.evaluated.buffers():
            if buffer.is_floating_point():
                buffer.copy_(self.fabric.all_reduce(buffer.clone(), reduce_op="mean"))

    @property
    def evaluated(self) -> nn.Module:
        """The network that is evaluated, logged and handed on."""
        return self.network if self.average is None else self.average.module


def _ema(decay: float) -> Callable:
    def average(averaged: list[torch.Tensor], current: list[torch.Tensor], updates: torch.Tensor) -> None:
        n = int(updates)
        now = min(decay, (1 + n) / (10 + n))  # early averages forget the random start
        if averaged[0].is_floating_point():
            torch._foreach_lerp_(averaged, current, 1 - now)
        else:
            torch._foreach_copy_(averaged, current)

    return average


class Recorder(Protocol):
    """Where a fit reports; hands.tracking has the one that writes to MLflow."""

    def epoch(self, epoch: int, metrics: dict[str, float]) -> None: ...

    def evaluated(self, epoch: int, network: nn.Module, is_best: bool) -> None: ...

    def restore(self, history: list[tuple[int, dict[str, float]]]) -> None: ...


class Averages:
    """Means of named scalars over an epoch, summed on the device so that no step waits for it."""

    def __init__(self):
        self.sums = {}
        self.counts = defaultdict(int)

    def add(self, values: dict[str, torch.Tensor]) -> None:
        for name, value in values.items():
            value = value.detach().double()
            self.sums[name] = self.sums[name] + value if name in self.sums else value
            self.counts[name] += 1

    def means(self, fabric: Fabric) -> dict[str, float]:
        if not self.sums:
            return {}
        stacked = torch.stack([total / self.counts[name] for name, total in self.sums.items()])
        return dict(zip(self.sums, fabric.all_reduce(stacked, reduce_op="mean").tolist(), strict=True))


TrainStep = Callable[[int, tuple[torch.Tensor, ...]], dict[str, torch.Tensor]]


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
        learners: by name; the first one is evaluated by `val/miou`, and its best epoch is kept.
        train_step: (step, batches) -> scalars to average under "train/".
        checkpoint: where the state is kept, and from where it goes on if there is one; None keeps none.

    Returns:
        the metrics of the best epoch; every learner's network then holds the weights of that epoch.

    Raises:
        Diverged: a loss became NaN or infinite.
        Stopped: a signal asked for the end; the checkpoint holds the state of the step that was finished last.
    """
    require_labels(val_reader)
    main = next(iter(learners.values()))
    epoch_steps = streams[0].steps_per_epoch
    total_steps = schedule.epochs * epoch_steps
    state = TrainingState(learners)
    if checkpoint is not None and (saved := checkpoint.load()) is not None:
        state.restore(saved)
        recorder.restore(state.history)
    batches = zip(*(stream.batches(state.step, total_steps) for stream in streams), strict=True)
    silent = fabric.global_rank != 0 or "TQDM_DISABLE" in os.environ  # a sweep's workers would write over each other
    progress = tqdm(total=total_steps, initial=state.step, unit="step", mininterval=5, disable=silent)
    with StopSignals(checkpoint is not None) as signals:
        for epoch in range(state.epoch + 1, schedule.epochs + 1):
            started = time.perf_counter()
            for learner in learners.values():
                learner.network.train()
            for step in range(state.step, epoch * epoch_steps):
                for learner in learners.values():
                    learner.scale_lr(schedule.lr_factor(step, total_steps))
                state.averages.add(train_step(step, next(batches)))
                state.step = step + 1
                progress.update()
                if checkpoint is not None and (checkpoint.due() or signals.received):
                    if fabric.global_rank == 0:
                        checkpoint.save(state.to_dict(state.seconds + time.perf_counter() - started))
                    signals.stop_if_received()
            metrics = {f"train/{name}": value for name, value in state.averages.means(fabric).items()}
            _refuse_divergence(metrics, epoch)
            seconds = state.seconds + time.perf_counter() - started
            metrics["train/images_per_s"] = epoch_steps * streams[0].batch_size / seconds
            due = epoch % schedule.eval_every == 0 or epoch == schedule.epochs
            if due:
                for learner in learners.values():
                    learner.share_buffers()
                metrics |= evaluate(fabric, main.evaluated, val_reader, "val")
                is_best = state.best.offer(epoch, metrics)
            progress.set_postfix(
                {name: f"{metrics[name]:.3f}" for name in ("val/miou", "train/images_per_s") if name in metrics}
            )
            recorder.epoch(epoch, metrics)
            if due:
                recorder.evaluated(epoch, main.evaluated, is_best)
            state.finish_epoch(epoch, metrics)
            if checkpoint is not None:
                if fabric.global_rank == 0:
                    checkpoint.save(state.to_dict(0.0))
                signals.stop_if_received()
    progress.close()
    state.best.restore()
    return state.best.metrics


def evaluate(fabric: Fabric, network: nn.Module, reader: RecordReader, prefix: str) -> dict[str, float]:
    """Scores of a subset, named "<prefix>/miou" and so on."""
    shard = Shard(fabric.global_rank, fabric.world_size)
    scores, _ = score_subset(network, reader, EVAL_BATCH_SIZE, fabric.autocast, shard, progress=False)
    return {f"{prefix}/{name}": value for name, value in scores.values.items()}


class BestEpoch:
    """The weights of the epoch with the highest `val/miou` (the first of equals)."""

    def __init__(self, learners: dict[str, Learner]):
        self.learners = learners
        self.metrics = {}
        self.weights = {}

    def offer(self, epoch: int, metrics: dict[str, float]) -> bool:
        score = metrics["val/miou"]
        if self.metrics and not score > self.metrics["val/miou"] and not math.isnan(self.metrics["val/miou"]):
            return False
        self.metrics = metrics | {"best_epoch": epoch}
        self.weights = {
            name: {key: value.detach().to("cpu", copy=True) for key, value in learner.evaluated.state_dict().items()}
            for name, learner in self.learners.items()
        }
        return True

    def resume(self, metrics: dict[str, float], weights: dict[str, dict[str, torch.Tensor]]) -> None:
        """Goes on from an earlier best epoch; raises ValueError where its weights are another network's."""
        for name, learner in self.learners.items():
            expected = {key: (value.shape, value.dtype) for key, value in learner.evaluated.state_dict().items()}
            if {key: (value.shape, value.dtype) for key, value in weights[name].items()} != expected:
                raise ValueError("the best epoch's weights are of another network")
        if not {"val/miou", "best_epoch"} <= metrics.keys():
            raise ValueError("the best epoch has no score")
        self.metrics, self.weights = metrics, weights

    def restore(self) -> None:
        for name, learner in self.learners.items():
            learner.network.load_state_dict(self.weights[name])


class TrainingState:
    """All that a fit has come to: what a checkpoint holds, and what it goes on from."""

    def __init__(self, learners: dict[str, Learner]):
        self.learners = learners
        self.step = 0  # steps trained
        self.epoch = 0  # epochs finished, evaluation and report included
        self.seconds = 0.0  # trained in the unfinished epoch
        self.averages = Averages()
        self.best = BestEpoch(learners)
        self.history = []

    def finish_epoch(self, epoch: int, metrics: dict[str, float]) -> None:
        self.epoch = epoch
        self.seconds = 0.0
        self.averages = Averages()
        self.history.append((epoch, metrics))

    def to_dict(self, seconds: float) -> dict:
        """Tensors, numbers and texts alone, as hands.resume writes them."""
        return {
            "step": self.step,
            "epoch": self.epoch,
            "seconds": seconds,
            "sums": self.averages.sums,
            "counts": dict(self.averages.counts),
            "best_metrics": self.best.metrics,
            "best_weights": self.best.weights,
            "history": self.history,
            "learners": {name: learner.state_dict() for name, learner in self.learners.items()},
            "random": torch.get_rng_state(),
            "random_cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        }

    def restore(self, saved: dict) -> None:
        """Raises InvalidInput where the state is no training's of these learners."""
        try:
            self._restore(saved)
        except (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
            reason = (str(error).splitlines() or [type(error).__name__])[0][:200]
            raise InvalidInput(f"the checkpoint does not fit the step ({reason}); delete it to start the step anew.") from error

    def _restore(self, saved: dict) -> None:
        device = next(iter(self.learners.values())).fabric.device
        self.step, self.epoch, self.seconds = int(saved["step"]), int(saved["epoch"]), float(saved["seconds"])
        if not 0 <= self.epoch <= self.step or not self.seconds >= 0:
            raise ValueError(f"epoch {self.epoch}, step {self.step} after {self.seconds} s")
        self.averages.sums = {name: value.to(device).double().reshape(()) for name, value in saved["sums"].items()}
        self.averages.counts.update({name: int(saved["counts"][name]) for name in self.averages.sums})
        if not all(count > 0 for count in self.averages.counts.values()):
            raise ValueError("means of nothing")
        self.history = [(int(epoch), _numbers(metrics)) for epoch, metrics in saved["history"]]
        for name, learner in self.learners.items():
            learner.load_state_dict(saved["learners"][name])
        if saved["best_metrics"]:
            self.best.resume(_numbers(saved["best_metrics"]), saved["best_weights"])
        torch.set_rng_state(saved["random"])
        if saved["random_cuda"] and torch.cuda.is_available():
            torch.cuda.set_rng_state_all(saved["random_cuda"])


def _numbers(metrics: dict[str, float]) -> dict[str, float]:
    """The same, or TypeError."""
    if not all(type(name) is str and type(value) in (int, float) for name, value in metrics.items()):
        raise TypeError("metrics that are no numbers")
    return dict(metrics)


def _refuse_divergence(metrics: dict[str, float], epoch: int) -> None:
    broken = [name for name, value in metrics.items() if not math.isfinite(value)]
    if broken:
        raise Diverged(f"{', '.join(broken)} became NaN or infinite in epoch {epoch}; lower lr or the loss weights.")


class Diverged(InvalidInput):
    """Training left the range of finite numbers: the parameters, not the program, are at fault."""


