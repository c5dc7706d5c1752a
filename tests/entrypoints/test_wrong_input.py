"""What users get wrong ends with one sentence, an exit code and a FAILED run; what is right runs by `mlflow run`."""

import subprocess
import time
from pathlib import Path

import pytest
from mlflow import MlflowClient

from entrypoints import pipeline
from entrypoints.launch.checks import check_recipe
from hands.errors import InvalidInput
from hands.tracking import FAILURE_TAG, ROOT
from tests.project import EXPERIMENT, arguments, command, environment, invoke, mlflow_run, newest_run
from tests.training_steps import PHASE2_PAIRED, STEPS

DEAD_SERVER = "http://127.0.0.1:9"


@pytest.fixture
def refused(store):
    """Runs an entry point that has to refuse; the sentence it says."""

    def run(entry_point: str, exit_code: int, **overrides: object) -> str:
        result = invoke(entry_point, **overrides)
        assert result.exit_code == exit_code, result.output
        assert result.exception is None or isinstance(result.exception, SystemExit)
        assert "Traceback" not in result.output
        errors = [line for line in result.output.splitlines() if line.startswith("Error: ")]
        assert len(errors) == 1, result.output
        running = store.search_runs([store.get_experiment_by_name(EXPERIMENT).experiment_id], "attributes.status = 'RUNNING'")
        assert not running
        return errors[0]

    return run


@pytest.mark.parametrize(
    ("entry_point", "name", "value", "said"),
    [
        ("phase2_paired", "adv_weight", "abc", "'abc' is not a valid float"),
        ("synthesize", "level", "9", "9 is not in the range 1<=x<=3"),
        ("phase1", "batch_size", "0", "0 is not in the range"),
        ("phase1", "lr_schedule", "linear", "'linear' is not one of"),
        ("phase1", "val_split", "test", "'test' is not one of"),
        ("prepare", "skip_broken", "perhaps", "'perhaps' is not a valid boolean"),
        ("main", "round2_paired_epochs", "0", "0 is not in the range"),
        ("predict", "precision", "8", "'8' is not one of"),
    ],
)
def test_values_of_the_wrong_kind(store, entry_point, name, value, said):
    result = invoke(entry_point, **{name: value})
    assert result.exit_code == 2
    assert f"'--{name}'" in result.output and said in result.output


@pytest.mark.parametrize("model", ["models:/nothing@champion", "runs:/0123/g2", "models:/m-0123", "models:/"])
def test_models_that_do_not_exist(refused, store, tiny_packed, model):
    said = refused("evaluate", 1, model=model, packed_dir=tiny_packed.folder, split="val")
    assert f"'{model}'" in said and "expected" in said
    run = newest_run(store)
    assert run.info.status == "FAILED"
    assert run.data.tags[FAILURE_TAG] == said.replace("Error: ", "InvalidInput: ", 1)


def test_a_folder_that_holds_no_model(refused, tiny_packed, tmp_path):
    said = refused("evaluate", 1, model=tmp_path, packed_dir=tiny_packed.folder, split="val")
    assert f"'{tmp_path}' holds no network.json" in said


def test_models_of_another_kind(refused, logged, tiny_packed, tmp_path):
    given = {"packed_dir": tiny_packed.folder, "checkpoint_dir": tmp_path, "d_model": logged.g2_uri}
    assert "discriminator" in refused("phase2_paired", 1, **PHASE2_PAIRED.run_parameters(logged, **given))


@pytest.mark.parametrize("entry_point", ["phase1", "evaluate", "predict"])
def test_packed_dir_is_missing(refused, logged, tmp_path, entry_point):
    model = {} if entry_point == "phase1" else {"model": logged.g2_uri}
    out_dir = {"out_dir": tmp_path / "out"} if entry_point == "predict" else {}
    said = refused(entry_point, 1, packed_dir=tmp_path / "nowhere", **model, **out_dir)
    assert f"{tmp_path}/nowhere is not a packed set" in said and "`prepare`" in said


def test_data_dir_is_missing_or_empty(refused, tmp_path):
    (tmp_path / "empty").mkdir()
    assert "is not a folder" in refused("prepare", 1, data_dir=tmp_path / "nowhere", out_dir=tmp_path / "packed")
    assert str(tmp_path / "empty") in refused("prepare", 1, data_dir=tmp_path / "empty", out_dir=tmp_path / "packed")


def test_output_folder_is_occupied(refused, tmp_path):
    (tmp_path / "file").write_text("precious")
    assert "already holds files" in refused("synthesize", 1, out_dir=tmp_path, n_paired=1)
    assert (tmp_path / "file").read_text() == "precious"


