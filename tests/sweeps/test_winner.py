"""best_params.json, and params_from, which trains with it."""

import json
from types import SimpleNamespace

import mlflow
import pytest

from entrypoints import pipeline
from entrypoints.launch.parameters import SWEEP
from entrypoints.launch.winner import with_winner
from hands.errors import InvalidInput
from sweeps.setting import BY_CONTENT, DEVICES
from sweeps.trial import SWEEP_ONLY
from sweeps.winner import LEFT, NETWORK, TAKEN, read_winner
from tests.project import ENTRY_POINTS, arguments, invoke, newest_run

NEVER = object()


def defaults(entry_point: str) -> dict[str, object]:
    return {name: field.get("default") for name, field in ENTRY_POINTS[entry_point]["parameters"].items()}


def content(**changes: object) -> dict:
    """What a sweep writes that ran with its defaults on pictures of main's size; NEVER leaves a parameter out."""
    params = {name: defaults("sweep")[name] for name in (*TAKEN, NETWORK, *LEFT)} | {"update_discriminator": False}
    params = {name: value for name, value in (params | changes).items() if value is not NEVER}
    return {"format": 2, "study": "s", "trial": 3, "value": 0.5, "size": 64, "params": params}


def written(folder, **changes: object) -> str:
    path = folder / "best_params.json"
    path.write_text(json.dumps(content(**changes)))
    return str(path)


def given(**overrides: object) -> SimpleNamespace:
    """Parameters of main as the entry point gets them."""
    with pipeline.main.make_context("main", arguments("main", **overrides)) as context:
        return SimpleNamespace(**context.params)


def test_every_parameter_of_a_trial_is_taken_or_left_on_purpose():
    """One that is new must be given its place here: a score that follows from it cannot be had without it."""
    of_trials = set(SWEEP) - {*SWEEP_ONLY, *BY_CONTENT, *DEVICES}
    assert of_trials == {*TAKEN, NETWORK, *LEFT} and len(of_trials) == len(TAKEN) + 1 + len(LEFT)
    assert set(TAKEN) <= set(defaults("main"))


def test_sweep_trains_by_default_as_main_does():
    names = (*TAKEN, NETWORK, "train_split", "val_split", "unpaired_split", "seed", *DEVICES)
    assert {name: defaults("sweep")[name] for name in names} == {name: defaults("main")[name] for name in names}
    assert (defaults("sweep")["class_weights"], defaults("sweep")["adv_weight"]) == ("none", 0.01)


def test_winner_comes_from_a_file_or_from_a_sweeps_run(tmp_path, store):
    found = content(ce_weight=0.2)
    with mlflow.start_run() as run:
        mlflow.log_dict(found, "best_params.json")
    for source in (written(tmp_path, ce_weight=0.2), run.info.run_id):
        winner = read_winner(source)
        assert (winner.params, winner.size, winner.content) == (found["params"], 64, found)


def test_main_trains_by_all_that_gave_the_score_for_its_own_time_and_on_its_own_data(tmp_path):
    changed = {
        "class_weights": "inverse", "palm_factor": 2, "ce_weight": 0.2, "dice_weight": 0.8, "lr": 0.001, "paired_lr": 0.002,
        "lr_schedule": "constant", "ema_decay": 0, "batch_size": 8, "drop_fraction": 0.25, "adv_input": "softmax",
        "update_discriminator": True, "d_lr": 1e-4, "unpaired": "images", "encoder_weights": "none", "loss": "jaccard",
        "dice_alpha": 0.5, "augmentation": "strong", "hand_paste": 0.5,
    }  # fmt: skip
    left = {"seed": 7, "eval_every": 1, "paired_epochs": 99, "train_split": "minitrain", "val_split": "minival"}
    path = written(tmp_path, **changed, **left)
    params, winner = with_winner(given(params_from=path))
    assert vars(params).items() >= changed.items()
    assert vars(params) == vars(given(params_from=path)) | changed
    assert winner.content == content(**changed, **left)


