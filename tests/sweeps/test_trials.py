"""Trials of a sweep, run by a worker in this process: their runs tell how they ended, and the entry points agree."""

import os
import signal
from contextlib import nullcontext
from dataclasses import replace

import mlflow
import optuna
import pytest
from optuna.trial import TrialState

import sweeps.trial
from entrypoints import phase2_init, phase2_paired
from hands.tracking import FAILURE_TAG
from hands.tracking.steps import outputs
from sweeps.report import report
from sweeps.study import PRUNED_TAG, RUN_ID, next_move
from sweeps.winner import read_winner
from tests.project import arguments
from tests.sweeps.sweeping import children, outside_of_run, prepare, take


def test_trials_are_nested_runs_with_parameters_and_curves(params, sweep_run, store):
    study, objective = prepare(params(n_trials=2, pruner="none"))
    take(study, objective)
    runs = children(store, sweep_run.info.run_id)
    assert {name: run.info.status for name, run in runs.items()} == {"trial 0": "FINISHED", "trial 1": "FINISHED"}
    first = runs["trial 0"]
    assert {name: first.data.params[name] for name in ("ce_weight", "dice_weight", "adv_weight", "class_weights")} == {
        "ce_weight": "0.35", "dice_weight": "0.65", "adv_weight": "0.01", "class_weights": "none",
    }  # fmt: skip
    assert first.data.params["paired_epochs"] == "3" and "storage" not in first.data.params
    curve = store.get_metric_history(first.info.run_id, "val/miou")
    assert [point.step for point in curve] == [1, 2, 3, 4]
    assert [item.dataset.name for item in first.inputs.dataset_inputs] == [objective.packed.folder.name]
    trial = study.trials[0]
    assert trial.state == TrialState.COMPLETE and trial.user_attrs[RUN_ID] == first.info.run_id
    assert trial.intermediate_values == {point.step: point.value for point in curve}
    assert trial.value == first.data.metrics["best/miou"] == max(point.value for point in curve if point.step > 1)
    assert [point.step for point in store.get_metric_history(first.info.run_id, "train/loss_adv")] == [2, 3, 4]


def test_pruned_trial_is_killed_with_a_tag_and_known_weights_never_are(params, sweep_run, store, monkeypatch):
    class Always(optuna.pruners.BasePruner):
        def prune(self, study, trial):
            return True

    study, objective = prepare(params(n_trials=3))
    study.pruner = Always()
    take(study, objective)
    assert [trial.state for trial in study.trials] == [TrialState.COMPLETE, TrialState.COMPLETE, TrialState.PRUNED]
    pruned = children(store, sweep_run.info.run_id)["trial 2"]
    assert pruned.info.status == "KILLED"
    assert pruned.data.tags[PRUNED_TAG].startswith("after epoch 1 of 4: val/miou 0.")
    assert FAILURE_TAG not in pruned.data.tags


@pytest.mark.parametrize("name", ["hyperband", pytest.param("median", marks=pytest.mark.slow)])
def test_pruners_cut_trials_that_lag_behind(params, sweep_run, name, monkeypatch):
    """Trials whose scores fall behind those of their elders are cut before their last epoch."""
    made = []

    def scores(self, trial, weights):
        made.append(trial.number)
        for epoch in range(1, 5):
            trial.report(1 / made.index(trial.number) if made.index(trial.number) else 2.0, epoch)
            if trial.should_prune():
                raise optuna.TrialPruned(f"after epoch {epoch}")
        return 1.0

    study, objective = prepare(params(n_trials=9, pruner=name))
    monkeypatch.setattr(type(objective), "train", scores)
    monkeypatch.setattr(sweeps.trial, "trial_run", lambda trial, sweep: nullcontext(trial.set_user_attr(RUN_ID, "of no run")))
    monkeypatch.setattr(mlflow, "log_params", lambda params: None)
    take(study, objective)
    states = [trial.state for trial in study.trials]
    assert len(states) == 9 and states.count(TrialState.PRUNED) >= 3
    assert states[0] == TrialState.COMPLETE
    assert {trial.last_step for trial in study.trials if trial.state == TrialState.PRUNED} <= {2, 3}  # epoch 1 initializes


