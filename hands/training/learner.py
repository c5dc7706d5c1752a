"""A network in training: its optimizer and the running average of its weights."""

from collections.abc import Callable

import torch
from lightning.fabric import Fabric
from torch import nn
from torch.optim.swa_utils import AveragedModel

from hands.training.devices import resolve_memory_format


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
