"""Everything that goes to MLflow, and the names it goes under: here what a run holds, beside it its models (models), the
runs of steps (steps), a training step's epochs (recorder, outbox), and how the table of runs shows them (views). May import
pictures, packed, networks and what they rest on. Read this file first."""

import logging
import os
import platform
import re
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib import metadata
from pathlib import Path

import mlflow
import numpy as np
from mlflow import MlflowClient
from mlflow.data.dataset_source_registry import resolve_dataset_source
from mlflow.data.meta_dataset import MetaDataset
from mlflow.entities import Metric
from mlflow.exceptions import MlflowException

from hands.errors import InvalidInput, masked
from hands.packed.manifest import Manifest
from hands.parts import PART_SCORES
from hands.processes.identity import is_gone, this_place, this_process
from hands.processes.processors import allowed_processors
from hands.tracking.experiments import DEFAULT, SHOWN_BY, moved, own_place
from hands.tracking.provenance import log_sources
from hands.tracking.views import offer_scores

ROOT = Path(__file__).resolve().parents[2]
GENERATED_NAME = re.compile(r"[a-z]+-[a-z]+-\d+")  # as MLflow calls runs that are given none: bold-fish-123
PROCESS_TAG, RESUMES_TAG = "hands.process", "hands.resumes"
ENTRY_POINT_TAG = "hands.entry_point"
STEP_TAG = "hands.step"  # of a pipeline's step: what the pipeline calls it
FAILURE_TAG = "hands.failure"
WARNING_TAG = "hands.warning"
OUTPUT_TAG, DIGEST_TAG = "hands.output.", "hands.digest."
COVERAGE_TAG = "hands.coverage."
SCORE_TAG = "score"  # the headline in words, where a page shows tags before metrics
TAKEN_TAG = "hands.taken."
EMPTY = "''"  # as `mlflow run` logs a parameter that is
BRIEF_S = 10

_begun: mlflow.ActiveRun | None = None
_pointers: set[str] = set()

logging.getLogger("mlflow.system_metrics").setLevel(logging.WARNING)  # it reports every start and stop
logging.getLogger("mlflow.pyfunc").setLevel(logging.WARNING)  # and every look at an input example
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")  # a bar for every two files of a model


@contextmanager
def run(
    entry_point: str, params: dict[str, object], resumed: str | None = None, system_metrics: bool = True
) -> Iterator[mlflow.ActiveRun]:
    """The MLflow run of an entry point: parameters, environment, system metrics.

    It ends FAILED with the reason on an error, and KILLED when it was interrupted (Ctrl-C, SIGTERM). Where the tracking
    server is away at its end, it cannot be ended: the next run on this machine does so.

    Args:
        resumed: the run that goes on; the one that `mlflow run` has made for this call then only points to it.
        system_metrics: whether the machine's load is logged; MLflow shows it before all else.
    """
    global _begun
    end_dead_runs()
    tags = {PROCESS_TAG: this_process(), ENTRY_POINT_TAG: entry_point}
    given = os.environ.get("MLFLOW_RUN_ID")
    if resumed:
        _point_to(resumed)
        experiment, tags[FAILURE_TAG] = None, ""
    else:
        experiment = own_place(entry_point)
    run_id = resumed if experiment is None else moved(experiment)
    if given not in (None, run_id) and (resumed or experiment is not None):
        _pointers.add(given)
    active = mlflow.start_run(run_id=run_id, experiment_id=experiment, tags=tags, log_system_metrics=system_metrics)
    _begun = active
    try:
        offer_scores(active.info.experiment_id)
        if GENERATED_NAME.fullmatch(active.info.run_name):  # else the pipeline or the user has named it
            MlflowClient().update_run(active.info.run_id, name=entry_point)
        _hide_what_is_shown({active.info.run_id, given or active.info.run_id})
        # `mlflow run` has logged the parameters that it passed, in its own spelling, which cannot be changed
        known = MlflowClient().get_run(active.info.run_id).data
        mlflow.log_params({name: masked(str(value)) for name, value in params.items() if name not in known.params})
        if not resumed:
            taken = [name for name, value in params.items() if str(value) and known.params.get(name) == EMPTY]
            mlflow.set_tags({TAKEN_TAG + name: masked(str(params[name])) for name in taken})
        mlflow.log_dict(environment(), "environment.json")
        yield active
    except BaseException as error:
        with brief_requests():
            with suppress(MlflowException):
                mlflow.set_tag(FAILURE_TAG, masked(f"{type(error).__name__}: {error}")[:4000])
            with suppress(MlflowException):
                mlflow.end_run("KILLED" if isinstance(error, KeyboardInterrupt) else "FAILED")
        raise
    mlflow.end_run()


def name_run(name: str) -> None:
    """Names the active run by what it does, where neither the pipeline nor the user has named it."""
    known = MlflowClient().get_run(mlflow.active_run().info.run_id)
    if known.info.run_name == known.data.tags[ENTRY_POINT_TAG] and STEP_TAG not in known.data.tags:
        MlflowClient().update_run(known.info.run_id, name=name)


def begun() -> mlflow.ActiveRun | None:
    """The run that this process has begun last, ended or not."""
    return _begun


def pointers() -> set[str]:
    """Runs that `mlflow run` has made and that this process has begun another one for."""
    return _pointers


