"""How MLflow's table of runs shows an experiment: its saved views, which are tags of the experiment."""

import json
import time
from contextlib import suppress

from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

VIEW_TAG = "mlflow.sharedViewState."
SCORES = "scores"  # in the page's address: viewStateShareKey=scores
COLUMNS = {  # of metrics, by the experiment's name; as they follow each other there: by the alphabet
    "hands-sweeps": ("best/miou", "trials/complete"),
    "hands-bench": (),
}
OF_RECIPES = ("test/miou", "train/seconds", "val/miou")


def offer_scores(experiment_id: str) -> None:
    """Gives an experiment the saved view `scores`, whose columns are scores: without one, the table shows no metric. A view
    of this name that is there stays; an experiment that may not be changed goes without."""
    with suppress(MlflowException):
        experiment = MlflowClient().get_experiment(experiment_id)
        if VIEW_TAG + SCORES not in experiment.tags:
            metrics = [f"metrics.`{name}`" for name in COLUMNS.get(experiment.name, OF_RECIPES)]
            state = {"selectedColumns": ["attributes.`Created`", "attributes.`Duration`", *metrics]}
            view = {"name": SCORES, "createdAt": int(1000 * time.time()), "state": json.dumps(state)}
            MlflowClient().set_experiment_tag(experiment_id, VIEW_TAG + SCORES, json.dumps(view))
