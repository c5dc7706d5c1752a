"""What nothing that is there needs any more: folders of earlier code, checkpoints that nobody goes on with, downloads."""

import os
import re
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import mlflow
from mlflow import MlflowClient
from mlflow.entities import Run, ViewType
from mlflow.exceptions import MlflowException

from hands.errors import InvalidInput
from hands.files.cache import cache_folder
from hands.packed.manifest import read_manifest
from hands.processes.locks import hold
from hands.tracking import ENTRY_POINT_TAG, FAILURE_TAG, ROOT
from hands.tracking.code import code_digest
from hands.tracking.models import DOWNLOADS
from hands.tracking.registry import DIGEST_TAG, MODEL_TAG, champions
from hands.tracking.steps import CODE_TAG, STEP_KEY_TAG

MADE = re.compile(r"[a-z0-9_]+-([0-9a-f]{12})")  # hands.tracking.steps.step_folder
PARTIAL = re.compile(r"\.[a-z0-9_]+-[0-9a-f]{12}\.partial")  # hands.processes.folders.whole_folder
GOING = re.compile(r"\..*\.going")  # what a killed removal has left
RUN_ID = re.compile(r"[0-9a-f]{32}")
CHECKPOINT, LOCK = "last.pt", ".lock"
LIVING = ("RUNNING", "SCHEDULED")
DAY_S = 24 * 3600


@dataclass(frozen=True)
class Found:
    """A folder and why it may go, or must not. lock: what its user would hold; None where it has none."""

    folder: Path
    why: str
    lock: Path | None = None


class Need:
    """Who needs what in a tracking store."""

    def __init__(self, except_run: str):
        runs = mlflow.search_runs(search_all_experiments=True, run_view_type=ViewType.ALL, output_format="list")
        self.runs = {run.info.run_id: run for run in runs if run.info.run_id != except_run}
        self.living = [run for run in self.runs.values() if run.info.status in LIVING and not _deleted(run)]
        self.finished = {
            run.data.tags[STEP_KEY_TAG]: run.info.run_id
            for run in self.runs.values()
            if STEP_KEY_TAG in run.data.tags and run.info.status == "FINISHED" and not _deleted(run)
        }
        self.champions = champions()

    def of_living(self) -> Iterator[Run]:
        """Runs that live, the steps that they have run, and those that they have reused."""
        ids = {run.info.run_id for run in self.living}
        for run in self.living:
            yield run
            reused = [value for name, value in run.data.tags.items() if name.startswith("hands.reused.")]
            yield from (self.runs[run_id] for run_id in reused if run_id in self.runs)
        yield from (run for run in self.runs.values() if run.data.tags.get("mlflow.parentRunId") in ids)

    def texts(self, waiting: set[str]) -> str:
        """All that useful runs say of themselves; waiting: ids of runs that can go on."""
        useful = [run for run in self.runs.values() if _is_reusable(run) or run.info.run_id in waiting or _is_open_sweep(run)]
        useful += [*self.of_living(), *self._of_champions()]
        return "\n".join(text for run in useful for text in (*run.data.params.values(), *run.data.tags.values()))

    def digests(self) -> set[str]:
        """Of the packed sets that champions were scored on."""
        return {version.tags.get(DIGEST_TAG, "") for version in self.champions}

    def champion_models(self) -> set[str]:
        return {version.tags.get(MODEL_TAG, "").removeprefix("models:/") for version in self.champions}

    def _of_champions(self) -> Iterator[Run]:
        for model_id in self.champion_models():
            try:
                source = MlflowClient().get_logged_model(model_id).source_run_id
            except MlflowException:  # the model is gone, the version is not
                continue
            if source in self.runs:
                yield self.runs[source]


def find(work_dir: str, checkpoint_dir: str, except_run: str) -> tuple[list[Found], list[Found]]:
    """Folders that may go, and those that look so but are left alone.

    Args:
        except_run: of the prune itself.
    """
    need = Need(except_run)
    going, left, waiting = _checkpoints(Path(checkpoint_dir), need)
    for found_going, found_left in (_made(Path(work_dir), need, waiting), _downloads(need)):
        going += found_going
        left += found_left
    return going, left


def remove(found: Found) -> bool:
    """Removes a folder; False where somebody has begun to use it."""
    try:
        lock = hold(found.lock, "in use", 0) if found.lock else None
    except InvalidInput:
        return False
    going = found.folder.with_name(f".{found.folder.name.strip('.')}.going")
    if not GOING.fullmatch(found.folder.name):  # at no moment is a part of it under its name
        os.rename(found.folder, going)
    shutil.rmtree(going if going.exists() else found.folder)
    if lock:
        lock.close()
    return True


def size_of(folder: Path) -> int:
    """Bytes of the files in a folder."""
    return sum(Path(parent, name).lstat().st_size for parent, _, names in os.walk(folder) for name in names)


