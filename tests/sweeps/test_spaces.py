"""Search spaces: what they propose can be trained with, the published weights come first, and no axis is redundant."""

import itertools

import numpy as np
import optuna
import pytest
import torch
from optuna.distributions import CategoricalDistribution, FloatDistribution

from hands.errors import InvalidInput
from hands.method.class_weights import ClassWeightConfig, class_weights
from hands.method.losses import SegmentationLoss
from sweeps import space as space_module
from sweeps.sampler import SAMPLERS, SeededByTrial
from sweeps.space import load_space, space_names, suggest
from tests.project import ENTRY_POINTS

COUNTS = [100_000, *range(10, 170, 10)]
SPACES = ("loss_weights", "class_weights", "both")


def corners(space) -> list[dict]:
    """Every combination of the axes' ends and choices."""
    ends = [a.choices if isinstance(a, CategoricalDistribution) else (a.low, a.high) for a in space.axes.values()]
    return [dict(zip(space.axes, values, strict=True)) for values in itertools.product(*ends)]


def weights_of_classes(weights: dict) -> np.ndarray:
    names = ("class_weight_exponent", "background_factor", "palm_factor", "fingertips_factor", "fingers_factor")
    defaults = ENTRY_POINTS["sweep"]["parameters"]
    scheme = weights.get("class_weights", "manual")
    config = ClassWeightConfig(scheme, *(float(weights.get(name, defaults[name]["default"])) for name in names))
    return class_weights(config, COUNTS)


def test_a_space_is_a_file():
    assert set(SPACES) <= set(space_names())


def test_a_user_adds_a_space_by_adding_a_file(tmp_path, monkeypatch):
    from sweeps import spaces

    text = (
        (space_module.SPACES / "loss_weights.py").read_text().replace("FloatDistribution(0, 0.5)", "FloatDistribution(0, 0.2)")
    )
    (tmp_path / "mine.py").write_text(text)
    monkeypatch.setattr(spaces, "__path__", [*spaces.__path__, str(tmp_path)])
    monkeypatch.setattr(space_module, "SPACES", tmp_path)
    assert load_space("mine").axes["adv_weight"].high == 0.2


@pytest.mark.parametrize("name", ["nowhere", "", "../study", "os.path", "__init__"])
def test_unknown_space_is_refused(name):
    with pytest.raises(InvalidInput, match="expected one of both, class_weights, loss_weights"):
        load_space(name)


def test_file_without_space_is_refused(tmp_path, monkeypatch):
    from sweeps import spaces

    (tmp_path / "hollow.py").write_text("axes = {}\n")
    monkeypatch.setattr(spaces, "__path__", [*spaces.__path__, str(tmp_path)])
    monkeypatch.setattr(space_module, "SPACES", tmp_path)
    with pytest.raises(InvalidInput, match="defines no SPACE"):
        load_space("hollow")


@pytest.mark.parametrize("name", SPACES)
def test_every_corner_can_be_trained_with(name):
    space = load_space(name)
    for point in corners(space):
        weights = space.weights(point)
        classes = weights_of_classes(weights)
        assert np.isfinite(classes).all() and classes.min() > 0
        SegmentationLoss(weights.get("ce_weight", 0.35), weights.get("dice_weight", 0.65), "dice", 0.0, classes)
        assert 0 <= weights.get("adv_weight", 0) < 1  # at 1 nothing is learned from labels


@pytest.mark.parametrize("name", SPACES)
def test_space_sets_parameters_of_sweep_and_of_main(name):
    moved = load_space(name).moved()
    for entry_point in ("sweep", "main", "dryrun", "full"):
        assert set(moved) <= set(ENTRY_POINTS[entry_point]["parameters"])


def defaults(entry_point: str) -> dict[str, object]:
    return {name: field.get("default") for name, field in ENTRY_POINTS[entry_point]["parameters"].items()}