@pytest.mark.parametrize(
    ("entry_point", "overrides", "said"),
    [
        ("phase1", {"g1": "nonsense"}, "'nonsense' names no network"),
        ("phase1", {"lr": 0}, "lr is 0.0"),
        ("phase1", {"background_factor": -1}, "expected finite numbers >= 0"),
        ("phase1", {"accelerator": "abacus"}, "accelerator is 'abacus'"),
        ("phase1", {"unpaired": "none", "d_lr": -1}, "d_lr is -1.0"),
        ("phase2_paired", {"ce_weight": 0, "dice_weight": 0}, "ce_weight and dice_weight are both 0"),
        ("phase2_paired", {"adv_weight": 1.5}, "adv_weight is 1.5"),
        ("phase2_init", {"drop_fraction": 1}, "drop_fraction is 1.0"),
        ("phase2_paired", {"hand_paste": 1.5}, "hand_paste is 1.5"),
    ],
)
def test_values_that_no_step_can_use(refused, logged, tiny_packed, tmp_path, entry_point, overrides, said):
    step = next(step for step in STEPS if step.entry_point == entry_point)
    given = {"packed_dir": tiny_packed.folder, "checkpoint_dir": tmp_path} | overrides
    assert said in refused(entry_point, 1, **step.run_parameters(logged, **given))


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        ({"g1": "nonsense"}, "'nonsense' names no network"),
        ({"g2": "unet:nonsense"}, "'unet:nonsense' names no network"),
        ({"ce_weight": 0, "dice_weight": 0}, "both 0"),
        ({"adv_weight": 2}, "adv_weight is 2.0"),
        ({"hand_paste": -1}, "hand_paste is -1.0"),
        ({"paired_lr": -1}, "lr is -1.0"),
        ({"size": 48}, "size is 48; expected a multiple of 32"),
        ({"n_val": 0}, "n_val is 0"),
        ({"n_unpaired_images": 0}, "n_unpaired_images is 0"),
        ({"paired_subjects": 9, "unpaired_subjects": 2}, "paired_subjects is 9"),
        ({"width": 5}, "5x"),
        ({"devices": "many"}, "devices is 'many'"),
        ({"palm_factor": "nan"}, "expected finite numbers"),
    ],
)
def test_recipes_are_refused_before_their_first_step(overrides, said):
    with pipeline.main.make_context("main", arguments("main", **overrides)) as context:
        with pytest.raises(InvalidInput, match=said):
            check_recipe(pipeline.SimpleNamespace(**context.params))


@pytest.mark.parametrize("recipe", ["main", "dryrun"])
def test_recipes_as_they_stand_are_accepted(recipe):
    with pipeline.main.make_context(recipe, arguments(recipe)) as context:
        check_recipe(pipeline.SimpleNamespace(**context.params))


def test_a_tracking_server_that_does_not_answer(tmp_path):
    started = time.monotonic()
    done = subprocess.run(
        command("synthesize", *arguments("synthesize", out_dir=tmp_path / "out")),
        cwd=ROOT, env=environment(DEAD_SERVER), capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 1 and done.stderr.startswith(f"Error: the tracking server {DEAD_SERVER} does not answer")
    assert time.monotonic() - started < 10
    assert not (tmp_path / "out").exists()


def by_mlflow(store: MlflowClient, uri: str, *arguments: str, **overrides: object):
    done = subprocess.run(mlflow_run(*arguments, **overrides), cwd=ROOT, env=environment(uri), capture_output=True, text=True)
    return done, newest_run(store)


def test_mlflow_run_of_a_wrong_value(store, session_store):
    done, run = by_mlflow(store, session_store, "phase2_paired", d_model="models:/d", adv_weight="abc")
    assert done.returncode == 1
    assert "Invalid value for '--adv_weight': 'abc' is not a valid float." in done.stderr
    assert run.info.status == "FAILED" and run.data.tags["mlflow.project.entryPoint"] == "phase2_paired"


@pytest.mark.slow
def test_mlflow_run_of_a_model_that_does_not_exist(store, session_store, tiny_packed):
    done, run = by_mlflow(store, session_store, "evaluate", model="models:/nothing@champion", packed_dir=tiny_packed.folder)
    assert done.returncode == 1
    assert "Error: the model 'models:/nothing@champion' cannot be had" in done.stderr
    assert "Traceback" not in done.stderr
    assert run.info.status == "FAILED" and "models:/nothing@champion" in run.data.tags[FAILURE_TAG]


@pytest.mark.slow
def test_mlflow_run_into_a_folder_with_a_space(store, session_store, tmp_path):
    out_dir = tmp_path / "my 'own' data"
    counts = {"n_paired": 2, "n_unpaired_images": 0, "n_unpaired_masks": 0, "n_val": 1, "n_test": 0}
    small = {"width": 48, "height": 48, "paired_subjects": 1, "unpaired_subjects": 1, "eval_subjects": 1, "workers": 1}
    done, run = by_mlflow(store, session_store, "synthesize", out_dir=out_dir, **counts, **small)
    assert done.returncode == 0, done.stderr
    assert run.info.status == "FINISHED" and run.info.run_name == "synthesize level 1 seed 0"
    assert run.data.params["n_paired"] == "2"
    assert len(run.data.tags["mlflow.source.git.commit"]) == 40
    assert Path(run.data.tags["hands.output.data_dir"]) == out_dir and (out_dir / "interhand.lmdb").is_dir()
