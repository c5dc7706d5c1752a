"""Steps that were run by themselves are found by a pipeline, as long as what they made and what they read is the same."""

import os
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import NoReturn

import pytest
from mlflow import MlflowClient

from entrypoints import pipeline
from entrypoints.launch import steps
from entrypoints.launch.checks import Resolved, check_recipe
from hands.errors import InvalidInput
from hands.networks.hands_network import HandsNetwork
from hands.steps import start
from hands.steps.session import checkpoint_fingerprint
from hands.tracking.code import code_digest
from hands.tracking.registry import Score, register
from hands.tracking.steps import find_finished
from hands.training.device_config import DeviceConfig
from hands.training.devices import create_fabric, resolved_devices
from tests.packed.blobs import COUNTS, SIZE, write_blobs
from tests.project import arguments, invoke, newest_run
from tests.raw.independent_layout import small_set


def pipeline_params(**overrides: object) -> SimpleNamespace:
    """main's parameters, as its command line reads them."""
    with pipeline.main.make_context("main", arguments("main", **overrides)) as context:
        return SimpleNamespace(**context.params)


@pytest.fixture
def sought(monkeypatch: pytest.MonkeyPatch):
    """sought(main's parameters, entry point, what the pipeline gives the step): the finished run that it would reuse."""

    def seek(overrides: dict, entry_point: str, encoder_weights: str = "none", **given: object) -> str | None:
        params = pipeline_params(**overrides)
        config = DeviceConfig("auto", "auto", 1, "auto", params.precision, "auto", "disk")
        devices = resolved_devices(config, create_fabric(config))
        resolved = Resolved(devices, dict.fromkeys((params.g1, params.g2), encoder_weights))
        keys = []

        def run_step(entry_point: str, name: str, place: str, values: dict, key: str) -> NoReturn:
            keys.append(key)
            raise StopIteration

        monkeypatch.setattr(steps, "run_step", run_step)
        with pytest.raises(StopIteration):
            steps.Steps(params, resolved, 1).run(entry_point, entry_point, **given)
        found = find_finished(keys[0])
        return found and found.info.run_id

    return seek


RAW_COUNTS = {"train": 4, "unpaired_images": 2, "unpaired_masks": 2, "val": 2, "test": 1}


@pytest.fixture
def prepared(store: MlflowClient, tmp_path: Path) -> SimpleNamespace:
    """A data set that `prepare` was run on."""
    raw = small_set(RAW_COUNTS).write(tmp_path / "raw")
    said = invoke("prepare", data_dir=raw, out_dir=tmp_path / "packed", size=32, workers=1)
    assert said.exit_code == 0, said.output
    return SimpleNamespace(raw=raw, packed=tmp_path / "packed", run_id=newest_run(store).info.run_id)


def test_prepare_by_itself_is_not_done_again_by_a_pipeline(prepared, sought, tmp_path):
    assert sought({"size": 32}, "prepare", data_dir=prepared.raw) == prepared.run_id
    assert sought({"size": 32, "workers": 3, "work_dir": tmp_path}, "prepare", data_dir=prepared.raw) == prepared.run_id
    for file in prepared.raw.rglob("*"):
        os.utime(file, (1, 1))
    moved = prepared.raw.rename(tmp_path / "moved")
    assert sought({"size": 32}, "prepare", data_dir=moved) == prepared.run_id
    assert sought({"size": 64}, "prepare", data_dir=moved) is None
    assert sought({"size": 32, "channel_order": "rgb"}, "prepare", data_dir=moved) is None
    (moved / "unpaired_segm_ids.pt").unlink()
    assert sought({"size": 32}, "prepare", data_dir=moved) is None


def test_a_packed_set_that_is_another_by_now_is_not_taken_for_it(prepared, sought):
    shutil.rmtree(prepared.packed)
    assert sought({"size": 32}, "prepare", data_dir=prepared.raw) != prepared.run_id
    prepared.packed.mkdir()
    write_blobs(prepared.packed, SIZE, COUNTS, seed=1)
    assert sought({"size": 32}, "prepare", data_dir=prepared.raw) != prepared.run_id  # but of another test's, at most


def test_other_code_makes_it_again(prepared, sought, monkeypatch):
    monkeypatch.setattr(steps, "code_digest", lambda entry_point: "other")
    assert sought({"size": 32}, "prepare", data_dir=prepared.raw) is None


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """`auto` finds no weights."""
    monkeypatch.setattr(start, "build_network", lambda spec, encoder_weights: (HandsNetwork(spec, None), "none"))


def test_phase1_by_itself_is_found_by_what_it_came_to(store, tiny_packed, sought, offline, tmp_path):
    values = {"batch_size": 6, "lr": 0.01, "eval_every": 1, "g1": "light", "checkpoint_dir": tmp_path, "unpaired": "none"}
    said = invoke("phase1", packed_dir=tiny_packed.folder, epochs=1, **values, encoder_weights="auto", precision="32-true")
    assert said.exit_code == 0, said.output
    run = newest_run(store)
    assert run.data.tags["hands.encoder_weights"] == "none"
    copied = shutil.copytree(tiny_packed.folder, tmp_path / "copied")
    recipe = values | {"precision": "32-true", "lr_schedule": "constant", "ema_decay": 0, "class_weights": "manual"}
    given = {"packed_dir": copied, "epochs": 1}
    assert sought(recipe, "phase1", **given) == run.info.run_id
    elsewhere = {"data_residency": "disk", "checkpoint_minutes": 1, "checkpoint_dir": tmp_path / "other"}
    assert sought(recipe | elsewhere, "phase1", **given) == run.info.run_id
    assert sought(recipe, "phase1", encoder_weights="imagenet", **given) is None  # of a day without the hub
    assert sought(recipe | {"precision": "bf16-mixed"}, "phase1", **given) is None
    assert sought(recipe | {"seed": 1}, "phase1", **given) is None


