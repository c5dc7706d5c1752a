"""Where runs stand in MLflow: their experiment, what its page says, and the addresses of the pages that show them."""

import os

import mlflow
from mlflow import MlflowClient
from mlflow.entities import Experiment
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import RESOURCE_ALREADY_EXISTS, ErrorCode

from hands.processes.origin import LAUNCHED
from hands.tracking.views import SCORES, VIEW_TAG

DEFAULT = "0"  # where `mlflow run` makes runs for which no experiment is named
NOTE_TAG = "mlflow.note.content"
SHOWN_BY = "hands.run"  # tag of such a run: the run in the right experiment that took its place

_READING = (
    "`test/miou` and `val/miou` are the mean IoU over the parts of each hand that can be seen to be there, 0 to 1, higher is "
    "better; `miou_overlap` is where both hands lie over each other; `absent_hand` is the share of absent hands that are "
    "painted all the same, lower is better. Scores on different datasets cannot be compared: compare runs of one digest."
)
NOTES = {
    "hands": (
        "Datasets, trainings, evaluations, predictions, comparisons. A row *main*, *full* or *dryrun* is the whole method: its "
        "own page says what came out, its steps are the rows below it (+). The tab *Models* lists what was trained.\n\n"
        + _READING
    ),
    "hands-sweeps": (
        "A row is a sweep of Optuna, the rows below it its trials: `best/miou` is the best `val/miou` among them. A sweep's "
        "`best_params.json` is what `params_from` takes.\n\n" + _READING
    ),
    "hands-study": (
        "A row is a study, the rows below it its arms, each with one share of the labels and one seed.\n\n" + _READING
    ),
    "hands-bench": (
        "A row is a measurement of rates on one machine: `bench/<line>/<what>/ratio` is a rate as a share of the one it is "
        "compared with in the same run. Compare rows of one machine only."
    ),
}
OF_ENTRY_POINT = {"sweep": "hands-sweeps", "study": "hands-study", "bench": "hands-bench"}  # all others: hands


def own_place(entry_point: str) -> str | None:
    """The experiment for a run of an entry point; None where the user, or the step that this one belongs to, has chosen one."""
    return None if _is_chosen() else _experiment(OF_ENTRY_POINT.get(entry_point, "hands"))


def _is_chosen() -> bool:
    run_id = os.environ.get("MLFLOW_RUN_ID")
    if os.environ.get("MLFLOW_EXPERIMENT_NAME"):
        return True
    if run_id is None:
        return os.environ.get("MLFLOW_EXPERIMENT_ID", DEFAULT) != DEFAULT
    if run_id != os.environ.get(LAUNCHED):
        return True
    launched = MlflowClient().get_run(run_id)
    return launched.info.experiment_id != DEFAULT or "mlflow.parentRunId" in launched.data.tags


def moved(experiment_id: str) -> str | None:
    """Puts a run into the experiment in the place of the one that `mlflow run` has made elsewhere, if it has; returns its id.

    MLflow cannot move a run. The first one then only points to the second; afterwards.py deletes it once `mlflow run`, which
    will still write its state, has ended.
    """
    run_id = os.environ.pop("MLFLOW_RUN_ID", None)
    if run_id is None:
        return None
    client = MlflowClient()
    launched = client.get_run(run_id)
    kept = {name: value for name, value in launched.data.tags.items() if name != SHOWN_BY}
    made = client.create_run(experiment_id, launched.info.start_time, kept, launched.info.run_name).info.run_id
    client.set_tag(run_id, SHOWN_BY, made)
    client.set_tag(run_id, NOTE_TAG, f"In [its own experiment]({run_page(experiment_id, made)}).")
    return made


def _experiment(name: str) -> str:
    """The id of the experiment of that name, made where it is not there."""
    client = MlflowClient()
    found = client.get_experiment_by_name(name)
    if found is not None:
        return found.experiment_id
    try:
        return client.create_experiment(name, _artifacts_beside_default(name), {NOTE_TAG: NOTES[name]})
    except MlflowException as error:
        if error.error_code != ErrorCode.Name(RESOURCE_ALREADY_EXISTS):
            raise
        return client.get_experiment_by_name(name).experiment_id  # another process was faster


def _artifacts_beside_default(name: str) -> str | None:
    """A folder for artifacts beside that of the experiment that MLflow makes itself: alone, it would take the folder that this
    process runs in, which may be a temporary clone. A server knows its own."""
    if mlflow.get_tracking_uri().startswith("http"):
        return None
    default: Experiment | None = MlflowClient().get_experiment(DEFAULT)
    return None if default is None else f"{default.artifact_location.rsplit('/', 1)[0]}/{name}"


def runs_page(experiment_id: str) -> str:
    """Below the UI's address: an experiment's runs, with their scores where it is one of the project's. Without workflowType
    MLflow (3.17.2) opens a page about agents."""
    has_view = VIEW_TAG + SCORES in MlflowClient().get_experiment(experiment_id).tags
    view = f"&viewStateShareKey={SCORES}" if has_view else ""
    return f"#/experiments/{experiment_id}/runs?workflowType=machine_learning{view}"


def run_page(experiment_id: str, run_id: str) -> str:
    return f"#/experiments/{experiment_id}/runs/{run_id}?workflowType=machine_learning"


def model_page(experiment_id: str, model_id: str) -> str:
    return f"#/experiments/{experiment_id}/models/{model_id}?workflowType=machine_learning"
