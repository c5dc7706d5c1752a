"""The runs of a pipeline's steps: which are finished and can be reused, which were broken off and can go on."""

from collections.abc import Mapping
from pathlib import Path

import mlflow
from mlflow import MlflowClient
from mlflow.entities import Run
from mlflow.exceptions import MlflowException

from hands.errors import InvalidInput
from hands.packed.manifest import read_manifest
from hands.processes.identity import is_gone, this_process
from hands.raw.digest import content_digest
from hands.tracking import DIGEST_TAG, ENTRY_POINT_TAG, OUTPUT_TAG, PROCESS_TAG, ROOT, STEP_TAG
from hands.tracking.code import code_digest
from hands.tracking.keys import step_key
from hands.training.claim import first_free, has_checkpoint

STEP_KEY_TAG = "hands.step_key"
CODE_TAG = "hands.code"  # hands.tracking.code.code_digest, which is part of the key


def find_finished(key: str) -> Run | None:
    """The newest finished run of a step with this key, whose outputs are still there, and still what it made."""
    found = mlflow.search_runs(
        search_all_experiments=True,
        filter_string=f"attributes.status = 'FINISHED' and tags.`{STEP_KEY_TAG}` = '{key}'",
        output_format="list",
    )
    return next((run for run in found if _is_whole(run)), None)


def note_code(entry_point: str) -> None:
    """Writes down the code that the active run begins with; one that goes on has it already."""
    code = code_digest(entry_point)
    if CODE_TAG not in mlflow.active_run().data.tags:
        mlflow.set_tag(CODE_TAG, code)


def log_step_key(entry_point: str, params: Mapping[str, object], known: Mapping[str, str]) -> None:
    """Lets the active run, of a step that was started by itself and has made its result, be found as a pipeline's.

    A pipeline's step has its key from the beginning. A run that was gone on with by other code has none.

    Args:
        params, known: see step_key.
    """
    code = code_digest(entry_point)
    tags = MlflowClient().get_run(mlflow.active_run().info.run_id).data.tags
    if STEP_KEY_TAG not in tags and tags.get(CODE_TAG) == code:
        mlflow.set_tag(STEP_KEY_TAG, step_key(entry_point, code, params, known))


def step_folder(entry_point: str, key: str) -> str:
    """Name of the folder that a pipeline lets a step make: no other step's, so that what is there is what it would make."""
    return f"{entry_point}-{key[:12]}"


def is_made(folder: str) -> bool:
    """Whether the active run's step has nothing to make: a run of the same step was killed after it had made the folder."""
    tags = mlflow.active_run().data.tags
    own = STEP_KEY_TAG in tags and Path(folder).name == step_folder(tags[ENTRY_POINT_TAG], tags[STEP_KEY_TAG])
    return own and Path(folder).exists()


def find_unfinished(key: str, checkpoint_dir: str) -> str | None:
    """The newest run of a step with this key that was broken off, left a checkpoint and is not being trained; its id."""
    found = mlflow.search_runs(
        search_all_experiments=True,
        filter_string=f"attributes.status != 'FINISHED' and tags.`{STEP_KEY_TAG}` = '{key}'",
        output_format="list",
    )
    return _first_free(found, checkpoint_dir)


def run_to_resume(entry_point: str, resume: str, checkpoint_dir: str) -> str:
    """The id of the run that `resume` names: a run id, or "latest" for the newest of this entry point that has a checkpoint and
    that no living process trains.

    Raises:
        InvalidInput: there is no such run, or it has no checkpoint.
    """
    if resume == "latest":
        runs = mlflow.search_runs(
            search_all_experiments=True,
            filter_string=f"attributes.status != 'FINISHED' and tags.`{ENTRY_POINT_TAG}` = '{entry_point}'",
            output_format="list",
        )
        found = _first_free(runs, checkpoint_dir)
        if found is None:
            raise InvalidInput(
                f"no unfinished run of {entry_point} has a checkpoint in {checkpoint_dir} and waits to go on; start one "
                f"without resume."
            )
        return found
    try:
        run = MlflowClient().get_run(resume)
    except MlflowException as error:
        raise InvalidInput(f"resume is '{resume}', which is no run here; expected a run id, or latest.") from error
    if run.info.status == "FINISHED":
        raise InvalidInput(f"run {resume} is finished; there is nothing to go on with.")
    if not has_checkpoint(Path(checkpoint_dir) / resume):
        raise InvalidInput(f"run {resume} has no checkpoint in {checkpoint_dir}; give its checkpoint_dir, or start anew.")
    return resume


def _first_free(runs: list[Run], checkpoint_dir: str) -> str | None:
    folder = first_free(Path(checkpoint_dir) / run.info.run_id for run in runs)
    return None if folder is None else folder.name


def outputs(run_id: str) -> dict[str, str]:
    """What a step's log_output named."""
    return named(MlflowClient().get_run(run_id), OUTPUT_TAG)


def named(run: Run, prefix: str) -> dict[str, str]:
    """A run's tags that begin so, by the rest of their names."""
    return {name.removeprefix(prefix): value for name, value in run.data.tags.items() if name.startswith(prefix)}


def _is_whole(run: Run) -> bool:
    digests = named(run, DIGEST_TAG)
    return all(_still_there(name, value, digests.get(name)) for name, value in named(run, OUTPUT_TAG).items())


def _still_there(name: str, output: str, digest: str | None) -> bool:
    """Whether a model or a folder is there; of a folder whose digest was written down, whether it is the same as then."""
    try:
        if output.startswith("models:/"):
            return bool(mlflow.artifacts.list_artifacts(artifact_uri=output))
        if digest is not None:
            return FOLDER_DIGESTS[name](Path(output)) == digest
        return not output.startswith("/") or Path(output).exists()
    except (MlflowException, OSError, InvalidInput):
        return False


def packed_digest(folder: Path) -> str:
    return read_manifest(folder).digest


FOLDER_DIGESTS = {"data_dir": content_digest, "packed_dir": packed_digest}


def create_step_run(entry_point: str, run_name: str, key: str) -> str:
    """A run below the active one, for a process that is started with its id; returns the id."""
    parent = mlflow.active_run().info
    tags = {
        "mlflow.parentRunId": parent.run_id,
        "mlflow.project.entryPoint": entry_point,
        "mlflow.source.type": "PROJECT",
        "mlflow.source.name": str(ROOT),
        STEP_TAG: run_name,
        STEP_KEY_TAG: key,
        CODE_TAG: code_digest(entry_point),
        PROCESS_TAG: this_process(),  # until the step's own process has begun
    }
    of_parent = MlflowClient().get_run(parent.run_id).data.tags
    tags |= {name: of_parent[name] for name in ("mlflow.source.git.commit", "mlflow.user") if name in of_parent}
    return MlflowClient().create_run(parent.experiment_id, run_name=run_name, tags=tags).info.run_id


def adopt_step_run(run_id: str) -> None:
    """Moves a run that goes on below the active one."""
    MlflowClient().set_tag(run_id, "mlflow.parentRunId", mlflow.active_run().info.run_id)


def end_step_run(run_id: str, status: str) -> None:
    """Ends a step's run whose process died without doing so; not one that another process has gone on with."""
    run = MlflowClient().get_run(run_id)
    process = run.data.tags.get(PROCESS_TAG, "")
    if run.info.status == "RUNNING" and (process == this_process() or is_gone(process)):
        MlflowClient().set_terminated(run_id, status)
