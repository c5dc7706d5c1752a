"""Sources and licences on runs, models and registered versions."""

import json
from pathlib import Path

import mlflow
import pytest
import yaml
from mlflow import MlflowClient

from hands.packed.packed_set import PackedSet
from hands.raw.provenance import INTERHAND, MANO, SYNTHETIC, UNKNOWN, Source
from hands.tracking.models import fetch_network, model_sources
from hands.tracking.provenance import LICENCE_TAG, SOURCES_TAG, source_tags, tagged_sources
from hands.tracking.registry import Score, register
from hands.tracking.steps import outputs
from tests.packed.blobs import COUNTS, SIZE, write_blobs
from tests.project import invoke, newest_run

OWN = Source("My hands", "all rights reserved", "")


def packed_from(sources: tuple[Source, ...], folder: Path) -> PackedSet:
    folder.mkdir()
    write_blobs(folder, SIZE, COUNTS, seed=0)
    manifest = folder / "manifest.json"
    content = json.loads(manifest.read_text()) | {"sources": [vars(source) for source in sources]}
    manifest.write_text(json.dumps(content))
    return PackedSet.open(folder)


@pytest.fixture
def trained(store, tmp_path: Path):
    """Trains a step for an epoch; its run."""

    def train(entry_point: str, packed: PackedSet, **models: str):
        networks = {"phase1": {"g1": "light"}}.get(entry_point, {"g2": "light"})
        values = {"epochs": 1, "batch_size": 6, "encoder_weights": "none", "unpaired": "none", "precision": "32-true"}
        if entry_point == "phase2_init":
            del values["unpaired"]
        values |= {"packed_dir": packed.folder, "checkpoint_dir": tmp_path / "checkpoints"}
        result = invoke(entry_point, **networks, **values, **models)
        assert result.exit_code == 0, result.output
        return newest_run(store)

    return train


def said_by(store: MlflowClient, run, name: str) -> dict[str, tuple[Source, ...]]:
    """What the run, its model, and the model's own files say."""
    uri = outputs(run.info.run_id)[f"{name}_model"]
    model = store.get_logged_model(uri.removeprefix("models:/"))
    files = yaml.safe_load((fetch_network(uri).parents[1] / "MLmodel").read_text())["metadata"]
    for tags in (run.data.tags, model.tags, files):
        assert tags[LICENCE_TAG] == "; ".join(dict.fromkeys(source.licence for source in tagged_sources(tags)))
    return {"run": tagged_sources(run.data.tags), "model": tagged_sources(model.tags), "files": tagged_sources(files)}


def test_models_say_what_they_were_trained_on_and_what_their_models_were(store, trained, tmp_path: Path):
    real, made = packed_from((INTERHAND, MANO), tmp_path / "real"), packed_from((SYNTHETIC,), tmp_path / "made")
    own = packed_from((OWN,), tmp_path / "own")
    phase1 = trained("phase1", real)
    assert said_by(store, phase1, "g1") == dict.fromkeys(("run", "model", "files"), (INTERHAND, MANO))
    assert said_by(store, phase1, "discriminator")["files"] == (INTERHAND, MANO)

    # G1's labels of other pictures taught this one
    init = trained("phase2_init", made, g1_model=outputs(phase1.info.run_id)["g1_model"])
    assert said_by(store, init, "g2") == dict.fromkeys(("run", "model", "files"), (SYNTHETIC, INTERHAND, MANO))

    # from there on, with a discriminator of the first data set
    models = {"g2_model": outputs(init.info.run_id)["g2_model"], "d_model": outputs(phase1.info.run_id)["discriminator_model"]}
    paired = trained("phase2_paired", own, **models)
    everything = (OWN, SYNTHETIC, INTERHAND, MANO)
    assert said_by(store, paired, "g2") == dict.fromkeys(("run", "model", "files"), everything)
    assert paired.data.tags[LICENCE_TAG] == f"all rights reserved; MIT; CC BY-NC 4.0; {MANO.licence}"

    uri = outputs(paired.info.run_id)["g2_model"]
    copy = mlflow.artifacts.download_artifacts(uri, dst_path=str(tmp_path / "copy"))
    assert model_sources(uri) == model_sources(copy) == everything
    version = register(uri, "sourced", Score(0.5, "d" * 32, "train", "val")).version
    assert tagged_sources(store.get_model_version("sourced", str(version)).tags) == everything
    store.delete_registered_model("sourced")


def test_models_that_say_nothing_are_unknown(logged, store):
    assert model_sources(logged.g2_uri) == (UNKNOWN,)
    assert model_sources(str(fetch_network(logged.g2_uri))) == (UNKNOWN,)


@pytest.mark.parametrize("tags", [{}, {SOURCES_TAG: "{"}, {SOURCES_TAG: "[]"}, {SOURCES_TAG: "[1]"}])
def test_tags_that_say_nothing_are_unknown(tags: dict[str, str]):
    assert tagged_sources(tags) == (UNKNOWN,)


def test_tags_are_read_as_they_were_written():
    assert tagged_sources(source_tags((OWN, INTERHAND))) == (OWN, INTERHAND)


def test_evaluation_says_what_it_was_done_on(store, logged, tmp_path: Path):
    packed = packed_from((OWN,), tmp_path / "own")
    assert invoke("evaluate", packed_dir=packed.folder, model=logged.g2_uri, split="val").exit_code == 0
    assert newest_run(store).data.tags[LICENCE_TAG] == "all rights reserved"


def test_a_synthetic_set_is_the_project_s_own_and_so_is_its_packed_set(store, tmp_path: Path):
    raw, packed = tmp_path / "raw", tmp_path / "packed"
    counts = {"n_paired": 2, "n_unpaired_images": 0, "n_unpaired_masks": 0, "n_val": 1, "n_test": 0}
    small = {"width": 48, "height": 48, "paired_subjects": 1, "unpaired_subjects": 1, "eval_subjects": 1, "workers": 1}
    assert invoke("synthesize", out_dir=raw, **counts, **small).exit_code == 0
    assert tagged_sources(newest_run(store).data.tags) == (SYNTHETIC,)
    result = invoke("prepare", data_dir=raw, out_dir=packed, size=32, workers=1)
    assert "synthetic hands of this project: MIT" in result.output.splitlines()
    assert tagged_sources(newest_run(store).data.tags) == PackedSet.open(packed).manifest.sources == (SYNTHETIC,)