def fail_early(entry_point: str, params: dict[str, object], error: Exception) -> None:
    """Gives the run that `mlflow run` or a pipeline has made a name and the reason, where the entry point has not begun it."""
    if _begun is None and "MLFLOW_RUN_ID" in os.environ:
        with suppress(type(error), MlflowException), run(entry_point, params):
            raise error


def _hide_what_is_shown(run_ids: set[str]) -> None:
    """Passwords in URLs that `mlflow run` was given: parameters, and where the project comes from, which is a tag."""
    client, shown = MlflowClient(), []
    for run_id in run_ids:
        logged = client.get_run(run_id).data
        for name, value in logged.tags.items():
            if masked(value) != value:
                client.set_tag(run_id, name, masked(value))
        shown += [name for name, value in logged.params.items() if masked(value) != value]
    if shown:
        raise InvalidInput(
            f"`mlflow run` has logged {', '.join(shown)} with a password in it, for everyone to read: change the password, and "
            f"give the new one in PGPASSWORD or ~/.pgpass, not in the URL."
        )


@contextmanager
def brief_requests(timeout_s: int = BRIEF_S) -> Iterator[None]:
    """Requests to a tracking server that is away fail in seconds, instead of after MLflow's four minutes of retries."""
    variables = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0", "MLFLOW_HTTP_REQUEST_TIMEOUT": str(timeout_s)}
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})


def _point_to(resumed: str) -> None:
    pointer = os.environ.pop("MLFLOW_RUN_ID", resumed)
    if pointer != resumed:
        client = MlflowClient()
        client.set_tag(pointer, RESUMES_TAG, resumed)
        if client.get_run(pointer).info.experiment_id == DEFAULT:
            client.set_tag(pointer, SHOWN_BY, resumed)
        client.update_run(pointer, status="FINISHED", name=f"resumes {resumed[:8]}")


def end_dead_runs() -> None:
    """Ends, as KILLED, this user's runs here that still say RUNNING though their process is gone (kill -9, a crash). Those that
    the server does not let it see or end stay as they are."""
    with brief_requests(), suppress(MlflowException):
        for found in mlflow.search_runs(
            search_all_experiments=True,
            filter_string=f"attributes.status = 'RUNNING' and tags.`{PROCESS_TAG}` LIKE '{this_place()} %'",
            output_format="list",
        ):
            if is_gone(found.data.tags[PROCESS_TAG]):
                with suppress(MlflowException):
                    MlflowClient().set_terminated(found.info.run_id, "KILLED")


def environment() -> dict:
    """Versions of Python, this machine and every installed package."""
    packages = {d.metadata["Name"]: d.version for d in metadata.distributions()}
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "processors": allowed_processors(),
        "packages": dict(sorted(packages.items(), key=lambda item: item[0].lower())),
    }


def log_dataset(folder: Path, manifest: Manifest, context: str) -> MetaDataset:
    """Ties the run to a packed set, by its digest, and says what it is made of."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The specified dataset source can be interpreted in multiple ways")
        source = resolve_dataset_source(str(folder.resolve()))
    dataset = MetaDataset(source=source, name=folder.name, digest=manifest.digest)
    counts = {f"records.{name}": str(subset.count) for name, subset in manifest.subsets.items()}
    mlflow.log_input(dataset, context=context, tags=counts)
    log_sources(manifest.sources)
    return dataset


def log_coverage(split: str, lines: list[str], printed: bool = True) -> None:
    """Says what of a split can be scored (hands.evaluation.coverage): printed, and as a tag of the run."""
    for line in lines if printed else ():
        print(f"== {line}", flush=True)
    if lines:
        mlflow.set_tag(COVERAGE_TAG + split, "\n".join(lines))


def log_output(name: str, value: str) -> None:
    """Names what a step made, for the steps after it: a model's URI, say."""
    mlflow.set_tag(OUTPUT_TAG + name, value)


def log_output_folder(name: str, folder: str, digest: str | None) -> None:
    """Names a folder that a step made; digest: of what is in it, where a later step follows from that."""
    log_output(name, str(Path(folder).resolve()))
    if digest is not None:
        mlflow.set_tag(DIGEST_TAG + name, digest)


def log_scores(values: dict[str, float], split: str, dataset: MetaDataset, model_id: str | None) -> None:
    """A split's scores, tied to the dataset and, but for those of single parts, to the model."""
    of_parts = {f"{split}/{name}": value for name, value in values.items() if name in PART_SCORES}
    scores = {f"{split}/{name}": value for name, value in values.items() if name not in PART_SCORES}
    log_metrics(scores, 0, dataset, model_id)
    log_metrics(of_parts, 0, dataset, None)


def log_metrics(metrics: dict[str, float], step: int, dataset: MetaDataset, model_id: str | None) -> None:
    """One request for many metrics of the active run."""
    entries = finite_metrics(metrics, step, dataset, model_id)
    MlflowClient().log_batch(mlflow.active_run().info.run_id, metrics=entries)


def finite_metrics(metrics: dict[str, float], step: int, dataset: MetaDataset, model_id: str | None) -> list[Metric]:
    """Metrics as MLflow takes them; a score that nothing could be judged for (NaN) is left out."""
    now = int(time.time() * 1000)
    return [
        Metric(name, value, now, step, model_id, dataset.name, dataset.digest)
        for name, value in metrics.items()
        if np.isfinite(value)
    ]
