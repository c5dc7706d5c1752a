"""Models to compare, named in one line: where each comes from, what it was trained with, for how long, and how it learned."""

import re
from dataclasses import dataclass

import mlflow
from mlflow import MlflowClient
from mlflow.entities import Run
from mlflow.exceptions import MlflowException

from hands.errors import InvalidInput
from hands.tracking import ENTRY_POINT_TAG, OUTPUT_TAG
from hands.tracking.latest import run_of, steps_of
from hands.tracking.models import model_id_of

RUN_ID = re.compile(r"[0-9a-f]{32}")
EXPERIMENT = "experiment:"
RECIPES = ("main", "dryrun", "full")
SCORE = "val/miou"
# what may differ between seeds of one configuration: the seed, where things lie, what the steps before have made
NOT_CONFIGURATION = re.compile(
    r"seed|resume|recipe|registered_model|workers|\w+_dir|checkpoint_\w+|\w+_model|params_from|data_residency|eval_batch_size"
)


@dataclass(frozen=True)
class Candidate:
    """One model.

    Attributes:
        name: as it was asked for, or its run's name and the beginning of its id.
        uri: MLflow URI of the model, or a folder.
        step: that made it: its name in the pipeline, or its entry point where it was run alone; empty for a folder.
        params: parameters of that pipeline, or of the step where it was run alone; empty for a folder.
        seconds: that its training took, and that of the steps before it in the pipeline; NaN for a folder.
        curve: (epoch, val/miou) of its step.
        dataset_digest: of the packed set that it was trained on; empty for a folder.
    """

    name: str
    uri: str
    step: str
    params: dict[str, str]
    seconds: float
    curve: list[tuple[int, float]]
    dataset_digest: str

    @property
    def configuration(self) -> tuple:
        """What seeds of one configuration share; of a folder its name alone."""
        kept = [(key, value) for key, value in self.params.items() if not NOT_CONFIGURATION.fullmatch(key)]
        return (self.step, *sorted(kept)) if self.step else (self.uri,)


def find_candidates(models: str) -> list[Candidate]:
    """The models that a comma list names: MLflow URIs, ids of runs (of main, full, or a training step), folders, or
    `experiment:<name or id>` for every finished main, dryrun or full of an experiment.

    Raises:
        InvalidInput: one of them is not there, or fewer than two models are named.
    """
    found = []
    for word in filter(None, map(str.strip, models.split(","))):
        if word.startswith(EXPERIMENT):
            found += [_of_run(run) for run in _finished_recipes(word.removeprefix(EXPERIMENT))]
        elif RUN_ID.fullmatch(word):
            found.append(_of_run(run_of(word)))
        else:
            found.append(_of_uri(word, word.removeprefix("models:/")))
    if len(found) < 2:
        raise InvalidInput(
            f"models is '{models}', which names {len(found)} models; expected two or more with commas between: "
            f"models:/hands-g2@champion, ids of runs, or {EXPERIMENT}<name> for all finished runs of main in it."
        )
    return found


def _finished_recipes(experiment: str) -> list[Run]:
    client = MlflowClient()
    found = client.get_experiment_by_name(experiment)
    if found is None and experiment.isdecimal():
        found = client.get_experiment(experiment)
    if found is None:
        names = ", ".join(known.name for known in client.search_experiments())
        raise InvalidInput(f"there is no experiment '{experiment}' here; expected one of {names}.")
    runs = mlflow.search_runs(
        [found.experiment_id],
        filter_string="attributes.status = 'FINISHED'",
        output_format="list",
        order_by=["start_time ASC"],
    )
    return [run for run in runs if run.data.tags.get(ENTRY_POINT_TAG) in RECIPES]


def _of_run(run: Run) -> Candidate:
    name = f"{run.info.run_name} {run.info.run_id[:6]}"
    steps = [*steps_of(run), run]
    for tag in ("g2_model", "g1_model"):
        outputs = [step.data.tags[OUTPUT_TAG + tag] for step in steps if OUTPUT_TAG + tag in step.data.tags]
        if outputs:
            return _of_uri(outputs[-1], name)
    raise InvalidInput(f"run {run.info.run_id} ({run.info.run_name}) has logged no G1 or G2; give another run, or a model.")


def _of_uri(uri: str, name: str) -> Candidate:
    try:
        model_id = model_id_of(uri)
    except (MlflowException, OSError, ValueError) as error:
        reason = str(error).splitlines()[0]
        expected = "expected a URI such as models:/hands-g2@champion"
        raise InvalidInput(f"the model '{uri}' cannot be had ({reason}); {expected}.") from error
    if model_id is None:
        return Candidate(name, uri, "", {}, float("nan"), [], "")
    step = run_of(mlflow.get_logged_model(model_id).source_run_id)
    parent = step.data.tags.get("mlflow.parentRunId")
    whole = run_of(parent) if parent else step
    before = [child for child in steps_of(whole) if child.info.start_time < step.info.start_time]
    trained = [child for child in before if child.data.tags.get(ENTRY_POINT_TAG, "").startswith("phase")]
    seconds = sum((child.info.end_time - child.info.start_time) / 1000 for child in [*trained, step])
    curve = [(point.step, point.value) for point in MlflowClient().get_metric_history(step.info.run_id, SCORE)]
    inputs = step.inputs.dataset_inputs
    digest = inputs[0].dataset.digest if inputs else ""
    made_by = step.info.run_name if parent else step.data.tags.get(ENTRY_POINT_TAG, step.info.run_name)
    return Candidate(name, uri, made_by, dict(whole.data.params), seconds, curve, digest)
