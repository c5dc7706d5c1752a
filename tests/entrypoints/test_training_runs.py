"""Every training step as a run: broken off it can go on, and ended it has logged each epoch, picture and model once."""

import gc
import os
import signal
from types import SimpleNamespace

import pytest
from mlflow import MlflowClient

from hands.training.learner import Learner
from tests.packed.blobs import SIZE
from tests.project import ENTRY_POINTS, artifact_paths, invoke, newest_run, pictures_logged, track_to
from tests.training_steps import STEPS

EPOCHS = [1, 2, 3]


@pytest.fixture(scope="module", params=STEPS, ids=lambda step: step.name)
def resumed(request, session_store, logged, tiny_packed, tmp_path_factory) -> SimpleNamespace:
    """A run that SIGTERM has ended after some optimizer steps, as it was then, and after `resume=latest`."""
    step, checkpoints = request.param, tmp_path_factory.mktemp("checkpoints")
    given = step.run_parameters(
        logged, packed_dir=tiny_packed.folder, epochs=len(EPOCHS), batch_size=4, precision="32-true", checkpoint_dir=checkpoints
    )
    client = MlflowClient(session_store)
    with pytest.MonkeyPatch.context() as patch:
        track_to(session_store, patch)
        with pytest.MonkeyPatch.context() as stopping:
            stopping.setattr(Learner, "update", stopped_after(5))
            result = invoke(step.entry_point, **given)
        exit_code, said = result.exit_code, result.output
        del result  # its traceback holds
        gc.collect()  # the checkpoint, and that the lock on it, which would end with the process
        killed = newest_run(client)
        left = list(checkpoints.rglob("last.pt"))
        ended = invoke(step.entry_point, **given, resume="latest")
    assert ended.exit_code == 0, ended.output
    return SimpleNamespace(
        step=step, client=client, exit_code=exit_code, said=said, killed=killed, left=left, checkpoints=checkpoints,
        run=newest_run(client),
    )  # fmt: skip


def stopped_after(updates: int):
    """Learner.update that sends this process SIGTERM after so many calls."""
    update, done = Learner.update, []

    def update_and_stop(self, loss):
        update(self, loss)
        done.append(None)
        if len(done) == updates:
            os.kill(os.getpid(), signal.SIGTERM)

    return update_and_stop


def test_a_signal_ends_it_in_order(resumed):
    assert resumed.exit_code == 130 and "Traceback" not in resumed.said
    assert resumed.killed.info.status == "KILLED"
    assert resumed.killed.data.tags["hands.failure"].startswith("Stopped: SIGTERM")
    assert resumed.left == [resumed.checkpoints / resumed.killed.info.run_id / "last.pt"]
    assert resumed.said.endswith(f"resume={resumed.killed.info.run_id}\n")


def test_it_goes_on_in_the_same_run_and_leaves_nothing(resumed):
    assert resumed.run.info.run_id == resumed.killed.info.run_id
    assert (resumed.run.info.status, resumed.run.info.run_name) == ("FINISHED", f"{resumed.step.entry_point} light {SIZE} px")
    assert list(resumed.checkpoints.iterdir()) == []


def test_every_epoch_is_logged_once(resumed):
    names = {name for name in resumed.run.data.metrics if name.startswith("train/")}
    assert names == {f"train/{loss}" for loss in resumed.step.losses} | {"train/images_per_s"}
    for name in [*names, "val/miou", "val/miou_dataset"]:
        points = resumed.client.get_metric_history(resumed.run.info.run_id, name)
        assert [point.step for point in points] == EPOCHS, name


def test_the_start_and_every_epoch_have_their_picture_once(resumed):
    assert pictures_logged(resumed.client, resumed.run.info.run_id) == [0, *EPOCHS]
    assert "learning_curves.png" in artifact_paths(resumed.client, resumed.run)


def test_models_are_whole_and_carry_their_own_metrics(resumed, tiny_packed):
    models = [resumed.client.get_logged_model(output.model_id) for output in resumed.run.outputs.model_outputs]
    assert sorted(model.name for model in models) == sorted(resumed.step.trains)
    scores = {name for name in resumed.run.data.metrics if name.startswith("val/") and "/iou/" not in name}
    for model in models:
        assert str(model.status) == "READY"
        assert resumed.run.data.tags[f"hands.output.{model.name}_model"] == f"models:/{model.model_id}"
        # MLflow adds system metrics to the models of a run that lasts long enough for some
        points = [point for point in model.metrics or [] if not point.key.startswith("system/")]
        if model.name == "discriminator":
            assert points == []
            continue
        assert {point.key for point in points} == scores
        assert {point.step for point in points} == {int(resumed.run.data.metrics["best/epoch"])}
        assert len(points) == len({point.key for point in points})
        assert {point.dataset_digest for point in points} == {tiny_packed.manifest.digest}


def test_there_is_a_row_for_every_entry_point_that_trains():
    assert {step.entry_point for step in STEPS} == {
        name for name, entry_point in ENTRY_POINTS.items() if "resume" in entry_point["parameters"]
    }


def test_without_the_adversarial_term_no_d_is_asked_for(store, logged, tiny_packed, tmp_path):
    given = {"packed_dir": tiny_packed.folder, "g2_model": logged.g2_uri, "checkpoint_dir": tmp_path}
    result = invoke("phase2_paired", adv_weight=0, update_discriminator=True, epochs=1, batch_size=4, **given)
    assert result.exit_code == 0, result.output
    run = newest_run(store)
    assert "train/loss_ce" in run.data.metrics and "train/loss_adv" not in run.data.metrics
    assert [store.get_logged_model(output.model_id).name for output in run.outputs.model_outputs] == ["g2"]
