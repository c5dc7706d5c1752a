"""The whole pipeline, small: what it leaves in MLflow, what a second run reuses, how it ends when it is stopped."""

import io
import json
import os
import re
import signal
import subprocess
import tarfile
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import mlflow
import numpy as np
import pytest
from mlflow import MlflowClient
from mlflow.entities import Run
from PIL import Image

from entrypoints.launch.commands import parsed
from entrypoints.launch.taken import with_taken
from hands.files.lmdb_files import environment as lmdb_environment
from hands.packed.manifest import read_manifest
from hands.raw.layout import RawDataset
from hands.tracking import ROOT
from tests.project import (
    EXPERIMENT,
    PIPELINE_STEPS,
    TINY_RECIPE,
    arguments,
    command,
    environment,
    invoke,
    living,
    new_store,
    track_to,
    wait_until,
)


@pytest.fixture(scope="module")
def finished(tmp_path_factory, store_template) -> SimpleNamespace:
    """A run of main, started as MLproject starts it, in a folder whose name has a space."""
    folder = tmp_path_factory.mktemp("pipeline")
    uri = new_store(folder / "store", store_template)
    recipe = TINY_RECIPE | {"work_dir": folder / "made by it", "checkpoint_dir": folder / "checkpoints"}
    done = subprocess.run(
        command("pipeline", *arguments("main", **recipe)),
        cwd=ROOT,
        env=environment(uri, MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL="1"),  # seconds; else short steps have none
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return SimpleNamespace(uri=uri, client=MlflowClient(uri), recipe=recipe, folder=folder, said=done)


def runs(client: MlflowClient) -> list[Run]:
    """All runs, oldest first."""
    experiment = client.get_experiment_by_name(EXPERIMENT).experiment_id
    return client.search_runs([experiment], order_by=["attributes.start_time ASC"])


def parents(client: MlflowClient) -> list[Run]:
    return [run for run in runs(client) if "mlflow.parentRunId" not in run.data.tags]


def children(client: MlflowClient, parent: Run) -> list[Run]:
    return [run for run in runs(client) if run.data.tags.get("mlflow.parentRunId") == parent.info.run_id]


def step(finished: SimpleNamespace, name: str) -> Run:
    return next(run for run in children(finished.client, parents(finished.client)[0]) if run.info.run_name == name)


def artifacts(client: MlflowClient, run: Run, folder: str | None = None) -> list[str]:
    return [item.path for item in client.list_artifacts(run.info.run_id, folder)]


def test_a_parent_with_its_steps_in_order(finished):
    parent = parents(finished.client)[0]
    steps = children(finished.client, parent)
    assert [run.info.run_name for run in steps] == PIPELINE_STEPS
    assert {run.info.status for run in [parent, *steps]} == {"FINISHED"}
    assert parent.info.run_name == "main light seed 0"
    assert parent.data.params["phase1_epochs"] == "2"


def shown_result(finished: SimpleNamespace, parent: Run) -> None:
    evaluated, last = step(finished, "evaluate test"), step(finished, "round 2 paired")
    metrics = parent.data.metrics
    assert metrics["test/miou"] == evaluated.data.metrics["test/miou"]
    assert metrics["test/absent_hand"] == evaluated.data.metrics["test/absent_hand"]
    assert metrics["val/miou"] == last.data.metrics["best/miou"]
    assert not any("/iou/" in name for name in metrics)
    trained = [run for run in map(partial(step, finished), PIPELINE_STEPS) if "train/images_per_s" in run.data.metrics]
    seconds = {run.info.run_name: (run.info.end_time - run.info.start_time) / 1000 for run in trained}
    assert metrics["seconds/round_1_paired"] == seconds["round 1 paired"]
    assert metrics["train/seconds"] == pytest.approx(sum(seconds.values()))
    assert metrics["images_per_s/phase1"] == step(finished, "phase1").data.metrics["train/images_per_s"]
    (used,), (made,) = parent.inputs.dataset_inputs, parent.outputs.model_outputs
    assert used.dataset.digest == prepared(finished).digest
    assert f"models:/{made.model_id}" == last.data.tags["hands.output.g2_model"] == parent.data.tags["hands.model"]
    score = f"test/miou {metrics['test/miou']:.4f}, val/miou {metrics['val/miou']:.4f}"
    assert (parent.data.tags["score"], parent.data.tags["hands.standing"]) == (score, "champion, the first on this dataset")
    page = parent.data.tags["mlflow.note.content"]
    registered = "[hands-g2 version 1](#/models/hands-g2/versions/1)"
    assert page.splitlines()[0] == f"**{score}** - {registered}: champion, the first on this dataset"
    for run in map(partial(step, finished), PIPELINE_STEPS):
        assert f"[{run.info.run_id}](#/experiments/{run.info.experiment_id}/runs/{run.info.run_id}?" in page


def test_the_parent_carries_the_result(finished):
    shown_result(finished, parents(finished.client)[0])


def test_the_last_screen(finished):
    lines = finished.said.stdout.splitlines()
    number = next(index for index, line in enumerate(lines) if line.startswith("== done: "))
    parent = parents(finished.client)[0]
    assert re.fullmatch(rf"== done: {parent.data.tags['score']}, in (\d+ min )?\d+ s", lines[number])
    model = parent.data.tags["hands.model"]
    assert lines[number + 1] == f"== model: models:/hands-g2/1 ({model}): champion, the first on this dataset"
    for name, run in (("data_dir", "synthesize"), ("packed_dir", "prepare"), ("predictions", "predict test")):
        assert f"{name} {step(finished, run).data.tags['hands.output.' + name]}" in lines[number + 2]
    table = f"#/experiments/{parent.info.experiment_id}/runs?workflowType=machine_learning&viewStateShareKey=scores"
    assert lines[-1] == f"== in MLflow: http://127.0.0.1:5000/{table}"
    assert [line for line in lines if line.startswith("== step 5 of 9, round 1 paired: val/miou 0.")]


def test_models_show_what_they_are_and_each_score_once(finished):
    experiment = finished.client.get_experiment_by_name(EXPERIMENT).experiment_id
    models = {model.name: model for model in finished.client.search_logged_models([experiment])}
    assert set(models) == {
        "g1", "discriminator", "g2-round1-init", "g2-round1-paired", "g2-round2-init", "g2-round2-paired",
    }  # fmt: skip
    for name, model in models.items():
        keys = [metric.key for metric in model.metrics or []]
        assert len(keys) == len(set(keys)) and not any("/iou/" in key for key in keys)
        network = "discriminator" if name == "discriminator" else "light"
        assert (model.params["size"], model.params["network"]) == ("64", network)
        if name.startswith("g2"):
            best = step(finished, name[3:].replace("round", "round ").replace("-", " ")).data.metrics["best/miou"]
            assert next(metric.value for metric in model.metrics if metric.key == "val/miou") == best
    assert not models["discriminator"].metrics
    assert [metric.key for metric in models["g1"].metrics][0] == "val/miou"
    assert models["g2-round2-paired"].params["method"] == "phase2_paired"
    assert prepared(finished).digest in models["g1"].params["data"]
    assert "test/miou" in {metric.key for metric in models["g2-round2-paired"].metrics}
    history = finished.client.get_metric_history(step(finished, "phase1").info.run_id, "val/miou")
    assert [point.step for point in history] == [1, 2]


def test_an_evaluation_names_its_model(finished):
    (used,) = finished.client.get_run(step(finished, "evaluate test").info.run_id).inputs.model_inputs
    assert f"models:/{used.model_id}" == step(finished, "round 2 paired").data.tags["hands.output.g2_model"]


def test_steps_carry_their_origin(finished):
    for run in runs(finished.client):
        assert len(run.data.tags["mlflow.source.git.commit"]) == 40
        assert "environment.json" in artifacts(finished.client, run)
    assert step(finished, "phase1").data.tags["mlflow.project.entryPoint"] == "phase1"
    assert step(finished, "phase1").data.params["batch_size"] == "8"


def test_environment_names_the_packages(finished):
    run_id = step(finished, "phase1").info.run_id
    packages = mlflow.artifacts.load_dict(f"{step(finished, 'phase1').info.artifact_uri}/environment.json")["packages"]
    assert run_id and {"torch", "mlflow", "numpy"} <= set(packages)


def test_system_metrics_are_the_steps(finished):
    """On the recipe's own run they would stand before its scores."""
    assert any(name.startswith("system/") for name in step(finished, "phase1").data.metrics)
    assert not any(name.startswith("system/") for name in parents(finished.client)[0].data.metrics)


def test_models_can_be_ranked_by_score(finished):
    experiment = finished.client.get_experiment_by_name(EXPERIMENT).experiment_id
    order = [{"field_name": "metrics.val/miou", "ascending": False}]
    found = finished.client.search_logged_models([experiment], order_by=order)
    scores = [metric.value for model in found[:1] for metric in model.metrics if metric.key == "val/miou"]
    assert scores and max(scores) >= step(finished, "round 1 paired").data.metrics["val/miou"]


def prepared(finished: SimpleNamespace):
    return read_manifest(Path(step(finished, "prepare").data.tags["hands.output.packed_dir"]))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("synthesize", {"preview_train.png", "preview_val.png"}),
        (
            "prepare",
            {"manifest.json", "class_weights.json", *(f"preview_{s}.png" for s in ("train", "val", "unpaired_images"))},
        ),
        ("predict test", {"predicted_test.png"}),
    ],
)
def test_artifacts_of_a_step(finished, name, expected):
    assert expected <= set(artifacts(finished.client, step(finished, name)))