def test_without_params_from_nothing_changes():
    params = given(lr=0.1)
    assert with_winner(params) == (params, None)


@pytest.mark.parametrize(
    "changes, overrides, reason",
    [
        ({"g2": "uplusregnet"}, {}, "trained with g2=uplusregnet, and main is asked for g2=light. .* sweep with g2=light"),
        ({}, {"size": 128}, "trained with size=64, and main is asked for size=128"),
        ({"lr": 0.001}, {"lr": 0.002}, r"other values are passed: lr=0.002 \(the winner has 0.001\)"),
        ({"ce_weight": -1, "lr": "fast"}, {}, "sets lr to 'fast': 'fast' is not a valid float"),
        ({"adv_input": "eyes"}, {}, "sets adv_input to 'eyes'"),
    ],
)
def test_another_network_or_other_values_are_refused(tmp_path, changes, overrides, reason):
    with pytest.raises(InvalidInput, match="params_from.*" + reason):
        with_winner(given(params_from=written(tmp_path, **changes), **overrides))


def test_value_that_is_passed_as_the_winner_has_it_is_no_contradiction(tmp_path):
    assert with_winner(given(params_from=written(tmp_path, lr=0.001), lr=0.001))[0].lr == 0.001


@pytest.mark.parametrize(
    "text, reason",
    [
        ("{", "cannot be read"),
        ("[" * 100_000, "cannot be read"),
        ("[]", "has format None; expected a best_params.json of format 2"),
        ('{"format": 1, "params": {"ce_weight": 0.2}}', "has format 1; .* searched weights alone: run the sweep again"),
        ('{"format": 2, "params": {}}', "lacks params or size"),
        (json.dumps(content(lr=NEVER, loss=NEVER)), "has no usable value, or should have none, for loss, lr; expected"),
        (json.dumps(content(ce_weight=float("nan"))), "for ce_weight;"),
        (json.dumps(content(class_weights=["manual"])), "for class_weights;"),
        (json.dumps(content(new_loss=1)), "for new_loss;"),
    ],
    ids=["broken", "deep", "list", "earlier", "empty", "incomplete", "nan", "nested", "unknown"],
)
def test_file_that_holds_no_winner_is_refused(tmp_path, text, reason):
    path = tmp_path / "best_params.json"
    path.write_text(text)
    with pytest.raises(InvalidInput, match="params_from: .*" + reason):
        read_winner(str(path))


def test_run_that_is_no_sweep_is_refused(store):
    with mlflow.start_run() as run:
        pass
    with pytest.raises(InvalidInput, match="has no best_params.json"):
        read_winner(run.info.run_id)
    with pytest.raises(InvalidInput, match="has no best_params.json"):
        read_winner("0" * 32)
    with pytest.raises(InvalidInput, match="neither a file nor a run's id"):
        read_winner("best")


def test_run_of_main_shows_what_was_taken_and_from_where(tmp_path, store, monkeypatch):
    trained = []
    monkeypatch.setattr(pipeline, "start_server", lambda: None)
    monkeypatch.setattr(pipeline, "call", lambda function, params: None)
    monkeypatch.setattr(pipeline, "run_recipe", lambda params, steps: trained.append(params))
    monkeypatch.setattr(pipeline, "tell", lambda result, seconds: None)
    result = invoke("main", params_from=written(tmp_path, palm_factor=2.5))
    assert result.exit_code == 0, result.output
    assert trained[0].palm_factor == 2.5
    run = newest_run(store)
    shown = {name.removeprefix("winner."): value for name, value in run.data.params.items() if name.startswith("winner.")}
    assert set(shown) == set(TAKEN) and shown["palm_factor"] == "2.5" and shown["class_weights"] == "none"
    assert mlflow.artifacts.load_dict(f"runs:/{run.info.run_id}/best_params.json") == content(palm_factor=2.5)