def test_trial_that_diverges_fails_alone(params, sweep_run, store):
    def explosive(space):
        """Makes the second trial's loss infinite."""

        def weights(point):
            return space.weights(point) | ({} if point == space.first_trials[0] else {"ce_weight": 3e38})

        return replace(space, weights=weights)

    study, objective = prepare(params(n_trials=3, pruner="none", paired_epochs=1), explosive)
    objective.space = explosive(objective.space)
    take(study, objective)
    assert [trial.state for trial in study.trials] == [TrialState.COMPLETE, TrialState.FAIL, TrialState.FAIL]
    failed = children(store, sweep_run.info.run_id)["trial 1"]
    assert failed.info.status == "FAILED" and "became NaN or infinite in epoch 1" in failed.data.tags[FAILURE_TAG]
    report(study, objective.space)
    assert read_winner(sweep_run.info.run_id).params["ce_weight"] == 0.35


def test_interrupted_trial_is_in_the_queue_again_and_the_next_call_goes_on(params, sweep_run, store, monkeypatch):
    study, objective = prepare(params(n_trials=2, paired_epochs=1))
    objective.interruption.install()

    def fit(*arguments):
        os.kill(os.getpid(), signal.SIGTERM)

    with monkeypatch.context() as patch:
        patch.setattr(sweeps.trial, "fit_phase2_init", fit)
        take(study, objective)
    assert objective.interruption.asked
    assert [trial.state for trial in study.trials] == [TrialState.FAIL, TrialState.WAITING, TrialState.WAITING]
    assert study.trials[2].system_attrs["fixed_params"] == study.trials[0].params
    interrupted = children(store, sweep_run.info.run_id)["trial 0"]
    assert interrupted.info.status == "KILLED" and "interrupted" in interrupted.data.tags[FAILURE_TAG]

    study, objective = prepare(params(n_trials=2, paired_epochs=1))
    take(study, objective)
    assert [trial.state for trial in study.trials] == [TrialState.FAIL, TrialState.COMPLETE, TrialState.COMPLETE]
    assert study.trials[2].user_attrs["first"] and study.trials[2].params == study.trials[0].params
    assert next_move(study.trials, 2) == "stop"


def test_signal_while_an_epoch_is_written_down_waits_for_that(params, sweep_run, store, monkeypatch):
    study, objective = prepare(params(n_trials=1))
    objective.interruption.install()

    def log(*arguments, original=sweeps.trial.tracking.log_metrics):
        os.kill(os.getpid(), signal.SIGUSR1)
        original(*arguments)

    monkeypatch.setattr(sweeps.trial.tracking, "log_metrics", log)
    take(study, objective)
    interrupted = children(store, sweep_run.info.run_id)["trial 0"]
    assert interrupted.info.status == "KILLED"
    written = [(point.step, point.value) for point in store.get_metric_history(interrupted.info.run_id, "val/miou")]
    assert written == list(study.trials[0].intermediate_values.items()) and [step for step, _ in written] == [1]


def test_signal_between_trials_waits_for_the_bookkeeping(params, sweep_run):
    study, objective = prepare(params(n_trials=3, paired_epochs=1, pruner="none"))
    objective.interruption.install()
    os.kill(os.getpid(), signal.SIGTERM)  # raises nothing here
    assert objective.interruption.asked
    take(study, objective)
    assert [trial.state for trial in study.trials] == [TrialState.WAITING, TrialState.WAITING]


def test_continuing_stops_at_the_total(params, sweep_run):
    for n_trials in (2, 2, 3):
        study, objective = prepare(params(n_trials=n_trials, pruner="none", init_epochs=0, paired_epochs=1))
        take(study, objective)
        assert [trial.state for trial in study.trials] == [TrialState.COMPLETE] * n_trials


