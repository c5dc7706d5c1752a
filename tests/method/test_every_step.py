"""Every training step: its seed fixes everything, it trains and reports what its row says."""

from types import SimpleNamespace

import pytest

from hands.packed.packed_set import PackedSet
from hands.parts import PART_SCORES
from tests.small_training import Notebook, is_unchanged
from tests.training_steps import AUGMENTED, STEPS, TrainingStep, small_start

GIVEN = {
    "epochs": 2, "batch_size": 4, "lr": 5e-3, "lr_schedule": "cosine", "ema_decay": 0.9, "d_lr": 1e-3,
    "class_weights": "none", "memory_format": "channels_last",
}  # fmt: skip
PARTS = {f"val/{name}" for name in PART_SCORES}
SCORES = {
    "val/miou", "val/miou_single", "val/miou_interacting", "val/miou_dataset", "val/miou_dataset_l", "val/miou_dataset_r",
    "val/miou_overlap", "val/absent_hand",
}  # fmt: skip


def trained(step: TrainingStep, packed: PackedSet, seed: int) -> SimpleNamespace:
    start, notebook = small_start(), Notebook()
    best = step.train(packed, start, notebook, **GIVEN, seed=seed)
    return SimpleNamespace(step=step, start=start, networks=step.trained(start), notebook=notebook, best=best)


@pytest.fixture(scope="module", params=(*STEPS, AUGMENTED), ids=lambda step: step.name)
def once(request: pytest.FixtureRequest, tiny_packed: PackedSet) -> SimpleNamespace:
    return trained(request.param, tiny_packed, seed=0)


def test_same_seed_same_weights_and_metrics(once: SimpleNamespace, tiny_packed: PackedSet):
    again, other = (trained(once.step, tiny_packed, seed) for seed in (0, 1))
    for name, network in once.networks.items():
        assert is_unchanged(network, again.networks[name].state_dict()), name
        assert not is_unchanged(network, other.networks[name].state_dict()), name
    assert repr(once.notebook.epochs) == repr(again.notebook.epochs)  # equal to the last digit, and NaN where NaN was


def test_names_of_metrics(once: SimpleNamespace):
    expected = {f"train/{loss}" for loss in once.step.losses} | SCORES | PARTS
    assert [set(metrics) for _, metrics in once.notebook.epochs] == [expected, expected]
    assert len(once.notebook.rates) == 2 and min(once.notebook.rates) > 0


def test_it_trains_what_its_row_says_and_nothing_else(once: SimpleNamespace):
    before = small_start()
    for name in ("network", "g1", "d"):
        network = getattr(once.start, name)
        is_trained = any(network is other for other in once.networks.values())
        assert is_unchanged(network, getattr(before, name).state_dict()) != is_trained, name
    assert once.best["best_epoch"] in (1, 2) and 0 <= once.best["val/miou"] <= 1


def test_rows_have_names_of_their_own():
    assert len({step.name for step in STEPS}) == len(STEPS)
