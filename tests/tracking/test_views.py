"""What MLflow's table of runs shows of a run of main: looked at in a browser, in the first screen of a fresh profile."""

import json

import mlflow
import pytest

from docs.screenshots import take
from hands import tracking
from hands.parts import PART_SCORES
from hands.tracking.views import SCORES, VIEW_TAG
from tests.project import EXPERIMENT, new_store, track_to


def view_of(client: mlflow.MlflowClient) -> str:
    return client.get_experiment_by_name(EXPERIMENT).tags[VIEW_TAG + SCORES]


def test_a_run_gives_its_experiment_the_view_once(tmp_path, store_template, monkeypatch):
    uri = new_store(tmp_path, store_template)
    track_to(uri, monkeypatch)
    client = mlflow.MlflowClient(uri)
    with tracking.run("main", {}) as active:
        view = json.loads(view_of(client))
    assert view["name"] == SCORES and "metrics.`test/miou`" in json.loads(view["state"])["selectedColumns"]
    client.set_experiment_tag(active.info.experiment_id, VIEW_TAG + SCORES, "the user's own")
    with tracking.run("main", {}):
        pass
    assert view_of(client) == "the user's own"


@pytest.mark.skipif(take.CHROMIUM is None, reason="no Chromium here: install Debian's package chromium")
def test_the_score_is_in_the_first_screen(tmp_path, store_template, monkeypatch):
    uri = new_store(tmp_path, store_template)
    track_to(uri, monkeypatch)
    with tracking.run("main", {"seed": 0}):
        mlflow.log_metrics({f"test/{name}": 0.1 for name in PART_SCORES} | {"test/miou": 0.4321})
    places = take.pages(take.newest_main(mlflow.MlflowClient(uri)))
    place, text = places["runs"]
    with take.server(uri) as address, take.Browser(address) as browser:
        browser.open(f"{address}/{place}", text)
        assert "0.4321" in browser.seen()
        browser.open(f"{address}/{place.replace('&viewStateShareKey=scores', '')}", text)
        seen = browser.seen()
        assert "main" in seen and "0.4321" not in seen  # the table as MLflow has it: the check can fail
        browser.take(tmp_path / "runs.png")
    assert (tmp_path / "runs.png").read_bytes().startswith(b"\x89PNG")