def _made(work_dir: Path, need: Need, waiting: set[str]) -> tuple[list[Found], list[Found]]:
    going, left = [], []
    texts, digests = need.texts(waiting), need.digests()
    keys = {run.data.tags.get(STEP_KEY_TAG, "")[:12] for run in need.runs.values()}
    for folder in _folders(work_dir):
        made = MADE.fullmatch(folder.name)
        if GOING.fullmatch(folder.name):
            going.append(Found(folder, "what an earlier removal has left"))
        elif PARTIAL.fullmatch(folder.name):
            _unless_locked(Found(folder, "what a killed writer has left", folder / "lock"), going, left)
        elif made and made[1] not in keys:
            left.append(Found(folder, "no run of this tracking store has made it"))
        elif made and folder.name not in texts and _packed(folder) not in digests:
            going.append(Found(folder, "made by other code than today's; no run that can be reused or goes on needs it"))
    return going, left


def _checkpoints(checkpoint_dir: Path, need: Need) -> tuple[list[Found], list[Found], set[str]]:
    """And the ids of the runs that can go on."""
    going, left, waiting = [], [], set()
    folders = {file.parent for name in (CHECKPOINT, LOCK) for file in checkpoint_dir.rglob(name)}
    for folder in sorted(folder for folder in folders if RUN_ID.fullmatch(folder.name)):
        run = need.runs.get(folder.name)
        if run is None:
            left.append(Found(folder, "its run is not in this tracking store"))
        elif run in need.living:
            waiting.add(folder.name)
        elif (why := _why_over(run, need)) is None:
            waiting.add(folder.name)
            left.append(Found(folder, _how_it_goes_on(run)))
        else:
            _unless_locked(Found(folder, why, folder / LOCK), going, left)
    return going, left, waiting


def _why_over(run: Run, need: Need) -> str | None:
    """Why nobody goes on with a run that is not alive; None where somebody may."""
    tags = run.data.tags
    if _deleted(run):
        return "its run was deleted"
    if run.info.status == "FINISHED":
        return "its run is finished"
    if STEP_KEY_TAG not in tags or tags.get(FAILURE_TAG, "").startswith("Undelivered"):
        return None
    if tags[STEP_KEY_TAG] in need.finished:
        return f"{run.info.run_name} was {run.info.status}; run {need.finished[tags[STEP_KEY_TAG]]} has finished the same step"
    if not _has_todays_code(run):
        return f"{run.info.run_name} was {run.info.status}, and is of other code than today's: no pipeline goes on with it"
    return None


def _how_it_goes_on(run: Run) -> str:
    if STEP_KEY_TAG in run.data.tags and _has_todays_code(run):
        return "the same pipeline, started again, goes on with it"
    return f"{run.data.tags.get(ENTRY_POINT_TAG)} with resume={run.info.run_id} goes on with it; delete the run to give it up"


def _downloads(need: Need) -> tuple[list[Found], list[Found]]:
    going = []
    for folder in _folders(cache_folder(DOWNLOADS)):
        if folder.name.startswith("."):
            if time.time() - folder.stat().st_mtime > DAY_S:
                going.append(Found(folder, "what a killed download has left"))
        elif not need.living and folder.name not in need.champion_models():
            going.append(Found(folder, "a downloaded model; it is downloaded again when it is needed"))
    return going, []


def _folders(place: Path) -> list[Path]:
    return sorted(path for path in place.iterdir() if path.is_dir() and not path.is_symlink()) if place.is_dir() else []


def _unless_locked(found: Found, going: list[Found], left: list[Found]) -> None:
    try:
        hold(found.lock, "in use", 0).close()
    except InvalidInput:
        left.append(Found(found.folder, "a process is using it"))
    else:
        going.append(found)


def _deleted(run: Run) -> bool:
    return run.info.lifecycle_stage == "deleted"


def _has_todays_code(run: Run) -> bool:
    entry_point = run.data.tags.get(ENTRY_POINT_TAG, run.data.tags.get("mlflow.project.entryPoint", ""))
    known = (ROOT / "entrypoints" / f"{entry_point}.py").is_file()
    return known and run.data.tags.get(CODE_TAG) == code_digest(entry_point)


def _is_reusable(run: Run) -> bool:
    return run.info.status == "FINISHED" and not _deleted(run) and _has_todays_code(run)


def _is_open_sweep(run: Run) -> bool:
    return run.data.tags.get(ENTRY_POINT_TAG) == "sweep" and run.info.status != "FINISHED" and not _deleted(run)


def _packed(folder: Path) -> str | None:
    """A packed set's digest; None for other folders."""
    try:
        return read_manifest(folder).digest
    except InvalidInput:
        return None
