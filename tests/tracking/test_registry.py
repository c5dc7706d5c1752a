"""Which registered version is the champion: the best of those that it can be compared with, by what all of them say."""

import math
from types import SimpleNamespace

import mlflow
import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from entrypoints.pipeline import described
from hands.errors import InvalidInput
from hands.networks.discriminator import Discriminator
from hands.tracking.registry import MAX_NAME, Score, champions, check_name, register
from tests.packed.blobs import SIZE
from tests.project import log_toy

NAME = "toys"


def a_score(miou: float, digest: str = "a", train: str = "train", val: str = "val") -> Score:
    return Score(miou, digest, train, val)


@pytest.fixture(scope="module")
def models(session_store: str) -> list[str]:
    """URIs of four logged models."""
    from tests.project import track_to

    with pytest.MonkeyPatch.context() as patch:
        track_to(session_store, patch)
        with mlflow.start_run():
            return [log_toy(Discriminator(), f"d{number}", SIZE) for number in range(4)]


@pytest.fixture
def registry(store: MlflowClient, models: list[str]):
    """register(score, which model) and alias(): the version that has it now, None where none has."""

    def alias(name: str = "champion") -> int | None:
        try:
            return int(store.get_model_version_by_alias(NAME, name).version)
        except MlflowException:
            return None

    unused = iter(models)
    yield SimpleNamespace(register=lambda score, uri=None: register(uri or next(unused), NAME, score), alias=alias)
    store.delete_registered_model(NAME)


def test_the_champion_moves_only_to_a_better_model(registry):
    standings = [registry.register(a_score(miou)) for miou in (0.5, 0.4, 0.5, 0.6)]
    assert [(s.version, s.champion, s.champion_miou) for s in standings] == [(1, 1, 0.5), (2, 1, 0.5), (3, 1, 0.5), (4, 4, 0.6)]
    assert registry.alias() == 4
    assert [version.version for version in champions()] == [4]


def test_a_version_whose_alias_was_never_given_becomes_champion(registry, monkeypatch):
    registry.register(a_score(0.5))

    def killed(*arguments):
        raise SystemExit

    with monkeypatch.context() as patch, pytest.raises(SystemExit):
        patch.setattr(MlflowClient, "set_registered_model_alias", killed)
        registry.register(a_score(0.6))
    assert registry.alias() == 1
    third = registry.register(a_score(0.55))
    assert (third.champion, registry.alias()) == (2, 2)


def test_the_same_command_gives_the_alias_that_was_not_given(registry, models, monkeypatch):
    with monkeypatch.context() as patch, pytest.raises(SystemExit):
        patch.setattr(MlflowClient, "set_registered_model_alias", lambda *arguments: (_ for _ in ()).throw(SystemExit))
        registry.register(a_score(0.6), models[0])
    again = registry.register(a_score(0.6), models[0])
    assert (again.version, again.champion, registry.alias()) == (1, 1, 1)


def test_what_nothing_could_be_judged_for_is_no_champion(registry):
    nothing = registry.register(a_score(math.nan))
    assert (nothing.version, nothing.champion, registry.alias()) == (1, None, None)
    something = registry.register(a_score(0.1))
    assert (something.champion, registry.alias()) == (2, 2)
    assert registry.register(a_score(math.nan)).champion is None
    assert registry.register(a_score(0.05)).champion == 2


def test_a_champion_that_is_nan_does_not_stay(registry, store, models):
    """As earlier code made it."""
    tags = {"hands.dataset_digest": "a", "hands.train_split": "train", "hands.val_split": "val", "hands.val_miou": "nan"}
    mlflow.register_model(models[0], NAME, tags=tags)
    store.set_registered_model_alias(NAME, "champion", "1")
    assert registry.register(a_score(0.2), models[1]).champion == 2
    assert registry.alias() == 2


def test_scores_on_another_dataset_are_no_rivals(registry, models):
    best_on_a = registry.register(a_score(0.9, "a"), models[0])
    on_b = registry.register(a_score(0.1, "b"), models[1])
    assert (on_b.champion, registry.alias()) == (2, 2)
    assert registry.register(a_score(0.05, "b"), models[2]).champion == 2
    again = registry.register(a_score(0.9, "a"), models[0])  # it was never beaten
    assert (again.version, again.champion, best_on_a.champion) == (1, 1, 1)
    assert registry.alias() == 1
    assert registry.register(a_score(0.8, "a"), models[3]).champion == 1


@pytest.mark.parametrize(("train", "val", "alias"), [
    ("train", "minival", "champion-train-minival"),
    ("minitrain", "val", "champion-minitrain-val"),
    ("minitrain", "minival", "champion-minitrain-minival"),
])  # fmt: skip
def test_a_sample_of_the_pictures_does_not_compete_with_all_of_them(registry, train, val, alias):
    registry.register(a_score(0.5))
    quick = registry.register(a_score(0.7, train=train, val=val))
    assert (quick.alias, quick.champion) == (alias, 2)
    assert (registry.alias(), registry.alias(alias)) == (1, 2)
    assert registry.register(a_score(0.4)).champion == 1
    assert sorted(int(version.version) for version in champions()) == [1, 2]


def test_what_was_trained_on_val_is_no_champion(registry):
    assert registry.register(a_score(0.99, train="trainval")).champion is None
    assert (registry.alias(), champions()) == (None, [])


def test_a_model_is_registered_once(registry, models, store):
    registry.register(a_score(0.5), models[0])
    assert registry.register(a_score(0.5), models[0]).version == 1
    assert len(store.search_model_versions(f"name='{NAME}'")) == 1


@pytest.mark.parametrize(("scores", "said"), [
    ([a_score(0.5)], "champion, the first on this dataset"),
    ([a_score(0.5), a_score(0.4)], "val/miou 0.4000; version 1 stays champion with 0.5000 on the same pictures"),
    ([a_score(0.9), a_score(0.4, "b")], "champion, the first on this dataset"),
    (
        [a_score(0.3), a_score(0.4), a_score(0.9, "b"), a_score(0.4)],
        "val/miou 0.4000; version 2 stays champion with 0.4000 on the same pictures",
    ),
    ([a_score(0.1), a_score(0.3), a_score(0.4)], "champion, before version 2 with val/miou 0.3000 on the same pictures"),
    ([a_score(0.5, val="minival")], "champion-train-minival, the first on this dataset"),
    ([a_score(math.nan)], "its val/miou is nan; no champion"),
    (
        [a_score(0.9, train="trainval")],
        "trained on val too (train_split=trainval), so that its score ranks nothing; no champion",
    ),
])  # fmt: skip
def test_what_is_said_of_it(registry, scores, said):
    for score in scores:
        standing = registry.register(score)
    assert described(standing, scores[-1]) == said


@pytest.mark.parametrize("name", ["", " ", "a/b", "a:b", ".", "..", "x" * (MAX_NAME + 1), "a'b\"c"])
def test_names_that_the_registry_refuses(store, name):
    with pytest.raises(InvalidInput, match="registered_model"):
        check_name(name)


@pytest.mark.parametrize("name", ["hands-g2", "my hands", "Bob's", "x" * MAX_NAME])
def test_names_that_it_takes(store, name):
    check_name(name)
    assert store.search_registered_models(f'name = "{name}"') == []  # nothing is made yet
