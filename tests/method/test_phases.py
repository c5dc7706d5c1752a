"""The three training steps: who learns from what, who must not, and that a seed fixes everything."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from lightning.fabric import Fabric
from torch import nn

from hands.errors import InvalidInput
from hands.method import phase2_init as phase2_init_module
from hands.method.losses import SegmentationLoss, cross_entropy_loss, straight_through_one_hot
from hands.method.phase1 import Phase1Config, Phase1Data, Phase1Step, fit_phase1, masks_stream, update_discriminator
from hands.method.phase2_init import Phase2InitConfig, Phase2InitData, Phase2InitStep, fit_phase2_init
from hands.method.phase2_paired import Phase2PairedConfig, Phase2PairedData, Phase2PairedStep, fit_phase2_paired
from hands.method.pseudo_labels import pseudo_labels
from hands.networks.discriminator import Discriminator
from hands.packed.batches import RecordReader, Shard
from hands.packed.packed_set import PackedSet
from hands.training.learner import Learner
from hands.training.loop import ScheduleConfig

CPU = torch.device("cpu")
SCHEDULE = ScheduleConfig(seed=0, epochs=2, batch_size=4, lr=5e-3, lr_schedule="cosine", ema_decay=0.9, eval_every=1)
PAIRED = Phase2PairedConfig(SCHEDULE, 0.1, "one_hot", update_discriminator=True, d_lr=1e-3, memory_format="contiguous")
ONES = 17 * [1.0]


class Notebook:
    def __init__(self):
        self.history = []

    def epoch(self, epoch, metrics) -> None:
        self.history.append(metrics)

    def evaluated(self, epoch, network, is_best) -> None: ...


def one_process() -> Fabric:
    return Fabric(accelerator="cpu", devices=1, precision="32-true")


def small_network(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(3, 16, 5, padding=2), nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, 34, 3, padding=1))


def new_discriminator() -> Discriminator:
    torch.manual_seed(9)
    return Discriminator()


def learner(network: nn.Module, lr: float = 1e-3) -> Learner:
    return Learner(one_process(), network, lr, 0.0, "contiguous")


def frozen_copy(network: nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in network.state_dict().items()}


def is_unchanged(network: nn.Module, before: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def dice_and_ce() -> SegmentationLoss:
    return SegmentationLoss(0.35, 0.65, "dice", 0.0, ONES)


@pytest.fixture
def paired_batch(tiny_packed: PackedSet) -> torch.Tensor:
    return tiny_packed.subset("train").read(range(4), None)


@pytest.fixture
def unpaired_batch(tiny_packed: PackedSet) -> torch.Tensor:
    return tiny_packed.subset("unpaired_images").read(range(8), None)


def reader(packed: PackedSet, subset: str) -> RecordReader:
    return RecordReader(packed.subset(subset), "disk", CPU)


# --- phase 1


def phase1_step(g1: nn.Module, d: nn.Module, size: int) -> Phase1Step:
    return Phase1Step(learner(g1), learner(d), torch.ones(17), size, seed=0, adv_input="one_hot")


def test_phase1_changes_both_networks(tiny_packed: PackedSet, paired_batch: torch.Tensor):
    g1, d = small_network(), new_discriminator()
    before = frozen_copy(g1), frozen_copy(d)
    values = phase1_step(g1, d, 32)(0, (paired_batch,))
    assert not is_unchanged(g1, before[0]) and not is_unchanged(d, before[1])
    assert set(values) == {"loss_ce", "loss_total", "loss_d", "d_real_acc", "d_fake_acc"}
    assert values["loss_total"] == values["loss_ce"]


def test_phase1_learns_from_cross_entropy_alone(paired_batch: torch.Tensor):
    """Whatever D says, G1 takes the same step: D is taught on detached label maps."""
    with_d, with_other_d = small_network(), small_network()
    phase1_step(with_d, new_discriminator(), 32)(0, (paired_batch,))
    other = new_discriminator()
    nn.init.normal_(other.layers[0].weight)
    phase1_step(with_other_d, other, 32)(0, (paired_batch,))
    assert is_unchanged(with_d, with_other_d.state_dict())


def test_d_learns_from_fakes_without_a_gradient_to_their_network(paired_batch: torch.Tensor):
    g1, d = small_network(), new_discriminator()
    fake = straight_through_one_hot(g1(paired_batch[:, :3, 4:36, 4:36] / 255))
    assert fake.requires_grad
    update_discriminator(learner(d), fake.detach().flip(0), fake)
    assert all(parameter.grad is None for parameter in g1.parameters())
    assert all(parameter.grad.abs().sum() > 0 for parameter in d.parameters())


def test_phase1_shows_d_the_unpaired_masks_too(tiny_packed: PackedSet, paired_batch: torch.Tensor, monkeypatch):
    shown = []

    def watched(d, real, fake):
        shown.append((real, fake))
        return {}

    monkeypatch.setattr("hands.method.phase1.update_discriminator", watched)
    masks = tiny_packed.subset("unpaired_masks").read(range(1), None)
    step = phase1_step(small_network(), new_discriminator(), 32)
    step(0, (paired_batch,))
    step(0, (paired_batch, masks))
    (paired_alone, _), (real, fake) = shown
    assert real.shape == fake.shape == (4, 34, 32, 32)
    assert torch.equal(real[:3], paired_alone[1:]) and not torch.equal(real[3], paired_alone[0])
    for maps in (real, fake):
        assert set(maps.unique().tolist()) == {0.0, 1.0}
        assert torch.equal(maps.view(len(maps), 2, 17, 32, 32).sum(2), torch.ones(len(maps), 2, 32, 32))


def test_a_step_depends_on_its_number_and_the_seed(paired_batch: torch.Tensor):
    def loss(seed: int, number: int) -> float:
        step = Phase1Step(learner(small_network()), learner(new_discriminator()), torch.ones(17), 32, seed, "one_hot")
        return step(number, (paired_batch,))["loss_ce"].item()

    assert loss(0, 0) == loss(0, 0)
    assert len({loss(0, 0), loss(0, 1), loss(1, 0)}) == 3


# --- phase 2, weights initialization


def test_init_drops_exactly_the_less_confident_half(unpaired_batch: torch.Tensor, monkeypatch: pytest.MonkeyPatch):
    g1, g2 = small_network(1).eval().requires_grad_(False), small_network()
    labelled, learned = {}, {}

    def watched_labels(logits):
        labels, confidence = pseudo_labels(logits)
        labelled.update(labels=labels, confidence=confidence)
        return labels, confidence

    class Watched(SegmentationLoss):
        def forward(self, logits, labels):
            learned.update(logits=logits, labels=labels)
            return super().forward(logits, labels)

    monkeypatch.setattr(phase2_init_module, "pseudo_labels", watched_labels)
    loss = Watched(0.35, 0.65, "dice", 0.0, ONES)
    values = Phase2InitStep(g1, learner(g2), loss, 0.5, 32, seed=0)(0, (unpaired_batch,))
    kept = sorted(sorted(range(8), key=lambda i: labelled["confidence"][i].item())[4:])
    assert torch.equal(learned["labels"], labelled["labels"][kept])
    assert learned["logits"].shape[0] == 4
    assert values["kept_confidence"].item() == pytest.approx(labelled["confidence"][kept].mean().item())
    assert set(values) == {"loss_ce", "loss_dice", "loss_total", "kept_confidence"}


def test_init_leaves_g1_alone(tiny_packed: PackedSet):
    g1, g2 = small_network(1), small_network()
    before, started = frozen_copy(g1), frozen_copy(g2)
    data = Phase2InitData(reader(tiny_packed, "unpaired_images"), reader(tiny_packed, "val"))
    config = Phase2InitConfig(SCHEDULE, 0.5, "contiguous")
    notebook = Notebook()
    fit_phase2_init(one_process(), config, data, g1, g2, dice_and_ce(), notebook)
    assert is_unchanged(g1, before)  # running statistics of batch norm as well
    assert not g1.training and not any(parameter.requires_grad for parameter in g1.parameters())
    assert not is_unchanged(g2, started)
    assert all(0 < metrics["train/kept_confidence"] <= 1 for metrics in notebook.history)


def test_init_reads_twice_the_batch(tiny_packed: PackedSet, monkeypatch: pytest.MonkeyPatch):
    sizes = []
    call = Phase2InitStep.__call__

    def watched(self, step, batches):
        sizes.append(len(batches[0]))
        return call(self, step, batches)

    monkeypatch.setattr(Phase2InitStep, "__call__", watched)
    data = Phase2InitData(reader(tiny_packed, "unpaired_images"), reader(tiny_packed, "val"))  # 16 pictures
    config = Phase2InitConfig(SCHEDULE, 0.5, "contiguous")
    fit_phase2_init(one_process(), config, data, small_network(1), small_network(), dice_and_ce(), Notebook())
    assert sizes == [8, 8, 8, 8]


@pytest.mark.parametrize("drop_fraction", [-0.1, 1.0, float("nan")])
def test_init_refuses_other_drop_fractions(drop_fraction: float):
    with pytest.raises(InvalidInput, match="drop_fraction"):
        Phase2InitConfig(SCHEDULE, drop_fraction, "auto")


# --- phase 2, paired training


def paired_step(g2: nn.Module, d: nn.Module, d_learner: Learner | None, **changes) -> Phase2PairedStep:
    return Phase2PairedStep(learner(g2), d, d_learner, dice_and_ce(), replace(PAIRED, **changes), 32)


@pytest.mark.parametrize("adv_input", ["one_hot", "softmax"])
def test_g2_learns_from_the_adversarial_term_alone(paired_batch: torch.Tensor, adv_input: str):
    g2, d = small_network(), new_discriminator()
    seen = {}
    step = paired_step(g2, d, None, adv_weight=1.0, adv_input=adv_input)
    update = step.g2.update

    def watched(loss):
        update(loss)
        seen.update({name: parameter.grad.abs().sum().item() for name, parameter in g2.named_parameters()})

    step.g2.update = watched
    values = step(0, (paired_batch,))
    assert values["loss_total"].item() == pytest.approx(values["loss_adv"].item())
    # a bias in front of batch norm moves nothing
    assert all(total > 0 for name, total in seen.items() if name != "0.bias")


def test_the_terms_are_weighted(paired_batch: torch.Tensor):
    values = paired_step(small_network(), new_discriminator(), None, adv_weight=0.25)(0, (paired_batch,))
    segmentation = 0.35 * values["loss_ce"] + 0.65 * values["loss_dice"]
    torch.testing.assert_close(values["loss_total"], 0.75 * segmentation + 0.25 * values["loss_adv"])


def test_d_rests_where_it_may_not_learn(paired_batch: torch.Tensor):
    g2, d = small_network(), new_discriminator()
    before, started = frozen_copy(d), frozen_copy(g2)
    values = paired_step(g2, d, None)(0, (paired_batch,))
    assert is_unchanged(d, before)  # running statistics as well
    assert all(parameter.grad is None for parameter in d.parameters())
    assert not is_unchanged(g2, started)
    assert set(values) == {"loss_ce", "loss_dice", "loss_adv", "loss_total", "d_real_acc", "d_fake_acc"}


@pytest.mark.parametrize(("n", "shown"), [(4, 1), (2, 1), (1, 1)])
def test_a_resting_d_is_shown_a_quarter_of_the_real_labels(paired_batch: torch.Tensor, n: int, shown: int):
    d = new_discriminator()
    seen = []
    d.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0].detach()))
    values = paired_step(small_network(), d, None)(0, (paired_batch[:n],))
    fake, real = seen
    assert len(fake) == n and len(real) == shown
    assert set(real.unique().tolist()) == {0.0, 1.0}
    assert 0 <= values["d_real_acc"] <= 1


def test_a_d_that_learns_sees_each_real_label_once(tiny_packed: PackedSet, paired_batch: torch.Tensor):
    d = new_discriminator()
    seen = []
    d.register_forward_pre_hook(lambda module, inputs: seen.append(len(inputs[0])))
    masks = tiny_packed.subset("unpaired_masks").read(range(2), None)
    paired_step(small_network(), d, learner(d))(0, (paired_batch, masks))
    assert seen == [4, 8]  # to teach G2; then to learn, from as many real as fake maps


@pytest.mark.parametrize(
    ("batch_size", "processes", "masks"), [(16, 1, 8), (5, 1, 2), (1, 1, 1), (16, 2, 8), (6, 2, 2), (2, 2, 2)]
)
def test_half_a_batch_of_masks(tiny_packed: PackedSet, batch_size: int, processes: int, masks: int):
    stream = masks_stream(reader(tiny_packed, "unpaired_masks"), batch_size, 0, 1, Shard(0, processes))
    assert stream.batch_size == masks and len(stream.indices(0)) == masks // processes


def test_d_learns_where_it_may(paired_batch: torch.Tensor):
    g2, d = small_network(), new_discriminator()
    before = frozen_copy(d)
    values = paired_step(g2, d, learner(d))(0, (paired_batch,))
    changed = [name for name, parameter in d.named_parameters() if not torch.equal(parameter, before[name])]
    assert changed == [name for name, _ in d.named_parameters()]
    assert "loss_d" in values and d.training


def test_d_that_learns_does_not_change_g2s_step(paired_batch: torch.Tensor):
    """D is updated after G2, and its gradients come from its own loss."""
    alone, beside = small_network(), small_network()
    paired_step(alone, new_discriminator(), None)(0, (paired_batch,))
    d = new_discriminator()
    paired_step(beside, d, learner(d))(0, (paired_batch,))
    assert is_unchanged(alone, beside.state_dict())


def test_without_the_adversarial_term_d_does_not_matter(paired_batch: torch.Tensor):
    results = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        g2 = small_network()
        torch.manual_seed(seed)
        paired_step(g2, Discriminator(), None, adv_weight=0.0)(0, (paired_batch,))
        results.append(frozen_copy(g2))
    assert all(torch.equal(results[0][name], results[1][name]) for name in results[0])


@pytest.mark.parametrize("change", [{"adv_weight": -0.1}, {"adv_weight": 1.1}, {"d_lr": 0.0}, {"d_lr": -1.0}])
def test_paired_refuses(change: dict):
    with pytest.raises(InvalidInput, match=next(iter(change))):
        replace(PAIRED, **change)


def test_phase1_refuses_a_rate():
    with pytest.raises(InvalidInput, match="d_lr"):
        Phase1Config(SCHEDULE, "one_hot", float("nan"), "auto")


# --- whole fits


def run_phase1(packed: PackedSet, seed: int) -> tuple[list[nn.Module], Notebook]:
    g1, d, notebook = small_network(), new_discriminator(), Notebook()
    data = Phase1Data(reader(packed, "train"), reader(packed, "unpaired_masks"), reader(packed, "val"))
    config = Phase1Config(replace(SCHEDULE, seed=seed), "one_hot", 1e-3, "contiguous")
    fit_phase1(one_process(), config, data, g1, d, torch.ones(17), notebook)
    return [g1, d], notebook


def run_init(packed: PackedSet, seed: int) -> tuple[list[nn.Module], Notebook]:
    g2, notebook = small_network(), Notebook()
    data = Phase2InitData(reader(packed, "unpaired_images"), reader(packed, "val"))
    config = Phase2InitConfig(replace(SCHEDULE, seed=seed), 0.5, "channels_last")
    fit_phase2_init(one_process(), config, data, small_network(1), g2, dice_and_ce(), notebook)
    return [g2], notebook


def run_paired(packed: PackedSet, seed: int) -> tuple[list[nn.Module], Notebook]:
    g2, d, notebook = small_network(), new_discriminator(), Notebook()
    data = Phase2PairedData(reader(packed, "train"), reader(packed, "unpaired_masks"), reader(packed, "val"))
    config = replace(PAIRED, schedule=replace(SCHEDULE, seed=seed))
    fit_phase2_paired(one_process(), config, data, g2, d, dice_and_ce(), notebook)
    return [g2, d], notebook


RUNS = {"phase1": run_phase1, "init": run_init, "paired": run_paired}
LOSSES = {
    "phase1": {"loss_ce", "loss_total", "loss_d", "d_real_acc", "d_fake_acc"},
    "init": {"loss_ce", "loss_dice", "loss_total", "kept_confidence"},
    "paired": {"loss_ce", "loss_dice", "loss_adv", "loss_total", "loss_d", "d_real_acc", "d_fake_acc"},
}


@pytest.mark.parametrize("name", RUNS)
def test_same_seed_same_weights_and_metrics(tiny_packed: PackedSet, name: str):
    run: Callable = RUNS[name]
    (first, one), (again, two), (other, _) = run(tiny_packed, 0), run(tiny_packed, 0), run(tiny_packed, 1)
    for network, repeated in zip(first, again, strict=True):
        assert is_unchanged(network, repeated.state_dict())
    assert not is_unchanged(first[0], other[0].state_dict())
    for a, b in zip(one.history, two.history, strict=True):
        del a["train/images_per_s"], b["train/images_per_s"]
        assert a == pytest.approx(b, rel=0, abs=0, nan_ok=True)


@pytest.mark.parametrize("name", RUNS)
def test_names_of_metrics(tiny_packed: PackedSet, name: str):
    _, notebook = RUNS[name](tiny_packed, 0)
    parts = {f"val/iou_part_{part:02d}" for part in range(1, 17)}
    scores = {"miou", "miou_single", "miou_interacting", "miou_dataset", "miou_dataset_l", "miou_dataset_r"}
    scores |= {"miou_overlap", "absent_hand"}
    expected = {f"train/{loss}" for loss in LOSSES[name]} | {f"val/{score}" for score in scores} | parts
    assert [set(metrics) for metrics in notebook.history] == 2 * [expected | {"train/images_per_s"}]


def test_blobs_are_learned(tiny_packed: PackedSet):
    """A sanity check in seconds; tests/entrypoints/test_overfitting.py is the real one."""
    g1, notebook = small_network(), Notebook()
    data = Phase1Data(reader(tiny_packed, "train"), None, reader(tiny_packed, "val"))
    schedule = replace(SCHEDULE, epochs=12, lr=2e-2, ema_decay=0.0, eval_every=12)
    config = Phase1Config(schedule, "one_hot", 1e-3, "contiguous")
    fit_phase1(one_process(), config, data, g1, new_discriminator(), torch.ones(17), notebook)
    assert notebook.history[-1]["train/loss_ce"] < 0.4 * notebook.history[0]["train/loss_ce"]


def test_cross_entropy_uses_the_class_weights(paired_batch: torch.Tensor):
    weights = torch.linspace(0.1, 2, 17)
    g1 = small_network()
    step = Phase1Step(learner(g1), learner(new_discriminator()), weights, 32, 0, "one_hot")
    seen = {}
    forward = step.g1.forward
    step.g1.forward = lambda images: seen.setdefault("logits", forward(images))
    loss = step(0, (paired_batch,))["loss_ce"]
    from hands.method.phase1 import AUGMENT_STREAM
    from hands.packed.augment import augment
    from hands.packed.batches import seeded_generator

    _, labels = augment(paired_batch, 32, seeded_generator(0, AUGMENT_STREAM, 0), step.shard)
    torch.testing.assert_close(loss, cross_entropy_loss(seen["logits"], labels, weights))
