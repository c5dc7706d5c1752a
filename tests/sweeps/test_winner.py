"""best_params.json, and params_from, which trains with it."""

import json

import mlflow
import pytest

from entrypoints.pipeline import winner
from hands.errors import InvalidInput
from sweeps.winner import read_winner, winner_content

WEIGHTS = {"ce_weight": 0.2, "dice_weight": 0.8, "class_weights": "inverse", "palm_factor": 2}


def content(**params: object) -> dict:
    return winner_content("s", 3, "0" * 32, "val/miou", 0.5, 0, params)


def test_weights_come_from_a_file_or_from_a_sweeps_run(tmp_path, store):
    path = tmp_path / "best_params.json"
    path.write_text(json.dumps(content(**WEIGHTS)))
    assert read_winner(str(path)) == WEIGHTS
    with mlflow.start_run() as run:
        mlflow.log_dict(content(**WEIGHTS), "best_params.json")
    assert read_winner(run.info.run_id) == WEIGHTS
    assert winner(run.info.run_id) == WEIGHTS
    assert winner("") == {}


@pytest.mark.parametrize(
    "text, reason",
    [
        ("{", "cannot be read"),
        ("[]", "is no best_params.json"),
        ("{}", "is no best_params.json"),
        (json.dumps(content()), "sets nothing"),
        (json.dumps(content(lr=0.1)), "sets lr=0.1"),
        (json.dumps(content(ce_weight=-1)), "sets ce_weight=-1"),
        (json.dumps(content(ce_weight=float("nan"))), "sets ce_weight=nan"),
        (json.dumps(content(ce_weight="0.5")), "sets ce_weight='0.5'"),
        (json.dumps(content(ce_weight=True)), "sets ce_weight=True"),
        (json.dumps(content(class_weights="no such")), "class_weights as one of manual"),
        (json.dumps(content(class_weights=["manual"])), "class_weights as one of manual"),
        ("[" * 100_000, "cannot be read"),
    ],
)
def test_file_that_holds_no_winner_is_refused(tmp_path, text, reason):
    path = tmp_path / "best_params.json"
    path.write_text(text)
    with pytest.raises(InvalidInput, match="params_from: .*" + reason.replace("[", r"\[")):
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
