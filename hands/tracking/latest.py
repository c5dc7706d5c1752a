"""What a step works with where it is not told: the packed set and the models of the last finished main, or of the run that made
a given model, or that goes on. Free of torch."""

import json
import shlex
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import mlflow
from mlflow import MlflowClient
from mlflow.entities import Dataset, Run
from mlflow.exceptions import MlflowException

from hands.errors import InvalidInput
from hands.packed.manifest import read_manifest
from hands.tracking import ENTRY_POINT_TAG, OUTPUT_TAG, TAKEN_TAG
from hands.tracking.models import model_id_of, refusing

PIPELINES = ("main", "full")  # a dry run's networks are of no use
PACKED_DIR = "packed_dir"
OUTPUTS = {"g1_model": "g1_model", "d_model": "discriminator_model"}  # parameter -> what a step calls its output


@dataclass(frozen=True)
class Origin:
    """Runs that have what a step may work with.

    Attributes:
        said: whose they are, for people.
        runs: the one that is asked first comes first.
    """

    said: str
    runs: tuple[Run, ...]

    def find(self, name: str) -> str | None:
        """The value of a parameter, packed_dir, g1_model or d_model; None where the runs have none.

        Raises:
            InvalidInput: the packed set is gone, or another one lies in its place.
        """
        if name == PACKED_DIR:
            return self._packed_dir() if self._datasets() else None
        tag = OUTPUT_TAG + OUTPUTS[name]
        return next((run.data.tags[tag] for run in self.runs if tag in run.data.tags), None)

    @property
    def digest(self) -> str:
        """Of the packed set; empty where the runs have none."""
        return next((dataset.digest for dataset in self._datasets()), "")

    def _datasets(self) -> list[Dataset]:
        return [found.dataset for run in self.runs if run.inputs for found in run.inputs.dataset_inputs]

    def _packed_dir(self) -> str:
        places = [json.loads(dataset.source)["uri"] for dataset in self._datasets() if dataset.digest == self.digest]
        for place in places:
            if _digest_of(place) == self.digest:
                return place
        found = "is gone" if _digest_of(places[0]) is None else "has been replaced by another one"
        raise InvalidInput(
            f"the packed set of {self.said} {found} (it was in {places[0]}, digest {self.digest}); pass {PACKED_DIR}=... with "
            f"a copy of it or with the set that is wanted, or run main again."
        )


@dataclass(frozen=True)
class Begun:
    """A run that goes on: with what it has begun with."""

    run: Run

    @property
    def said(self) -> str:
        return f"run {self.run.info.run_id[:6]}, which goes on"

    def find(self, name: str) -> str | None:
        if name == PACKED_DIR:
            return Origin(self.said, (self.run,)).find(name)
        return self.run.data.tags.get(TAKEN_TAG + name) or _unquoted(self.run.data.params.get(name, "")) or None


def last_pipeline() -> Origin | None:
    """What the last finished main or full of all experiments has; None where there is none."""
    found = []
    for name in PIPELINES:
        query = f"attributes.status = 'FINISHED' and tags.`{ENTRY_POINT_TAG}` = '{name}'"
        found += mlflow.search_runs(
            search_all_experiments=True, filter_string=query, order_by=["attributes.end_time DESC"], max_results=1,
            output_format="list",
        )  # fmt: skip
    if not found:
        return None
    last = max(found, key=lambda run: run.info.end_time)
    return Origin(f"{last.data.tags[ENTRY_POINT_TAG]} {_known_by(last)}", tuple(steps_of(last)))


def origin_of(model: str) -> Origin | None:
    """What the run that made a model has, and the other steps of its pipeline; None for a folder, which does not say.

    Raises:
        InvalidInput: there is no such model.
    """
    with refusing(model):
        model_id = model_id_of(model)
        if model_id is None:
            return None
        maker = MlflowClient().get_run(mlflow.get_logged_model(model_id).source_run_id)
    parent = maker.data.tags.get("mlflow.parentRunId")
    steps = steps_of(run_of(parent)) if parent else []
    return Origin(f"{model}, made by {maker.info.run_name} {_known_by(maker)}", (maker, *steps))


def steps_of(pipeline: Run) -> list[Run]:
    """A pipeline's finished steps, those that it has reused among them, in order."""
    query = f"attributes.status = 'FINISHED' and tags.`mlflow.parentRunId` = '{pipeline.info.run_id}'"
    found = mlflow.search_runs([pipeline.info.experiment_id], filter_string=query, output_format="list")
    reused = [value for tag, value in pipeline.data.tags.items() if tag.startswith("hands.reused.")]
    return sorted([*found, *map(run_of, reused)], key=lambda step: step.info.start_time)


def run_of(run_id: str) -> Run:
    try:
        return MlflowClient().get_run(run_id)
    except MlflowException as error:
        raise InvalidInput(f"there is no run {run_id} here; give the id of a run of main, full or a training step.") from error


def _known_by(run: Run) -> str:
    when = datetime.fromtimestamp((run.info.end_time or run.info.start_time) / 1000)
    return f"{run.info.run_id[:6]}, {when:%Y-%m-%d %H:%M}"


def _digest_of(place: str) -> str | None:
    try:
        return read_manifest(Path(place)).digest
    except InvalidInput:
        return None


def _unquoted(value: str) -> str:
    """A parameter as the user gave it: `mlflow run` logs it as it stands on the shell's line."""
    return "".join(shlex.split(value)) if value.startswith("'") else value
