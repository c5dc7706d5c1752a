"""What hands.tracking leaves in MLflow: states of runs, models, datasets, the registry."""

import signal
import warnings

import mlflow
import pytest
import torch
from click.testing import CliRunner
from mlflow import MlflowClient

from entrypoints.launch import command_line
from entrypoints.launch.command_line import entry_point
from entrypoints.launch.stopping import Terminated
from hands import tracking
from hands.errors import InvalidInput
from hands.networks.checkpoint import load_discriminator, load_network
from hands.networks.discriminator import Discriminator
from hands.processes.signals import STOP_SIGNALS
from hands.tracking.models import fetch_network, log_network
from hands.tracking.steps import STEP_KEY_TAG, find_finished, outputs
from tests.packed.blobs import SIZE
from tests.project import handlers_kept, log_toy, newest_run


@pytest.mark.parametrize(
    ("error", "status", "reason"),
    [
        (InvalidInput("no such thing"), "FAILED", "InvalidInput: no such thing"),
        (RuntimeError("broken"), "FAILED", "RuntimeError: broken"),
        (KeyboardInterrupt(), "KILLED", "KeyboardInterrupt: "),
        (Terminated(), "KILLED", "Terminated: "),
    ],
)
def test_a_run_ends_as_its_body_does(store, error, status, reason):
    with pytest.raises(type(error)), tracking.run("phase1", {"epochs": 3}):
        raise error
    run = newest_run(store)
    assert (run.info.status, run.data.tags[tracking.FAILURE_TAG]) == (status, reason)
    assert run.data.params["epochs"] == "3"
    assert mlflow.active_run() is None


def test_a_finished_run(store):
    with tracking.run("phase1", {"epochs": 3}):
        tracking.log_output("g1_model", "models:/m-1")
    run = newest_run(store)
    assert (run.info.status, run.info.run_name) == ("FINISHED", "phase1")
    assert tracking.FAILURE_TAG not in run.data.tags
    assert outputs(run.info.run_id) == {"g1_model": "models:/m-1"}


def test_a_run_that_was_named_keeps_its_name(store, monkeypatch):
    with mlflow.start_run(run_name="round 1 init") as outer:
        pass
    monkeypatch.setenv("MLFLOW_RUN_ID", outer.info.run_id)
    with tracking.run("phase2_init", {}):
        pass
    assert store.get_run(outer.info.run_id).info.run_name == "round 1 init"


def test_parameters_that_mlflow_run_has_logged_stay(store, monkeypatch):
    with mlflow.start_run() as outer:
        mlflow.log_param("lr", "1e-3")
    monkeypatch.setenv("MLFLOW_RUN_ID", outer.info.run_id)
    with tracking.run("phase1", {"lr": 0.001, "epochs": 2}):
        pass
    assert store.get_run(outer.info.run_id).data.params == {"lr": "1e-3", "epochs": "2"}


@pytest.mark.parametrize("number", STOP_SIGNALS, ids=lambda number: number.name)
def test_a_signal_ends_the_run_as_killed(store, number, monkeypatch):
    """tests/entrypoints/test_pipeline.py and test_stopping.py send signals to processes of their own."""

    monkeypatch.setattr(command_line, "declared", lambda name: {})

    @entry_point()
    def main(params):
        with tracking.run("interrupted", {}):
            signal.raise_signal(number)

    with handlers_kept():
        done = CliRunner().invoke(main, [])
    assert done.exit_code == 130 and f"stopped: {number.name}" in done.output and "Traceback" not in done.output
    run = newest_run(store)
    assert (run.info.run_name, run.info.status) == ("interrupted", "KILLED")


def test_logged_networks_come_back_trainable(store, logged):
    network, size = load_network(fetch_network(logged.g2_uri))
    assert size == SIZE
    assert all(torch.equal(a, b) for a, b in zip(network.state_dict().values(), logged.g2.state_dict().values(), strict=True))
    assert all(parameter.requires_grad for parameter in network.parameters())
    d = load_discriminator(fetch_network(logged.d_uri))
    assert all(torch.equal(a, b) for a, b in zip(d.state_dict().values(), logged.d.state_dict().values(), strict=True))


def test_a_model_is_found_by_run_and_name(store, logged):
    run_id = store.get_logged_model(logged.g2_uri.removeprefix("models:/")).source_run_id
    assert load_network(fetch_network(f"runs:/{run_id}/g2"))[1] == SIZE


@pytest.mark.parametrize("after", ["log_model_artifacts", "log_outputs", "finalize_logged_model"])
def test_a_model_is_logged_whole_after_it_was_begun(store, monkeypatch, after):
    def and_then_killed(*given, **named):
        whole(*given, **named)
        raise SystemExit

    network, whole = Discriminator(), getattr(MlflowClient, after)
    with mlflow.start_run() as run:
        model = mlflow.initialize_logged_model(name="discriminator", source_run_id=run.info.run_id, model_type="pyfunc")
        with monkeypatch.context() as patched, pytest.raises(SystemExit):
            patched.setattr(MlflowClient, after, and_then_killed)
            log_network(network, "discriminator", SIZE, model.model_id)
        uri = log_network(network, "discriminator", SIZE, model.model_id)
    assert [output.model_id for output in store.get_run(run.info.run_id).outputs.model_outputs] == [model.model_id]
    assert store.get_logged_model(model.model_id).status == "READY"
    again = load_discriminator(fetch_network(uri))
    assert all(torch.equal(a, b) for a, b in zip(again.state_dict().values(), network.state_dict().values(), strict=True))


def test_logging_a_model_says_nothing(store, capfd):
    with mlflow.start_run(), warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        log_toy(Discriminator(), "discriminator", SIZE)
    said = capfd.readouterr()
    assert said.out + said.err == ""


def test_the_dataset_is_tied_to_the_run(store, tiny_packed):
    with tracking.run("phase1", {}):
        tracking.log_dataset(tiny_packed.folder, tiny_packed.manifest, "training")
    (used,) = newest_run(store).inputs.dataset_inputs
    tags = {tag.key: tag.value for tag in used.tags}
    assert used.dataset.digest == tiny_packed.manifest.digest
    assert (tags["mlflow.data.context"], tags["records.train"]) == ("training", "12")


def test_reuse_needs_a_finished_run_whose_outputs_are_there(store, tmp_path):
    folder = tmp_path / "predictions"
    folder.mkdir()
    with mlflow.start_run(tags={STEP_KEY_TAG: "k1"}) as failed:
        tracking.log_output_folder("predictions", folder, None)
    store.set_terminated(failed.info.run_id, "FAILED")
    assert find_finished("k1") is None
    with mlflow.start_run(tags={STEP_KEY_TAG: "k1"}) as finished:
        tracking.log_output_folder("predictions", folder, None)
    assert find_finished("k1").info.run_id == finished.info.run_id
    assert find_finished("k2") is None
    folder.rmdir()
    assert find_finished("k1") is None


def test_a_lost_model_is_not_reused(store):
    with mlflow.start_run(tags={STEP_KEY_TAG: "k3"}):
        tracking.log_output("g1_model", "models:/m-00000000000000000000000000000000")
    assert find_finished("k3") is None