def test_an_alias_is_the_model_that_it_names(store, logged, tiny_packed, sought):
    register(logged.g2_uri, "reused", Score(0.5, "d", "train", "val"))
    said = invoke("evaluate", packed_dir=tiny_packed.folder, model="models:/reused@champion", split="val", precision="32-true")
    store.delete_registered_model("reused")
    assert said.exit_code == 0, said.output
    run_id = newest_run(store).info.run_id
    recipe = {"precision": "32-true", "eval_batch_size": 5}
    given = {"packed_dir": tiny_packed.folder, "split": "val"}
    assert sought(recipe, "evaluate", model=logged.g2_uri, **given) == run_id
    assert sought(recipe, "evaluate", model=logged.d_uri, **given) is None


def test_a_run_that_other_code_has_begun_is_not_found(store, tiny_packed, monkeypatch):
    from hands import tracking
    from hands.tracking import steps

    with tracking.run("evaluate", {}):
        steps.note_code("evaluate")
        monkeypatch.setattr(steps, "code_digest", lambda entry_point: "changed meanwhile")
        steps.log_step_key("evaluate", {}, {})
    tags = newest_run(store).data.tags
    assert tags["hands.code"] == code_digest("evaluate") and "hands.step_key" not in tags


# --- a packed set as a pipeline's input


def test_a_packed_set_says_its_size_itself(tiny_packed, tmp_path):
    params = pipeline_params(packed_dir=tiny_packed.folder, encoder_weights="none", work_dir=tmp_path, size=50)
    assert check_recipe(params).encoder_weights == {"light": "none"}


@pytest.mark.parametrize(("overrides", "said"), [
    ({"data_dir": "somewhere"}, "both data_dir and packed_dir are given"),
    ({"packed_dir": "nowhere"}, "is not a packed set"),
    ({"packed_dir": "", "data_dir": "nowhere"}, "data_dir .*nowhere is not a folder"),
    ({"packed_dir": "", "recipe": "full"}, "full trains on your data: give data_dir, or the packed_dir"),
])  # fmt: skip
def test_data_that_cannot_be_trained_on_is_refused(tiny_packed, tmp_path, overrides, said):
    values = {"packed_dir": tiny_packed.folder, "encoder_weights": "none", "work_dir": tmp_path}
    with pytest.raises(InvalidInput, match=said):
        check_recipe(pipeline_params(**values | overrides))


@pytest.mark.parametrize(("empty", "overrides", "said"), [
    ("unpaired_images", {}, "no records in 'unpaired_images'; pack a dataset that has some for weights initialization"),
    ("unpaired_masks", {}, "no records in 'unpaired_masks'"),
    ("val", {}, "no records in 'val'"),
    ("unpaired_images", {"unpaired": "masks"}, None),
    ("unpaired_masks", {"unpaired": "images"}, None),
])  # fmt: skip
def test_what_a_later_step_would_miss_is_said_at_the_start(tmp_path, empty, overrides, said):
    folder = tmp_path / "packed"
    folder.mkdir()
    write_blobs(folder, SIZE, COUNTS | {empty: 0}, seed=0)
    params = pipeline_params(packed_dir=folder, encoder_weights="none", work_dir=tmp_path, **overrides)
    if said is None:
        check_recipe(params)
    else:
        with pytest.raises(InvalidInput, match=said):
            check_recipe(params)


@pytest.mark.parametrize("name", ["checkpoint_dir", "work_dir"])
def test_folders_that_cannot_be_written_are_refused_before_anything_is_made(tiny_packed, tmp_path, monkeypatch, name):
    (tmp_path / "file").touch()
    values = {"packed_dir": tiny_packed.folder, "encoder_weights": "none", "work_dir": tmp_path, "checkpoint_dir": tmp_path}
    with pytest.raises(InvalidInput, match=f"{name} is .*/file/below, and .*/file is a file; give a folder"):
        check_recipe(pipeline_params(**values | {name: tmp_path / "file" / "below"}))
    monkeypatch.setattr(os, "access", lambda place, mode: Path(place) != tmp_path / "locked")
    (tmp_path / "locked").mkdir()
    with pytest.raises(InvalidInput, match=f"{name} is .*/locked/a/b, and .*/locked cannot be written"):
        check_recipe(pipeline_params(**values | {name: tmp_path / "locked" / "a" / "b"}))


def test_encoder_weights_are_those_that_can_be_had_now(tiny_packed, tmp_path, monkeypatch):
    had = {"resnet18": "imagenet", "xception": "none"}
    monkeypatch.setattr(start, "build_network", lambda spec, encoder_weights: (None, had[spec.encoder]))
    values = {"packed_dir": tiny_packed.folder, "work_dir": tmp_path, "g1": "light", "g2": "unet:xception", "size": 32}
    assert check_recipe(pipeline_params(**values)).encoder_weights == {"light": "imagenet", "unet:xception": "none"}


def test_a_checkpoint_goes_on_on_other_devices_and_not_with_other_parameters(tiny_packed):
    def fingerprint(**changed: object) -> str:
        params = {"lr": 0.1, "packed_dir": "/a", "precision": "auto", "accelerator": "auto", "data_residency": "disk"}
        return checkpoint_fingerprint(SimpleNamespace(**params | changed), tiny_packed)

    moved = {"packed_dir": "/b", "precision": "32-true", "accelerator": "cpu", "data_residency": "device"}
    assert fingerprint(**moved) == fingerprint()
    assert fingerprint(lr=0.2) != fingerprint()
