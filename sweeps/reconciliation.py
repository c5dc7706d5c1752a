"""Runs of trials that still say RUNNING although nothing runs them: the worker was killed, or the tracking server was away."""

import mlflow
import optuna
from mlflow import MlflowClient
from optuna.trial import FrozenTrial, TrialState

from hands.tracking import FAILURE_TAG, end_dead_runs
from sweeps.study import FATE, REASON, RUN_ID, STATUS, TRIAL_TAG

KILLED_WORKER = "the worker was killed in the middle of the trial"


def end_left_runs(study: optuna.Study) -> None:
    """Ends runs whose trials have ended, whoever ran them, as the study says; and all runs of this machine's dead processes."""
    trials = study.get_trials(deepcopy=False)
    ended = {trial.user_attrs[RUN_ID]: trial for trial in trials if trial.state.is_finished() and RUN_ID in trial.user_attrs}
    client = MlflowClient()
    for run in mlflow.search_runs(
        search_all_experiments=True,
        filter_string=f"attributes.status = 'RUNNING' and tags.`{TRIAL_TAG}` LIKE '%'",
        output_format="list",
    ):
        trial = ended.get(run.info.run_id)
        if trial is None:
            continue
        if trial.state == TrialState.FAIL:
            client.set_tag(run.info.run_id, FAILURE_TAG, trial.user_attrs.get(REASON, KILLED_WORKER))
        client.set_terminated(run.info.run_id, status_of(trial))
    end_dead_runs()


def status_of(trial: FrozenTrial) -> str:
    """Which status the run of a trial that ended has."""
    if trial.state == TrialState.FAIL:
        return STATUS.get(trial.user_attrs.get(FATE), "KILLED")  # without fate its worker was killed
    return "FINISHED" if trial.state == TrialState.COMPLETE else "KILLED"
