"""The training loop: rates, averages, the epoch that is kept, and what is reported."""

import math
from dataclasses import replace

import pytest
import torch
from torch import nn

from hands.errors import InvalidInput
from hands.packed.batches import BatchStream, RecordReader, Shard
from hands.packed.packed_set import PackedSet
from hands.training import loop as training
from hands.training.learner import Learner
from hands.training.loop import Diverged, ScheduleConfig, fit
from tests.small_training import Notebook, a_learner, frozen_copy, is_unchanged, one_process, reader, small_network

SCHEDULE = ScheduleConfig(seed=0, epochs=4, batch_size=4, lr=0.01, lr_schedule="constant", ema_decay=0.0, eval_every=1)


class Scalar(nn.Module):
    """One weight."""

    def __init__(self, value: float):
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(value))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.weight * x


@pytest.fixture
def streams(tiny_packed: PackedSet) -> tuple[BatchStream, ...]:
    train = reader(tiny_packed, "train")  # 12 records: 3 steps an epoch
    return (BatchStream(train, SCHEDULE.batch_size, SCHEDULE.seed, 0, Shard(0, 1)),)


@pytest.fixture
def val(tiny_packed: PackedSet) -> RecordReader:
    return reader(tiny_packed, "val")


@pytest.fixture
def scripted_scores(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The validation scores of the evaluations to come, in order."""
    coming = []
    monkeypatch.setattr(training, "evaluate", lambda *arguments: {"val/miou": coming.pop(0)})
    return coming


# --- learning rate


def test_constant_rate():
    assert {SCHEDULE.lr_factor(step, 10) for step in range(10)} == {1.0}


def test_cosine_by_hand():
    schedule = replace(SCHEDULE, lr_schedule="cosine")
    factors = [schedule.lr_factor(step, 40) for step in range(40)]
    assert factors[:3] == [0.5, 1.0, 1.0]  # warm-up over 5 % of 40 steps, then the peak
    assert factors[21] == pytest.approx(0.02 + 0.98 * 0.5)  # half of the 38 steps after it
    assert factors[39] == pytest.approx(0.02 + 0.98 * (1 + math.cos(math.pi * 37 / 38)) / 2)
    assert factors[2:] == sorted(factors[2:], reverse=True)
    assert min(factors[2:]) > 0.02


@pytest.mark.parametrize("total", [1, 2, 3])
def test_cosine_of_a_few_steps_is_a_rate(total: int):
    schedule = replace(SCHEDULE, lr_schedule="cosine")
    assert all(0 < schedule.lr_factor(step, total) <= 1 for step in range(total))


def test_each_learner_follows_the_schedule_at_its_own_rate(streams, val, scripted_scores):
    scripted_scores += [0.1, 0.2]
    schedule = replace(SCHEDULE, epochs=2, lr_schedule="cosine")
    learners = {"g": a_learner(Scalar(1.0), lr=0.01), "d": a_learner(Scalar(1.0), lr=0.5)}
    rates = []

    def step(number, batches):
        rates.append([learner.optimizer.param_groups[0]["lr"] for learner in learners.values()])
        return {"loss_total": torch.tensor(0.0)}

    fit(one_process(), schedule, streams, val, learners, step, Notebook())
    expected = [[0.01 * f, 0.5 * f] for f in (schedule.lr_factor(step, 6) for step in range(6))]
    torch.testing.assert_close(torch.tensor(rates), torch.tensor(expected))


@pytest.mark.parametrize(
    "change",
    [
        {"seed": -1},
        {"seed": 2**64},
        {"epochs": 0},
        {"batch_size": 0},
        {"eval_every": 0},
        {"lr": 0.0},
        {"lr": math.nan},
        {"lr": 10.0},
        {"ema_decay": 1.0},
        {"ema_decay": -0.1},
        {"lr_schedule": "step"},
    ],
)
def test_schedule_refuses(change: dict):
    with pytest.raises(InvalidInput, match=next(iter(change))):
        replace(SCHEDULE, **change)


# --- running average


def test_running_average_by_hand():
    """The first update copies; update n + 1 keeps min(decay, (1 + n) / (10 + n)) of the average."""
    learner = a_learner(Scalar(0.0), ema_decay=0.25)
    average, weights = None, []
    for n in range(5):
        learner.update((learner.forward(torch.tensor(1.0)) - 3.0) ** 2)
        weight = learner.network.weight.item()
        weights.append(weight)
        keep = min(0.25, (1 + n) / (10 + n))
        average = weight if n == 0 else keep * average + (1 - keep) * weight
        assert learner.evaluated.weight.item() == pytest.approx(average, rel=1e-5)
    assert len(set(weights)) == 5
    assert learner.evaluated is not learner.network


def test_running_average_takes_batch_norm_along():
    torch.manual_seed(0)
    learner = a_learner(nn.BatchNorm2d(2), ema_decay=0.9)
    for _ in range(2):
        before = learner.evaluated.running_mean.clone()
        learner.update(learner.forward(torch.randn(4, 2, 3, 3) + 5).square().mean())
    keep = 2 / 11
    torch.testing.assert_close(learner.evaluated.running_mean, keep * before + (1 - keep) * learner.network.running_mean)
    assert learner.evaluated.num_batches_tracked == 2


def test_without_a_decay_the_network_itself_is_evaluated():
    learner = a_learner(Scalar(0.0))
    assert learner.average is None and learner.evaluated is learner.network


def test_update_is_adam():
    learner = a_learner(Scalar(1.0), lr=0.01)
    reference = Scalar(1.0)
    adam = torch.optim.Adam(reference.parameters(), lr=0.01)
    for x in (1.0, -2.0, 3.0):
        learner.update((learner.forward(torch.tensor(x)) - 1) ** 2)
        adam.zero_grad()
        ((reference(torch.tensor(x)) - 1) ** 2).backward()
        adam.step()
    torch.testing.assert_close(learner.network.weight, reference.weight)


# --- the loop


def counting_step(learner: Learner):
    """Sets the weight to the number of the step, counted from 1."""

    def step(number, batches):
        with torch.no_grad():
            learner.network.weight.fill_(number + 1.0)
        return {"loss_total": torch.tensor(float(number))}

    return step


@pytest.mark.parametrize(
    ("val_miou", "best_epoch"),
    [
        ([0.1, 0.4, 0.3, 0.2], 2),
        ([0.4, 0.3, 0.2, 0.1], 1),
        ([0.1, 0.2, 0.3, 0.4], 4),
        ([0.3, 0.3, 0.3, 0.3], 1),
        ([math.nan, 0.2, math.nan, 0.1], 2),
    ],
)
def test_the_best_epoch_is_kept_and_restored(streams, val, scripted_scores, val_miou: list, best_epoch: int):
    scripted_scores += val_miou
    learner = a_learner(Scalar(0.0))
    notebook = Notebook()
    best = fit(one_process(), SCHEDULE, streams, val, {"g": learner}, counting_step(learner), notebook)
    assert best["best_epoch"] == best_epoch
    assert best["val/miou"] == val_miou[best_epoch - 1]
    assert learner.network.weight.item() == 3 * best_epoch  # three steps an epoch
    assert [epoch for epoch, is_best in notebook.evaluations if is_best][-1] == best_epoch


def test_all_learners_go_back_to_the_best_epoch_of_the_first(streams, val, scripted_scores):
    scripted_scores += [0.1, 0.4, 0.3, 0.2]
    learners = {"g": a_learner(Scalar(0.0)), "d": a_learner(Scalar(0.0))}
    steps = [counting_step(learner) for learner in learners.values()]
    fit(one_process(), SCHEDULE, streams, val, learners, lambda *given: [step(*given) for step in steps][0], Notebook())
    assert [learner.network.weight.item() for learner in learners.values()] == [6, 6]


def test_the_network_ends_with_the_averaged_weights_that_were_evaluated(streams, val, scripted_scores):
    scripted_scores += [0.1, 0.4, 0.3, 0.2]
    learner = a_learner(Scalar(0.0), lr=0.1, ema_decay=0.9)
    seen = []

    def step(number, batches):
        learner.update((learner.forward(torch.tensor(1.0)) - 3.0) ** 2)
        seen.append(learner.evaluated.weight.item())
        return {"loss_total": torch.tensor(0.0)}

    fit(one_process(), SCHEDULE, streams, val, {"g": learner}, step, Notebook())
    assert learner.network.weight.item() == seen[5]  # the last step of epoch 2


@pytest.mark.parametrize(("eval_every", "epochs"), [(1, [1, 2, 3, 4]), (2, [2, 4]), (3, [3, 4]), (9, [4])])
def test_evaluated_epochs(streams, val, scripted_scores, eval_every: int, epochs: list[int]):
    scripted_scores += [0.1, 0.2, 0.3, 0.4]
    learner, notebook = a_learner(Scalar(0.0)), Notebook()
    schedule = replace(SCHEDULE, eval_every=eval_every)
    fit(one_process(), schedule, streams, val, {"g": learner}, counting_step(learner), notebook)
    assert [epoch for epoch, _ in notebook.evaluations] == [0, *epochs]
    assert [epoch for epoch, metrics in notebook.epochs if "val/miou" in metrics] == epochs
    assert [epoch for epoch, _ in notebook.epochs] == [1, 2, 3, 4]


@pytest.mark.parametrize("ema_decay", [0.0, 0.9])
def test_what_is_evaluated_at_the_start_is_untrained_and_trains_as_ever(streams, val, scripted_scores, ema_decay: float):
    """A recorder that looks at the network as pictures of it do: in evaluation mode."""
    scripted_scores += [0.1]
    learner, seen = a_learner(small_network(0), ema_decay=ema_decay), {}

    class Looking(Notebook):
        def evaluated(self, epoch: int, network: nn.Module, is_best: bool) -> None:
            assert network.eval() is learner.evaluated
            seen[epoch] = (frozen_copy(network), is_best)

    def step(number, batches):
        assert learner.network.training
        learner.update(learner.forward(torch.ones(2, 3, 8, 8)).square().mean())
        return {"loss_total": torch.tensor(0.0)}

    fit(one_process(), replace(SCHEDULE, epochs=1), streams, val, {"g": learner}, step, Looking())
    (start, is_best), (end, _) = seen.values()
    assert list(seen) == [0, 1] and not is_best
    assert is_unchanged(small_network(0), start) and not is_unchanged(small_network(0), end)


def test_metrics_are_means_over_the_epoch(streams, val, scripted_scores):
    scripted_scores += [0.1, 0.2]
    learner, notebook = a_learner(Scalar(0.0)), Notebook()
    schedule = replace(SCHEDULE, epochs=2)
    best = fit(one_process(), schedule, streams, val, {"g": learner}, counting_step(learner), notebook)
    assert [metrics["train/loss_total"] for _, metrics in notebook.epochs] == [1.0, 4.0]  # of 0, 1, 2 and 3, 4, 5
    assert len(notebook.rates) == 2 and min(notebook.rates) > 0
    assert best["train/loss_total"] == 4.0


def test_steps_and_batches_are_handed_over_in_order(streams, val, scripted_scores):
    scripted_scores += [0.1, 0.2]
    learner = a_learner(Scalar(0.0))
    seen = []

    def step(number, batches):
        assert len(batches) == 1 and learner.network.training
        assert torch.equal(batches[0].records, streams[0].reader.read(streams[0].indices(number)))
        seen.append(number)
        return {"loss_total": torch.tensor(0.0)}

    fit(one_process(), replace(SCHEDULE, epochs=2), streams, val, {"g": learner}, step, Notebook())
    assert seen == list(range(6))


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_divergence_is_refused(streams, val, scripted_scores, value: float):
    learner = a_learner(Scalar(0.0))

    def step(number, batches):
        return {"loss_total": torch.tensor(value if number == 4 else 0.0), "loss_ce": torch.tensor(0.0)}

    scripted_scores += [0.1]
    with pytest.raises(Diverged, match="train/loss_total became NaN or infinite in epoch 2"):
        fit(one_process(), SCHEDULE, streams, val, {"g": learner}, step, Notebook())
    assert issubclass(Diverged, InvalidInput)


def test_refuses_a_validation_set_without_labels_before_the_first_step(streams, tiny_packed: PackedSet):
    unlabelled = reader(tiny_packed, "unpaired_images")
    with pytest.raises(InvalidInput, match="unpaired_images.*no pictures with labels"):
        fit(one_process(), SCHEDULE, streams, unlabelled, {"g": a_learner(Scalar(0.0))}, None, Notebook())