def test_report_is_readable_in_the_run(params, sweep_run, store):
    study, objective = prepare(params(n_trials=3, pruner="none", paired_epochs=2))
    report(study, objective.space)  # before the first trial has ended
    take(study, objective)
    report(study, objective.space)
    run_id = sweep_run.info.run_id
    names = {item.path for item in store.list_artifacts(run_id)} | {item.path for item in store.list_artifacts(run_id, "plots")}
    plots = ("optimization_history", "param_importances", "parallel_coordinate", "slice", "intermediate_values")
    assert names >= {"best_params.json", "trials.csv", "plots/plots.html", *(f"plots/{name}.png" for name in plots)}
    table = mlflow.artifacts.load_text(f"runs:/{run_id}/trials.csv").splitlines()
    assert table[0].startswith("trial,state,value,epochs,seconds,first,ce_weight,dice_weight,adv_weight,")
    assert table[1].startswith(f"0,complete,{study.trials[0].value},3,") and len(table) == 4
    data = store.get_run(run_id).data
    assert data.metrics["trials/complete"] == 3 and data.metrics["epochs_trained"] == 9
    known = [trial.value for trial in study.trials if "first" in trial.user_attrs]
    assert len(known) == 2 and data.metrics["best/miou"] == study.best_value >= max(known)  # a sweep can only win
    best = read_winner(run_id)
    trained_by = store.get_run(study.best_trial.user_attrs[RUN_ID]).data.params
    assert {name: str(value) for name, value in best.params.items()}.items() <= trained_by.items()
    assert best.params.items() >= objective.space.weights(study.best_trial.params).items()
    assert best.content["digests"]["packed_dir"] == objective.packed.manifest.digest and best.size == objective.size
    assert (best.content["trial"], best.content["value"]) == (study.best_trial.number, study.best_value)
    assert data.tags["score"] == f"val/miou {study.best_value:.4f}"
    first, _, heading, _, *rows = data.tags["mlflow.note.content"].splitlines()
    assert first.startswith(f"**best val/miou {study.best_value:.4f}** (trial {study.best_trial.number}, known weights at ")
    assert f"{max(known):.4f}" in first and f"`-P params_from={run_id}`" in first
    assert heading.startswith("| trial | val/miou | ce_weight |") and len(rows) == 3
    assert f"/runs/{study.best_trial.user_attrs[RUN_ID]}?" in rows[0]


@pytest.mark.parametrize("space", ["loss_weights", pytest.param("class_weights", marks=pytest.mark.slow)])
def test_best_parameters_rerun_alone_give_the_same_score(params, sweep_run, store, tiny_packed, logged, space):
    """Not nearly: the entry points, in runs of their own, repeat the trial bit by bit."""
    given = params(space=space, n_trials=2, pruner="none", paired_epochs=2)
    study, objective = prepare(given)
    take(study, objective)
    trial = [trial for trial in study.trials if trial.state == TrialState.COMPLETE][-1]  # others may wait
    of_sweep = {"class_weights": given.class_weights, "adv_weight": given.adv_weight}
    weights = of_sweep | objective.space.weights(trial.params)
    shared = {
        name: getattr(given, name)
        for name in ("packed_dir", "batch_size", "lr_schedule", "ema_decay", "seed", "precision", "accelerator",
                     "data_residency", "encoder_weights", "g2")
    }  # fmt: skip

    def rerun():
        init = {name: value for name, value in weights.items() if name != "adv_weight"}
        phase2_init.main(
            arguments("phase2_init", **shared, **init, epochs=given.init_epochs, lr=given.lr, g1_model=logged.g2_uri),
            standalone_mode=False,
        )
        g2_model = outputs(mlflow.last_active_run().info.run_id)["g2_model"]
        phase2_paired.main(
            arguments("phase2_paired", **shared, **weights, epochs=given.paired_epochs, lr=given.paired_lr,
                      g2_model=g2_model, d_model=logged.d_uri),
            standalone_mode=False,
        )  # fmt: skip
        scores.append(float(outputs(mlflow.last_active_run().info.run_id)["val_miou"]))

    scores = []
    outside_of_run(rerun)
    assert scores == [trial.value] and trial.value > 0
