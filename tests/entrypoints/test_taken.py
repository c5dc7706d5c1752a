"""What a user need not pass: the packed set and models of the last finished main, of a given model, of what goes on."""

import shutil
import sys
from pathlib import Path
from types import SimpleNamespace

import mlflow
import optuna
import pytest
from mlflow import MlflowClient

from entrypoints.launch import taken
from entrypoints.launch.commands import declared
from entrypoints.launch.taken import TAKES, with_taken
from hands import tracking
from hands.errors import InvalidInput
from hands.packed.packed_set import PackedSet
from hands.tracking import ENTRY_POINT_TAG, OUTPUT_TAG
from hands.tracking.latest import Begun, last_pipeline, origin_of, run_of
from sweeps.begun import begun_study, note_begin
from tests.packed.blobs import COUNTS, SIZE, write_blobs
from tests.project import invoke, log_toys, new_store, newest_run, track_to


@pytest.fixture
def own_store(tmp_path, store_template, monkeypatch) -> MlflowClient:
    """A store of the test's own; arguments that are added to the command line are forgotten."""
    uri = new_store(tmp_path / "store", store_template)
    track_to(uri, monkeypatch)
    monkeypatch.setattr(sys, "argv", ["phase1"])
    return MlflowClient(uri)


@pytest.fixture
def packed(tiny_packed, tmp_path) -> PackedSet:
    """A packed set that may be moved away."""
    return PackedSet.open(shutil.copytree(tiny_packed.folder, tmp_path / "packed"))


def a_pipeline(packed: PackedSet, name: str = "main", models: str = "A", status: str = "FINISHED") -> str:
    """The run of a pipeline of two steps, without any work; its id. Its G1 is called models:/g1-<models>, its D alike."""
    with mlflow.start_run(run_name=name, tags={ENTRY_POINT_TAG: name}) as run:
        with mlflow.start_run(run_name="prepare", nested=True):
            tracking.log_dataset(packed.folder, packed.manifest, "prepared")
        outputs = {"g1_model": f"models:/g1-{models}", "discriminator_model": f"models:/d-{models}"}
        tags = {OUTPUT_TAG + output: uri for output, uri in outputs.items()}
        with mlflow.start_run(run_name="phase1", nested=True, tags=tags | {ENTRY_POINT_TAG: "phase1"}):
            tracking.log_dataset(packed.folder, packed.manifest, "training")
        with mlflow.start_run(run_name="round 2 paired", nested=True, tags={OUTPUT_TAG + "discriminator_model": "later"}):
            tracking.log_dataset(packed.folder, packed.manifest, "training")
    MlflowClient().set_terminated(run.info.run_id, status)
    return run.info.run_id


def params(entry_point: str, **given: object) -> SimpleNamespace:
    return SimpleNamespace(**declared(entry_point) | {"num_nodes": 1, "heartbeat_interval": 15} | given)


def another(folder: Path) -> PackedSet:
    folder.mkdir()
    return write_blobs(folder, SIZE, COUNTS, seed=1)


def test_everything_is_of_the_last_finished_main(own_store, packed, tmp_path, capsys):
    a_pipeline(another(tmp_path / "before"), models="old")
    run_id = a_pipeline(packed)
    found = with_taken("sweep", params("sweep", storage=f"sqlite:///{tmp_path}/optuna.db"))
    assert (found.packed_dir, found.g1_model, found.d_model) == (str(packed.folder), "models:/g1-A", "models:/d-A")
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(f"== packed_dir: {packed.folder} (of main {run_id[:6]}, 20")
    assert [line.split(":")[0] for line in lines] == ["== packed_dir", "== g1_model", "== d_model"]


def test_other_runs_are_none_to_take_from(own_store, packed):
    a_pipeline(packed, "full", models="wanted")
    a_pipeline(packed, "dryrun", models="dry")
    a_pipeline(packed, models="failed", status="FAILED")
    a_pipeline(packed, models="killed", status="KILLED")
    assert last_pipeline().find("g1_model") == "models:/g1-wanted"


def test_mains_of_other_experiments_count(own_store, packed):
    experiment = own_store.create_experiment("another")
    run_id = a_pipeline(packed)
    assert last_pipeline().said.startswith(f"main {run_id[:6]}")
    with mlflow.start_run(experiment_id=experiment, tags={ENTRY_POINT_TAG: "main"}) as newer:
        pass
    assert last_pipeline().said.startswith(f"main {newer.info.run_id[:6]}")