@pytest.mark.parametrize("name", SPACES)
def test_first_trials_are_how_main_trains_and_the_published_recipe(name):
    space = load_space(name)
    of_main, published = space.weights(space.first_trials[0]), space.weights(space.first_trials[1])
    assert published.items() <= defaults("full").items()
    if "class_weights" in of_main:  # `none` is no choice of the space
        settings = [of_main, {name: defaults("main")[name] for name in of_main}]
        assert np.array_equal(*map(weights_of_classes, settings))
        of_main |= {"class_weights": "none", "class_weight_exponent": 1}
    assert of_main.items() <= defaults("main").items()
    for point in space.first_trials:
        assert point.keys() == space.axes.keys()
        assert all(axis._contains(axis.to_internal_repr(point[axis_name])) for axis_name, axis in space.axes.items())


def test_loss_weights_leave_out_an_axis_that_changes_nothing():
    """(1 - a) (c CE + d Dice) + a Adv at (k c, k d, a k / (1 - a + a k)) is a multiple of itself: one gradient for Adam."""
    c, d, a, k = 0.35, 0.65, 0.1, 3.0
    scaled = a * k / (1 - a + a * k)
    terms = np.random.default_rng(0).uniform(0.1, 3, (20, 3))

    def total(c, d, a):
        return terms @ [(1 - a) * c, (1 - a) * d, a]

    ratios = total(k * c, k * d, scaled) / total(c, d, a)
    assert np.allclose(ratios, ratios[0])
    other = total(0.5, 0.5, a) / total(c, d, a)
    assert not np.allclose(other, other[0])


def test_adam_ignores_the_scale_of_the_loss():
    steps = []
    for scale in (1.0, 7.0):
        weight = torch.tensor([0.3, -0.2], requires_grad=True)
        optimizer = torch.optim.Adam([weight], lr=0.1)
        for _ in range(5):
            optimizer.zero_grad()
            (scale * ((weight - torch.tensor([1.0, 2.0])) ** 2).sum()).backward()
            optimizer.step()
        steps.append(weight.detach())
    assert torch.allclose(steps[0], steps[1], atol=1e-6)


def test_class_weights_leave_out_schemes_that_are_others_in_disguise():
    ones = (1.0, 1.0, 1.0, 1.0)
    assert np.allclose(class_weights(ClassWeightConfig("manual", 0.0, *ones), COUNTS), 1)
    inverse, median = (class_weights(ClassWeightConfig(s, 1.0, *ones), COUNTS) for s in ("inverse", "median_frequency"))
    assert np.allclose(inverse / inverse.sum(), median / median.sum())
    assert load_space("class_weights").axes["scheme"].choices == ("manual", "strong", "inverse", "effective_number")


@pytest.mark.parametrize("name", SAMPLERS)
def test_samplers_propose_within_the_space_and_the_same_again(name):
    space = load_space("both")

    def points():
        study = optuna.create_study(direction="maximize", sampler=SeededByTrial(name, space.seed))
        found = []
        study.optimize(lambda trial: found.append(suggest(trial, space.axes)) or found[-1]["palm"], n_trials=8)
        return found

    first = points()
    assert first == points()
    assert len({tuple(point.values()) for point in first}) == 8  # trials differ though all have one seed
    assert all(axis._contains(axis.to_internal_repr(point[key])) for point in first for key, axis in space.axes.items())


def test_a_continued_study_does_not_propose_the_first_points_again():
    axes = {"x": FloatDistribution(0, 1)}
    whole, parts = [], []
    study = optuna.create_study(sampler=SeededByTrial("random", 0))
    study.optimize(lambda trial: parts.append(suggest(trial, axes)["x"]) or 0.0, n_trials=2)
    study.sampler = SeededByTrial("random", 0)  # another call, another process
    study.optimize(lambda trial: parts.append(suggest(trial, axes)["x"]) or 0.0, n_trials=2)
    other = optuna.create_study(sampler=SeededByTrial("random", 0))
    other.optimize(lambda trial: whole.append(suggest(trial, axes)["x"]) or 0.0, n_trials=4)
    assert parts == whole and len(set(whole)) == 4
