"""compare: models scored on the same pictures, seeds in groups, differences with their intervals, one page of it all."""

import json
import re
from pathlib import Path

import mlflow
import pytest
import torch

from hands.evaluation.differences import seeds_difference
from hands.networks.hands_network import HandsNetwork, network_spec
from hands.tracking import ENTRY_POINT_TAG, log_output
from tests.packed.blobs import SIZE
from tests.project import invoke, log_toy, newest_run


def toy(seed: int, size: int = SIZE) -> str:
    """Logs a small network with random weights in the active run; returns its URI."""
    torch.manual_seed(seed)
    return log_toy(HandsNetwork(network_spec("light"), None).eval(), "g2", size)


@pytest.fixture(scope="module")
def compared(session_store, tiny_packed, tmp_path_factory):
    """Finished runs that stand for main in an experiment of their own: seeds 0 and 1 of one configuration, and another one."""
    from tests.project import track_to

    with pytest.MonkeyPatch.context() as patch:
        track_to(session_store, patch)
        patch.setenv("MLFLOW_EXPERIMENT_NAME", "compared")
        runs = []
        for seed, lr in ((0, 0.1), (1, 0.1), (0, 0.2)):
            with mlflow.start_run(run_name="main", tags={ENTRY_POINT_TAG: "main"}) as run:
                mlflow.log_params({"seed": seed, "lr": lr, "work_dir": f"elsewhere {seed}"})
                mlflow.log_metrics({"val/miou": 0.25}, step=1)
                log_output("g2_model", toy(len(runs)))
            runs.append(run.info.run_id)
        return runs


def compare(models: str, packed, folder: Path, **more):
    values = {"packed_dir": packed.folder, "split": "val", "out_dir": folder, "accelerator": "cpu", "precision": "32-true"}
    return invoke("compare", models=models, **values | more)


def test_two_models_on_one_page(store, logged, compared, tiny_packed, tmp_path: Path):
    done = compare(f"{logged.g2_uri}, {compared[1]}", tiny_packed, tmp_path / "out")
    assert done.exit_code == 0, done.output
    run = newest_run(store)
    page = (tmp_path / "out" / "comparison.html").read_text()
    assert Path(store.download_artifacts(run.info.run_id, "comparison.html")).read_text() == page
    assert not re.search(r"(src|href)=.?(https?:|//)", page) and page.count("data:image/png;base64,") == 4
    (said,) = re.findall(r"[AB] \(.*points of miou.*explains\.", done.output)
    assert said in page
    assert "Trained on another packed set" in page  # toys have none
    evaluated = invoke("evaluate", packed_dir=tiny_packed.folder, model=logged.g2_uri, split="val", accelerator="cpu",
                       precision="32-true")  # fmt: skip
    assert evaluated.exit_code == 0, evaluated.output
    assert run.data.metrics["A/val/miou"] == pytest.approx(newest_run(store).data.metrics["val/miou"])


def test_seeds_of_one_configuration_are_one_group(store, compared, tiny_packed, tmp_path: Path):
    done = compare("experiment:compared", tiny_packed, tmp_path / "out")
    assert done.exit_code == 0, done.output
    page = (tmp_path / "out" / "comparison.html").read_text()
    assert f"A (2 seeds like main {compared[0][:6]})" in page and f"B (main {compared[2][:6]})" in page
    assert "<td>lr</td><td>0.1</td><td>0.2</td>" in page
    run = newest_run(store)
    table = json.loads(Path(store.download_artifacts(run.info.run_id, "pairs.json")).read_text())
    assert len(table["data"]) == 1


def test_groups_of_seeds_are_judged_over_seeds(store, compared, tiny_packed, tmp_path: Path):
    with mlflow.start_run(run_name="main", tags={ENTRY_POINT_TAG: "main"}) as run:
        mlflow.log_params({"seed": 7, "lr": 0.2, "work_dir": "elsewhere"})
        log_output("g2_model", toy(9))
    done = compare(",".join([*compared, run.info.run_id]), tiny_packed, tmp_path / "out")
    assert done.exit_code == 0, done.output
    scores = []
    for member in (*compared, run.info.run_id):
        uri = store.get_run(member).data.tags["hands.output.g2_model"]
        invoke("evaluate", packed_dir=tiny_packed.folder, model=uri, split="val", accelerator="cpu", precision="32-true")
        scores.append(newest_run(store).data.metrics["val/miou"])
    expected = seeds_difference(scores[:2], scores[2:])
    assert f"over {expected.units}" in done.output
    low, high = (100 * abs(end) for end in (expected.low, expected.high))
    assert f"{low:.1f}" in done.output and f"{high:.1f}" in done.output


@pytest.mark.parametrize(("models", "said"), [
    ("models:/nothing@here,models:/m-1", "the model 'models:/nothing@here' cannot be had"),
    ("0" * 32 + "," + "1" * 32, "there is no run " + "0" * 32),
    ("experiment:nowhere", "there is no experiment 'nowhere'"),
    ("", "which names 0 models"),
])  # fmt: skip
def test_refuses(models: str, said: str, store, tiny_packed, tmp_path: Path):
    done = compare(models, tiny_packed, tmp_path / "out")
    assert done.exit_code == 1 and said in done.output, done.output
    assert newest_run(store).info.status == "FAILED" and not (tmp_path / "out").exists()


def test_refuses_pictures_of_another_size(store, logged, tiny_packed, tmp_path: Path):
    with mlflow.start_run():
        large = toy(0, size=64)
    done = compare(f"{logged.g2_uri},{large}", tiny_packed, tmp_path / "out")
    assert done.exit_code == 1 and "was trained on pictures of side 64, the packed set has 32" in done.output