def test_class_weights_are_whole(finished):
    weights = mlflow.artifacts.load_dict(f"{step(finished, 'prepare').info.artifact_uri}/class_weights.json")
    assert len(weights["data"]) == 17
    assert {"manual", "strong", "inverse", "median_frequency", "effective_number"} <= set(weights["columns"])


def test_logged_models_hold_no_pickle(finished):
    folders = [file.parent for file in (finished.folder / "store" / "artifacts" / "models").rglob("MLmodel")]
    assert len(folders) == 6  # g1 and d, then g2 of four steps
    for folder in folders:
        names = {path.name for path in folder.rglob("*")}
        assert {"network.json", "weights.safetensors"} <= names
        assert not [name for name in names if name.endswith((".pkl", ".pickle", ".pt", ".pth", ".bin"))]


def test_the_best_model_is_registered_as_champion(finished):
    version = finished.client.get_model_version_by_alias("hands-g2", "champion")
    assert version.tags["hands.dataset_digest"] == prepared(finished).digest
    assert (version.tags["hands.train_split"], version.tags["hands.val_split"]) == ("train", "val")
    assert float(version.tags["hands.val_miou"]) == float(step(finished, "round 2 paired").data.tags["hands.output.val_miou"])
    assert version.tags["hands.model"] == step(finished, "evaluate test").data.params["model"]


