"""Where runs stand: in the project's experiments, unless the user has chosen another; never in MLflow's Default."""

import mlflow
import pytest
from mlflow import MlflowClient

from entrypoints.launch import ending
from hands import tracking
from hands.errors import InvalidInput
from hands.processes.origin import LAUNCHED
from hands.tracking.experiments import NOTE_TAG, NOTES, SHOWN_BY, run_page
from tests.project import invoke, new_store


@pytest.fixture
def unnamed(tmp_path, store_template, monkeypatch) -> MlflowClient:
    """A store of its own, and nothing that names an experiment."""
    uri = new_store(tmp_path / "store", store_template)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    monkeypatch.delenv("MLFLOW_EXPERIMENT_NAME", raising=False)
    monkeypatch.setattr(tracking, "_begun", None)
    return MlflowClient(uri)


def experiment_of(client: MlflowClient, run: mlflow.ActiveRun) -> str:
    return client.get_experiment(client.get_run(run.info.run_id).info.experiment_id).name


def launched(client: MlflowClient, patch: pytest.MonkeyPatch, experiment: str, **tags: str) -> str:
    """What `mlflow run` has done before the entry point begins."""
    run = client.create_run(experiment, run_name="bold-fish-123", tags={"mlflow.source.type": "PROJECT"} | tags)
    client.log_param(run.info.run_id, "lr", "1e-3")
    patch.setenv("MLFLOW_RUN_ID", run.info.run_id)
    patch.setenv("MLFLOW_EXPERIMENT_ID", experiment)
    patch.setenv(LAUNCHED, run.info.run_id)
    return run.info.run_id


@pytest.mark.parametrize(
    ("entry_point", "name"), [("phase1", "hands"), ("main", "hands"), ("sweep", "hands-sweeps"), ("bench", "hands-bench")]
)
def test_each_kind_has_its_experiment(unnamed, entry_point, name):
    for _ in range(2):  # which is made once
        with tracking.run(entry_point, {}) as run:
            pass
    assert experiment_of(unnamed, run) == name
    experiment = unnamed.get_experiment_by_name(name)
    assert experiment.tags[NOTE_TAG] == NOTES[name]
    default = unnamed.get_experiment("0").artifact_location
    assert experiment.artifact_location == f"{default.rsplit('/', 1)[0]}/{name}"


@pytest.mark.parametrize("variable", ["MLFLOW_EXPERIMENT_NAME", "MLFLOW_EXPERIMENT_ID"])
def test_what_the_user_names_is_taken(unnamed, monkeypatch, variable):
    chosen = unnamed.create_experiment("mine")
    monkeypatch.setenv(variable, "mine" if variable.endswith("NAME") else chosen)
    with tracking.run("sweep", {}) as run:
        pass
    assert experiment_of(unnamed, run) == "mine"


def test_the_run_of_mlflow_run_gives_its_place_to_one_in_the_experiment(unnamed, monkeypatch):
    first = launched(unnamed, monkeypatch, "0")
    with tracking.run("phase1", {"lr": 0.001}) as run:
        pass
    known = unnamed.get_run(run.info.run_id)
    assert run.info.run_id != first and experiment_of(unnamed, run) == "hands"
    assert (known.data.params, known.info.run_name) == ({"lr": "0.001"}, "phase1")
    assert known.data.tags["mlflow.source.type"] == "PROJECT"
    pointer = unnamed.get_run(first)
    assert pointer.data.tags[SHOWN_BY] == run.info.run_id
    assert run_page(run.info.experiment_id, run.info.run_id) in pointer.data.tags[NOTE_TAG]
    assert known.info.start_time == pointer.info.start_time


@pytest.mark.parametrize("elsewhere", [True, False])
def test_a_run_in_an_experiment_of_its_own_or_below_another_stays(unnamed, monkeypatch, elsewhere):
    experiment = unnamed.create_experiment("mine") if elsewhere else "0"
    first = launched(unnamed, monkeypatch, experiment, **({} if elsewhere else {"mlflow.parentRunId": "another"}))
    with tracking.run("phase1", {}) as run:
        pass
    assert run.info.run_id == first


def test_a_password_that_mlflow_run_has_logged_is_found_all_the_same(unnamed, monkeypatch):
    first = launched(unnamed, monkeypatch, "0", **{"mlflow.source.name": "https://me:secret@host/hands"})
    unnamed.log_param(first, "storage", "postgresql://me:secret@host/optuna")
    with pytest.raises(InvalidInput, match="has logged storage with a password in it"), tracking.run("sweep", {}):
        pass
    runs = [run for experiment in unnamed.search_experiments() for run in unnamed.search_runs([experiment.experiment_id])]
    assert len(runs) == 2 and not any("secret" in value for run in runs for value in run.data.tags.values())


def test_what_fails_before_its_run_has_begun_has_a_name_and_a_reason(unnamed, monkeypatch, tmp_path):
    first = launched(unnamed, monkeypatch, "0")
    done = invoke("phase1", packed_dir=str(tmp_path / "nowhere"))
    assert done.exit_code == 1
    run = unnamed.get_run(unnamed.get_run(first).data.tags[SHOWN_BY])
    assert (run.info.run_name, run.info.status) == ("phase1", "FAILED")
    assert run.data.tags[tracking.FAILURE_TAG] == f"InvalidInput: {done.output.strip().removeprefix('Error: ')}"


def test_so_has_what_the_command_line_refuses(unnamed, monkeypatch):
    first = launched(unnamed, monkeypatch, "0")
    assert invoke("phase1", epochs="many").exit_code == 2
    run = unnamed.get_run(unnamed.get_run(first).data.tags[SHOWN_BY])
    assert (run.info.run_name, run.info.status) == ("phase1", "FAILED")
    assert run.data.tags[tracking.FAILURE_TAG].startswith("BadParameter: 'many' is not a valid integer range")


def test_the_end_says_where_to_look(unnamed, monkeypatch, tmp_path, capsys):
    with ending.ended("prune", {}), tracking.run("prune", {}) as run:
        pass
    page = f"#/experiments/{run.info.experiment_id}/runs?workflowType=machine_learning&viewStateShareKey=scores"
    assert capsys.readouterr().out.splitlines() == [
        f"== to look at it: uvx mlflow@{mlflow.__version__} ui --backend-store-uri {mlflow.get_tracking_uri()}",
        f"== in MLflow: http://127.0.0.1:5000/{page}",
    ]
    monkeypatch.setattr(mlflow, "get_tracking_uri", lambda: "https://me:secret@tracking.example/ml/")
    ending._say_where()
    assert capsys.readouterr().out == f"== in MLflow: https://***@tracking.example/ml/{page}\n"
