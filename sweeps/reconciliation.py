"""Runs of trials whose worker died without ending them."""

import mlflow
import optuna
from mlflow import MlflowClient
from optuna.trial import TrialState

from hands.tracking import FAILURE_TAG
from sweeps.study import RUN_ID, TRIAL_TAG

STATUS = {TrialState.COMPLETE: "FINISHED", TrialState.PRUNED: "KILLED"}


def end_dead_runs(study: optuna.Study, sweep_run_id: str, experiment_id: str, alive: bool) -> None:
    """Ends the sweep's trial runs that say RUNNING although nothing runs them.

    Args:
        study: what trials came to.
        sweep_run_id, experiment_id: of the sweep's run.
        alive: whether workers are at work; then the runs of trials that the study calls running are left alone.
    """
    client = MlflowClient()
    running = mlflow.search_runs(
        experiment_ids=[experiment_id],
        filter_string=f"attributes.status = 'RUNNING' and tags.`mlflow.parentRunId` = '{sweep_run_id}'",
        output_format="list",
    )
    trials = study.get_trials(deepcopy=False)
    for run in running:
        trial = trials[int(run.data.tags[TRIAL_TAG])]
        own = trial.user_attrs.get(RUN_ID) == run.info.run_id
        if alive and (trial.state == TrialState.RUNNING or not own):
            continue
        status = STATUS.get(trial.state, "FAILED") if own else "FAILED"
        if status == "FAILED":
            client.set_tag(run.info.run_id, FAILURE_TAG, "the worker was killed in the middle of the trial")
        client.set_terminated(run.info.run_id, status)