def test_submission_can_be_read(finished):
    folder = Path(step(finished, "predict test").data.tags["hands.output.predictions"])
    packed = Path(step(finished, "prepare").data.tags["hands.output.packed_dir"])
    raw = RawDataset(Path(step(finished, "synthesize").data.tags["hands.output.data_dir"]), "bgr")
    paths = [entry.path for entry in raw.entries("test")]
    with tarfile.open(folder / "test.lmdb.tar.gz") as archive:
        assert {"test.lmdb/data.mdb", "test.lmdb/im_path.pt"} <= set(archive.getnames())
    with lmdb_environment(folder / "test.lmdb").begin() as view:
        for path in paths:
            for hand in "lr":
                labels = np.asarray(Image.open(io.BytesIO(view.get(f"{path}__{hand}".encode()))))
                assert labels.shape == (64, 64, 3) and labels.max() <= 16
    assert packed.is_dir()


def test_nothing_alarming_is_said(finished):
    noise = [line for line in finished.said.stderr.splitlines() if "Warning" in line or "Traceback" in line]
    assert noise == []


def reused_steps(output: str) -> list[str]:
    return re.findall(r"== step \d of \d, (.*?): (?:.*, )?reused", output)


@pytest.fixture
def again(finished, monkeypatch):
    """Runs main once more in this process, with other values for some parameters; what it said."""

    def run(**overrides: object):
        track_to(finished.uri, monkeypatch)
        said = invoke("main", **finished.recipe | overrides)
        assert said.exit_code == 0, said.output
        return said.output

    return run


def test_the_same_command_reuses_every_step(finished, again):
    first = parents(finished.client)[0]
    output = again()
    second = parents(finished.client)[-1]
    assert second.info.run_id != first.info.run_id and children(finished.client, second) == []
    for run in children(finished.client, first):
        assert re.search(rf"== step \d of 9, {run.info.run_name}: (.*, )?reused from run {run.info.run_id}\n", output)
        assert second.data.tags[f"hands.reused.{run.info.run_name}"] == run.info.run_id
    shown_result(finished, second)
    assert len(finished.client.search_model_versions("name='hands-g2'")) == 1