def test_steps_that_main_has_reused_are_its_own(own_store, packed):
    first = run_of(a_pipeline(packed))
    phase1 = next(run for run in last_pipeline().runs if run.info.run_name == "phase1")
    with mlflow.start_run(tags={ENTRY_POINT_TAG: "main", "hands.reused.phase1": phase1.info.run_id}) as second:
        pass
    origin = last_pipeline()
    assert origin.said.startswith(f"main {second.info.run_id[:6]}") and second.info.run_id != first.info.run_id
    assert (origin.find("g1_model"), origin.find("packed_dir")) == ("models:/g1-A", str(packed.folder))


def test_what_is_passed_stays(own_store, packed):
    a_pipeline(packed)
    found = with_taken("phase2_init", params("phase2_init", packed_dir="/mine"))
    assert (found.packed_dir, found.g1_model) == ("/mine", "models:/g1-A")


def test_nothing_is_looked_for_where_all_is_passed(monkeypatch):
    monkeypatch.setattr(taken, "_sources", None)
    given = params("phase2_paired", packed_dir="/mine", d_model="models:/d")
    assert with_taken("phase2_paired", given) is given
    without_d = params("phase2_paired", packed_dir="/mine", adv_weight=0.0)
    assert with_taken("phase2_paired", without_d) is without_d
    pictures = params("predict", images="/photos")
    assert with_taken("predict", pictures) is pictures


def test_processes_for_more_devices_are_given_the_same(own_store, packed):
    a_pipeline(packed)
    with_taken("phase1", params("phase1"))
    assert sys.argv == ["phase1", f"--packed_dir={packed.folder}"]


def test_several_machines_must_be_told(own_store):
    with pytest.raises(InvalidInput, match="num_nodes is 2, .* pass packed_dir=... and g1_model=... to all of them"):
        with_taken("phase2_init", params("phase2_init", num_nodes=2))


@pytest.mark.parametrize(("entry_point", "said"), [
    ("phase1", "to take packed_dir from; run main first, or pass packed_dir=...."),
    ("phase2_init", "to take packed_dir and g1_model from; run main first, or pass packed_dir=... and g1_model=...."),
])  # fmt: skip
def test_there_was_no_main(own_store, entry_point, said):
    result = invoke(entry_point)
    assert result.exit_code == 1
    assert "holds no finished run of main or full " + said in result.output


def test_a_packed_set_that_is_gone(own_store, packed):
    a_pipeline(packed)
    shutil.rmtree(packed.folder)
    with pytest.raises(InvalidInput, match=f"packed set of main .* is gone .*{packed.folder}, .*pass packed_dir=..."):
        with_taken("phase1", params("phase1"))


def test_a_packed_set_that_is_another_by_now(own_store, packed):
    a_pipeline(packed)
    shutil.rmtree(packed.folder)
    another(packed.folder)
    with pytest.raises(InvalidInput, match="has been replaced by another one"):
        with_taken("phase1", params("phase1"))


def test_a_packed_set_that_a_later_step_read_elsewhere(own_store, packed, tmp_path):
    parent = a_pipeline(packed)
    copy = PackedSet.open(shutil.copytree(packed.folder, tmp_path / "copy"))
    with mlflow.start_run(tags={"mlflow.parentRunId": parent}):
        tracking.log_dataset(copy.folder, copy.manifest, "evaluation")
    shutil.rmtree(packed.folder)
    assert with_taken("phase1", params("phase1")).packed_dir == str(copy.folder)


@pytest.fixture
def of_two(own_store, packed, tmp_path) -> SimpleNamespace:
    """A model of a first main, and a second main with another packed set, whose model is `other`."""

    def made(packed: PackedSet, models: str) -> str:
        run_id = a_pipeline(packed, models=models)
        client = MlflowClient()
        uri = log_toys(SIZE).g2_uri
        toys = newest_run(client)
        client.set_tag(toys.info.run_id, "mlflow.parentRunId", run_id)
        with mlflow.start_run(run_id=toys.info.run_id):
            tracking.log_dataset(packed.folder, packed.manifest, "training")
        return uri

    second = another(tmp_path / "second")
    return SimpleNamespace(model=made(packed, "A"), other=made(second, "B"), second=second)


