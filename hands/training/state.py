"""What a fit has come to: its step, means of the epoch, best epoch and history, to a checkpoint and back."""

import math
from collections import defaultdict

import torch
from lightning.fabric import Fabric

from hands.errors import InvalidInput
from hands.training.learner import Learner


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


class BestEpoch:
    """The weights of the epoch with the highest `val/miou` (the first of equals); one without a score (NaN) never is it.

    Args:
        judged: False where the score is of pictures that are trained on: it says nothing, and the last epoch is kept.
    """

    def __init__(self, learners: dict[str, Learner], judged: bool):
        self.learners = learners
        self.judged = judged
        self.metrics = {}
        self.weights = {}

    def offer(self, epoch: int, metrics: dict[str, float]) -> bool:
        if self.judged and not metrics["val/miou"] > self.metrics.get("val/miou", -math.inf):
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
        if not {"val/miou", "best_epoch"} <= metrics.keys() or not math.isfinite(metrics["val/miou"]):
            raise ValueError("the best epoch has no score")
        self.metrics, self.weights = metrics, weights

    def restore(self) -> None:
        for name, learner in self.learners.items():
            learner.network.load_state_dict(self.weights[name])


class TrainingState:
    """All that a fit has come to: what a checkpoint holds, and what it goes on from. judged: see BestEpoch."""

    def __init__(self, learners: dict[str, Learner], judged: bool):
        self.learners = learners
        self.step = 0  # steps trained
        self.epoch = 0  # epochs finished, evaluation and report included
        self.seconds = 0.0  # trained in the unfinished epoch
        self.averages = Averages()
        self.best = BestEpoch(learners, judged)
        self.history = []

    def finish_epoch(self, epoch: int, metrics: dict[str, float]) -> None:
        self.epoch = epoch
        self.seconds = 0.0
        self.averages = Averages()
        self.history.append((epoch, metrics))

    def to_dict(self, seconds: float) -> dict:
        """Tensors, numbers and texts alone, as hands.training.resume writes them."""
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
        if not 0 <= self.epoch <= self.step < 1 << 63 or not self.seconds >= 0:
            raise ValueError(f"epoch {self.epoch}, step {self.step} after {self.seconds} s")
        self.averages.sums = {name: value.to(device).double().reshape(()) for name, value in saved["sums"].items()}
        self.averages.counts.update({name: int(saved["counts"][name]) for name in self.averages.sums})
        if not all(0 < count <= self.step for count in self.averages.counts.values()):
            raise ValueError("means of more steps than were trained, or of none")
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