def test_other_resources_and_the_same_data_with_new_times_reuse_every_step_too(finished, again):
    data_dir = Path(step(finished, "synthesize").data.tags["hands.output.data_dir"])
    for file in data_dir.rglob("*"):
        os.utime(file)
    work_dir = finished.folder / "elsewhere"
    resources = {"workers": 2, "data_residency": "disk", "eval_batch_size": 3, "checkpoint_minutes": 1, "work_dir": work_dir}
    output = again(data_dir=data_dir, **resources)
    assert reused_steps(output) == PIPELINE_STEPS[1:]  # the data are not made
    assert children(finished.client, parents(finished.client)[-1]) == [] and not work_dir.exists()


def test_a_packed_set_that_is_given_is_not_made(finished, again):
    output = again(packed_dir=step(finished, "prepare").data.tags["hands.output.packed_dir"])
    said = "== val: 6 of 6 pictures can be judged"
    assert output.count(said) == finished.said.stdout.count(said) == 1
    assert reused_steps(output) == PIPELINE_STEPS[2:]
    assert children(finished.client, parents(finished.client)[-1]) == []


def test_what_is_not_passed_is_what_main_has_left(finished, monkeypatch):
    track_to(finished.uri, monkeypatch)
    said = invoke("evaluate")
    packed_dir = step(finished, "prepare").data.tags["hands.output.packed_dir"]
    assert said.exit_code == 0 and f"== packed_dir: {packed_dir} (of models:/hands-g2@champion, " in said.output
    phase1 = step(finished, "phase1")
    found = with_taken("phase2_paired", parsed("phase2_paired", {}))
    assert (found.packed_dir, found.d_model) == (packed_dir, phase1.data.tags["hands.output.discriminator_model"])


def test_a_changed_parameter_reruns_what_depends_on_it(finished, again):
    again(round2_paired_epochs=2)
    rerun = children(finished.client, parents(finished.client)[-1])
    assert [run.info.run_name for run in rerun] == ["round 2 paired", "evaluate test", "predict test"]


def test_a_lost_output_is_made_again(finished, again):
    folder = Path(step(finished, "predict test").data.tags["hands.output.predictions"])
    folder.rename(folder.with_name("moved away"))
    again()
    assert [run.info.run_name for run in children(finished.client, parents(finished.client)[-1])] == ["predict test"]
    assert (folder / "test.lmdb.tar.gz").is_file()


def test_what_a_killed_step_had_made_is_taken_over(finished, again):
    names = ["synthesize", "prepare", "predict test"]
    made = {}
    for name in names:
        run = step(finished, name)
        (folder,) = (Path(value) for tag, value in run.data.tags.items() if tag.startswith("hands.output."))
        made[name] = (folder, folder.stat().st_ino)
        for other in runs(finished.client):
            if other.info.run_name == name:
                finished.client.set_terminated(other.info.run_id, "KILLED")  # as if between the folder and the run's end
    again()
    rerun = {run.info.run_name: run for run in children(finished.client, parents(finished.client)[-1])}
    assert list(rerun) == names and {run.info.status for run in rerun.values()} == {"FINISHED"}
    for name, (folder, inode) in made.items():
        assert str(folder) in rerun[name].data.tags.values() and folder.stat().st_ino == inode


def test_sigterm_ends_the_pipeline_and_its_step_as_killed(finished):
    recipe = command("pipeline", *arguments("main", **finished.recipe | {"phase1_epochs": 100_000}))
    known = {run.info.run_id for run in runs(finished.client)}
    process = subprocess.Popen(
        recipe, cwd=ROOT, env=environment(finished.uri), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        start_new_session=True,
    )  # fmt: skip

    def explain() -> str:
        process.kill()
        return process.communicate()[0]

    wait_until(
        lambda: any("train/loss_ce" in run.data.metrics for run in new_runs(finished.client, known)), process, explain
    )
    process.send_signal(signal.SIGTERM)
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in said and said.count("stopped: ") == 1
    assert said.splitlines()[-1].startswith("the same command goes on where it was: ")
    assert "training: 0 of " in said and "\r" not in said and "Automatic Mixed Precision" not in said
    assert {(run.info.run_name, run.info.status) for run in new_runs(finished.client, known)} == {
        ("main light seed 0", "KILLED"), ("phase1", "KILLED")
    }  # fmt: skip
    wait_until(lambda: not living(process.pid), seconds=10)


def new_runs(client: MlflowClient, known: set[str]) -> list[Run]:
    return [run for run in runs(client) if run.info.run_id not in known]


def test_json_artifacts_are_json(finished):
    manifest = mlflow.artifacts.load_text(f"{step(finished, 'prepare').info.artifact_uri}/manifest.json")
    assert json.loads(manifest)["digest"] == prepared(finished).digest
