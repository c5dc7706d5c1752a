"""Everything that goes to MLflow, and the names it goes under: here what a run holds, beside it its models (models), the
runs of steps (steps), and a training step's epochs (recorder, outbox). May import pictures, packed, networks and what they rest
on. Read this file first."""

import logging
import os
import platform
import re
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

import mlflow
import numpy as np
from mlflow import MlflowClient
from mlflow.data.dataset_source_registry import resolve_dataset_source
from mlflow.data.meta_dataset import MetaDataset
from mlflow.entities import Metric, RunData
from mlflow.exceptions import MlflowException

from hands.errors import InvalidInput, masked
from hands.processes.identity import is_gone, this_place, this_process
from hands.processes.processors import allowed_processors
from hands.tracking.provenance import log_sources

if TYPE_CHECKING:  # the pipeline's own process needs neither torch nor what rests on it
    from hands.packed.packed_set import PackedSet

ROOT = Path(__file__).resolve().parents[2]
GENERATED_NAME = re.compile(r"[a-z]+-[a-z]+-\d+")  # as MLflow calls runs that are given none: bold-fish-123
PROCESS_TAG, RESUMES_TAG = "hands.process", "hands.resumes"
ENTRY_POINT_TAG = "hands.entry_point"
FAILURE_TAG = "hands.failure"
WARNING_TAG = "hands.warning"
OUTPUT_TAG, DIGEST_TAG = "hands.output.", "hands.digest."
COVERAGE_TAG = "hands.coverage."
TAKEN_TAG = "hands.taken."
EMPTY = "''"  # as `mlflow run` logs a parameter that is
BRIEF_S = 10

logging.getLogger("mlflow.system_metrics").setLevel(logging.WARNING)  # it reports every start and stop
logging.getLogger("mlflow.pyfunc").setLevel(logging.WARNING)  # and every look at an input example
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")  # a bar for every two files of a model


@contextmanager
def run(entry_point: str, params: dict[str, object], resumed: str | None = None) -> Iterator[mlflow.ActiveRun]:
    """The MLflow run of an entry point: parameters, environment, system metrics.

    It ends FAILED with the reason on an error, and KILLED when it was interrupted (Ctrl-C, SIGTERM). Where the tracking
    server is away at its end, it cannot be ended: the next run on this machine does so.

    Args:
        resumed: the run that goes on; the one that `mlflow run` has made for this call then only points to it.
    """
    end_dead_runs()
    if resumed:
        _point_to(resumed)
    tags = {PROCESS_TAG: this_process(), ENTRY_POINT_TAG: entry_point}
    if resumed:
        tags[FAILURE_TAG] = ""
    active = mlflow.start_run(run_id=resumed, tags=tags, log_system_metrics=True)
    try:
        if GENERATED_NAME.fullmatch(active.info.run_name):  # else the pipeline or the user has named it
            MlflowClient().update_run(active.info.run_id, name=entry_point)
        # `mlflow run` has logged the parameters that it passed, in its own spelling, which cannot be changed
        known = MlflowClient().get_run(active.info.run_id).data
        _hide_what_is_shown(known)
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


def _hide_what_is_shown(logged: RunData) -> None:
    """Passwords in URLs that `mlflow run` was given: parameters, and where the project comes from, which is a tag."""
    for name, value in logged.tags.items():
        if masked(value) != value:
            mlflow.set_tag(name, masked(value))
    shown = [name for name, value in logged.params.items() if masked(value) != value]
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
        MlflowClient().set_tag(pointer, RESUMES_TAG, resumed)
        MlflowClient().update_run(pointer, status="FINISHED", name=f"resumes {resumed[:8]}")


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


def log_dataset(packed: "PackedSet", context: str) -> MetaDataset:
    """Ties the run to the packed set, by its digest, and says what it is made of."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The specified dataset source can be interpreted in multiple ways")
        source = resolve_dataset_source(str(packed.folder.resolve()))
    dataset = MetaDataset(
        source=source,
        name=packed.folder.name,
        digest=packed.manifest.digest,
    )
    counts = {f"records.{name}": str(subset.count) for name, subset in packed.manifest.subsets.items()}
    mlflow.log_input(dataset, context=context, tags=counts)
    log_sources(packed.manifest.sources)
    return dataset


def log_coverage(split: str, lines: list[str]) -> None:
    """Says what of a split can be scored (hands.evaluation.coverage): printed, and as a tag of the run."""
    for line in lines:
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
    """A split's scores, tied to the model and the dataset."""
    log_metrics({f"{split}/{name}": value for name, value in values.items()}, 0, dataset, lambda name: model_id)


def log_metrics(metrics: dict[str, float], step: int, dataset: MetaDataset, model_id_of_metric: Callable) -> None:
    """One request for many metrics of the active run."""
    entries = finite_metrics(metrics, step, dataset, model_id_of_metric)
    MlflowClient().log_batch(mlflow.active_run().info.run_id, metrics=entries)


def finite_metrics(
    metrics: dict[str, float], step: int, dataset: MetaDataset, model_id_of_metric: Callable
) -> list[Metric]:
    """Metrics as MLflow takes them; a score that nothing could be judged for (NaN) is left out."""
    now = int(time.time() * 1000)
    return [
        Metric(name, value, now, step, model_id_of_metric(name), dataset.name, dataset.digest)
        for name, value in metrics.items()
        if np.isfinite(value)
    ]