def test_a_models_own_packed_set(of_two, packed, capsys):
    assert with_taken("evaluate", params("evaluate", model=of_two.model)).packed_dir == str(packed.folder)
    assert f"(of {of_two.model}, made by toys " in capsys.readouterr().out
    given = params("phase2_paired", g2_model=of_two.model)
    found = with_taken("phase2_paired", given)  # and what belongs to it, though another main is newer
    assert (found.packed_dir, found.d_model) == (str(packed.folder), "models:/d-A")
    with pytest.raises(InvalidInput, match=r"trained on 2 packed sets \(.*\); pass packed_dir"):
        with_taken("compare", params("compare", models=f"{of_two.model},{of_two.other}"))
    both = params("compare", models=f"{of_two.other},{of_two.other}")
    assert with_taken("compare", both).packed_dir == str(of_two.second.folder)


def test_a_model_without_a_run_does_not_say(own_store, logged_folder):
    with pytest.raises(InvalidInput, match="does not say what packed set it was trained on; pass packed_dir"):
        with_taken("evaluate", params("evaluate", model=str(logged_folder)))
    assert origin_of(str(logged_folder)) is None


@pytest.fixture
def logged_folder(tmp_path) -> Path:
    (tmp_path / "model").mkdir()
    return tmp_path / "model"


def test_a_run_that_goes_on_keeps_what_it_began_with(own_store, packed, tmp_path, monkeypatch):
    with mlflow.start_run(tags={"hands.taken.g1_model": "models:/g1-A"}) as begun:
        mlflow.log_params({"g1_model": "''", "d_model": "'/a b/d'"})
        tracking.log_dataset(packed.folder, packed.manifest, "training")
    a_pipeline(another(tmp_path / "newer"), models="newer")
    monkeypatch.setattr("hands.tracking.steps.run_to_resume", lambda *arguments: begun.info.run_id)
    found = with_taken("phase2_init", params("phase2_init", resume="latest"))
    assert (found.packed_dir, found.g1_model) == (str(packed.folder), "models:/g1-A")
    assert found.resume == begun.info.run_id
    assert Begun(run_of(begun.info.run_id)).find("d_model") == "/a b/d"


def test_a_study_that_goes_on_keeps_what_it_began_with(own_store, packed, tmp_path):
    storage = f"sqlite:///{tmp_path}/optuna.db"
    a_pipeline(packed)
    first = with_taken("sweep", params("sweep", storage=storage))
    assert begun_study(storage, 15, "loss_weights") is None
    note_begin(optuna.create_study(storage=storage, study_name="loss_weights"), first)
    a_pipeline(another(tmp_path / "newer"), models="newer")
    again = with_taken("sweep", params("sweep", storage=storage))
    assert (again.packed_dir, again.g1_model, again.d_model) == (first.packed_dir, "models:/g1-A", "models:/d-A")
    assert with_taken("sweep", params("sweep", storage=storage, study_name="new")).g1_model == "models:/g1-newer"


def test_the_run_says_what_was_taken(own_store, packed, monkeypatch):
    with mlflow.start_run() as begun:
        mlflow.log_params({"packed_dir": "''", "g1_model": "''", "lr": "1"})  # as `mlflow run` does
    monkeypatch.setenv("MLFLOW_RUN_ID", begun.info.run_id)
    with tracking.run("phase1", {"packed_dir": str(packed.folder), "g1_model": "", "lr": 1.0}):
        pass
    with tracking.run("phase1", {"packed_dir": "/moved", "g1_model": "later"}, resumed=begun.info.run_id):
        pass
    tags = own_store.get_run(begun.info.run_id).data.tags
    assert {name: tags[name] for name in tags if name.startswith("hands.taken")} == {
        "hands.taken.packed_dir": str(packed.folder)
    }


def test_what_can_be_taken_is_empty_by_default():
    assert {declared(entry_point)[name] for entry_point, names in TAKES.items() for name in names} == {""}
    packed = {entry_point for entry_point in TAKES if "packed_dir" in declared(entry_point)}
    assert packed == set(TAKES)


