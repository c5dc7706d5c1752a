"""The other side of line 2: forward, backward and optimizer step alone, of the networks that a training step uses.

Inputs lie in place, there is no loss (a fixed gradient goes back from the output), nothing is read, augmented, measured or
logged. Shapes, precision, layout and optimizer are the step's. After its training steps an epoch passes forward as many
pictures as the real one validates on.
"""

from collections.abc import Callable

import torch
from torch import nn

from hands.benchmark.measure import Side
from hands.method.losses import one_hot_labels
from hands.parts import HANDS, NUM_CLASSES
from hands.training.learner import Learner
from hands.training.loop import EVAL_BATCH_SIZE

TrainStep = Callable[[], None]


def images_in_place(n: int, size: int, device: torch.device) -> torch.Tensor:
    return torch.rand(n, 3, size, size, device=device).contiguous(memory_format=torch.channels_last)


def maps_in_place(n: int, size: int, device: torch.device) -> torch.Tensor:
    """One-hot label maps (N, 34, S, S) for D."""
    return one_hot_labels(torch.randint(0, NUM_CLASSES, (n, len(HANDS), size, size), device=device))


def bare_step(learner: Learner, inputs: torch.Tensor) -> TrainStep:
    """Forward of `inputs`, backward of a fixed gradient, and the optimizer's step."""
    with torch.no_grad():
        gradient = torch.randn_like(learner.forward(inputs))

    def train() -> None:
        output = learner.forward(inputs)
        learner.optimizer.zero_grad(set_to_none=True)
        learner.fabric.backward(output, gradient)
        learner.optimizer.step()

    return train


def bare_phase1(g1: Learner, d: Learner, batch_size: int, size: int) -> TrainStep:
    """G1 learns on a batch; D learns on as many real and as many fake maps."""
    train_g1 = bare_step(g1, images_in_place(batch_size, size, g1.fabric.device))
    train_d = bare_step(d, maps_in_place(2 * batch_size, size, d.fabric.device))

    def train() -> None:
        train_g1()
        train_d()

    return train


def bare_init(g1: nn.Module, g2: Learner, batch_size: int, kept: int, size: int) -> TrainStep:
    """G1, frozen, labels the unpaired batch; G2 learns on as many pictures as are kept."""
    train_g2 = bare_step(g2, images_in_place(kept, size, g2.fabric.device))
    unpaired = images_in_place(batch_size, size, g2.fabric.device)

    def train() -> None:
        with torch.no_grad(), g2.fabric.autocast():
            g1(unpaired)
        train_g2()

    return train


def bare_paired(g2: Learner, d: nn.Module, batch_size: int, size: int) -> TrainStep:
    """G2 learns on a batch; D, frozen, judges as many maps and sends a gradient back."""
    train_g2 = bare_step(g2, images_in_place(batch_size, size, g2.fabric.device))
    maps = maps_in_place(batch_size, size, g2.fabric.device).requires_grad_()
    with torch.no_grad(), g2.fabric.autocast():
        gradient = torch.randn_like(d(maps))

    def train() -> None:
        train_g2()
        with g2.fabric.autocast():
            judged = d(maps)
        maps.grad = None
        judged.backward(gradient)

    return train


def bare_epoch(train: TrainStep, learners: list[Learner], steps: int, images_per_step: int, n_val: int, size: int) -> Side:
    """`steps` times `train`, then a forward pass of the first learner's network over n_val pictures."""
    main = learners[0]
    val = images_in_place(EVAL_BATCH_SIZE, size, main.fabric.device)

    def epoch() -> int:
        for learner in learners:
            learner.network.train()
        for _ in range(steps):
            train()
        main.network.eval()
        with torch.inference_mode(), main.fabric.autocast():
            for start in range(0, n_val, EVAL_BATCH_SIZE):
                main.network(val[: n_val - start])
        return steps * images_per_step

    return epoch
