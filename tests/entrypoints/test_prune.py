"""prune: what it would remove, and what it must not."""

import os
import re
import time
from pathlib import Path
from types import SimpleNamespace

import mlflow
import pytest
from mlflow import MlflowClient

from hands.files.cache import cache_folder
from hands.processes.locks import hold
from hands.tracking.code import code_digest
from hands.tracking.registry import Score, register
from tests.packed.blobs import COUNTS, SIZE, write_blobs
from tests.project import EXPERIMENT, artifact_paths, invoke, log_toy, new_store, newest_run, track_to


def a_key(letter: str) -> str:
    return letter * 64


@pytest.fixture
def place(tmp_path: Path, store_template: Path, monkeypatch: pytest.MonkeyPatch):
    """A store of its own, and makers of runs and of what they leave on disk."""
    uri = new_store(tmp_path / "store", store_template)
    track_to(uri, monkeypatch)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name(EXPERIMENT).experiment_id
    work, checkpoints = tmp_path / "work", tmp_path / "checkpoints"

    def run(entry_point: str, status: str, key: str | None = None, code: str = "today", params=(), **tags: str) -> str:
        tags |= {"hands.entry_point": entry_point}
        if code:
            tags["hands.code"] = code_digest(entry_point) if code == "today" else code
        if key:
            tags["hands.step_key"] = key
        run_id = client.create_run(experiment, tags=tags, run_name=entry_point).info.run_id
        for name, value in dict(params).items():
            client.log_param(run_id, name, value)
        if status != "RUNNING":
            client.set_terminated(run_id, status)
        return run_id

    def folder(name: str) -> Path:
        path = work / name
        path.mkdir(parents=True)
        (path / "data").write_bytes(b"x" * 1_000_000)
        return path

    def checkpoint(run_id: str) -> Path:
        path = checkpoints / run_id
        path.mkdir(parents=True)
        (path / "last.pt").write_bytes(b"x" * 2_000_000)
        (path / ".lock").touch()
        return path

    def prune(yes: bool = False) -> str:
        said = invoke("prune", work_dir=work, checkpoint_dir=checkpoints, yes=yes)
        assert said.exit_code == 0, said.output
        return said.output

    return SimpleNamespace(client=client, run=run, folder=folder, checkpoint=checkpoint, prune=prune, work=work)


def goes(said: str, path: Path) -> str:
    """What is said of a folder that goes; fails where it does not."""
    (line,) = [line for line in said.splitlines() if f" {path} (" in line]
    assert line.startswith(("== would remove", "== removed")), line
    return line


def stays(said: str, path: Path) -> bool:
    return not any(f"remove {path} " in line or f"removed {path} " in line for line in said.splitlines())


def test_an_old_folder_is_named_with_its_size_and_removed_when_told_to(place):
    place.run("prepare", "FINISHED", a_key("a"), code="of last week")
    old = place.folder("prepare-" + "a" * 12)
    said = place.prune()
    assert "(1.0 MB): made by other code than today's" in goes(said, old)
    assert "would remove 1.0 MB in 1 folders; run it again with yes=true" in said
    assert old.is_dir()
    said = place.prune(yes=True)
    goes(said, old)
    assert not old.exists() and list(place.work.iterdir()) == []
    run = newest_run(place.client)
    assert (run.info.status, run.data.metrics["removed/bytes"]) == ("FINISHED", 1_000_000)
    assert "pruned.txt" in artifact_paths(place.client, run)
    assert "would remove 0.0 MB in 0 folders" in place.prune()


def test_what_todays_code_would_reuse_stays(place):
    made, read = place.folder("prepare-" + "a" * 12), place.folder("prepare-" + "b" * 12)
    place.run("prepare", "FINISHED", a_key("a"), **{"hands.output.packed_dir": str(made)})
    place.run("prepare", "FINISHED", a_key("b"), code="old", **{"hands.output.packed_dir": str(read)})
    place.run("phase1", "FINISHED", a_key("c"), params={"packed_dir": f"'/some where/{read.name}'"})  # as mlflow run logs it
    said = place.prune(yes=True)
    assert stays(said, made) and stays(said, read)
    assert made.is_dir() and read.is_dir()


@pytest.mark.parametrize("how", ["itself", "as its parent", "by reusing it"])
def test_what_a_running_run_needs_stays(place, how):
    old = place.folder("prepare-" + "a" * 12)
    made = {"hands.output.packed_dir": str(old)}
    if how == "itself":
        place.run("prepare", "FINISHED", a_key("a"), code="old", **made)
        place.run("phase1", "RUNNING", code="old", params={"packed_dir": "data/prepare-" + "a" * 12})
    if how == "as its parent":
        parent = place.run("main", "RUNNING", code="")
        place.run("prepare", "FINISHED", a_key("a"), code="old", **made, **{"mlflow.parentRunId": parent})
    if how == "by reusing it":
        run_id = place.run("prepare", "FINISHED", a_key("a"), code="old", **made)
        place.run("main", "RUNNING", code="", **{"hands.reused.prepare": run_id})
    assert stays(place.prune(yes=True), old) and old.is_dir()


def test_the_packed_set_of_a_champion_stays(place):
    folder = place.work / ("prepare-" + "a" * 12)
    folder.mkdir(parents=True)
    packed = write_blobs(folder, SIZE, COUNTS, seed=0)
    place.run("prepare", "FINISHED", a_key("a"), code="old", **{"hands.output.packed_dir": str(folder)})
    assert goes(place.prune(), folder)
    from hands.networks.discriminator import Discriminator

    with mlflow.start_run():
        uri = log_toy(Discriminator(), "discriminator", SIZE)
    register(uri, "toys", Score(0.5, packed.manifest.digest, "train", "val"))
    assert stays(place.prune(yes=True), folder) and folder.is_dir()


def test_folders_of_another_tracking_store_are_left_and_named(place):
    folder = place.folder("prepare-" + "a" * 12)
    mine = place.folder("my-notes")
    said = place.prune(yes=True)
    assert f"left: {folder} (1.0 MB): no run of this tracking store has made it" in said
    assert str(mine) not in said and folder.is_dir() and mine.is_dir()


def test_a_link_is_not_followed(place, tmp_path):
    place.run("prepare", "FINISHED", a_key("a"), code="old")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    place.work.mkdir()
    (place.work / ("prepare-" + "a" * 12)).symlink_to(elsewhere)
    assert "in 0 folders" in place.prune(yes=True) and elsewhere.is_dir()


def test_what_a_killed_writer_has_left_goes_unless_it_lives(place):
    left = place.folder(".prepare-" + "a" * 12 + ".partial")
    assert "killed writer" in goes(place.prune(), left)
    with hold(left / "lock", "taken", 0):
        assert f"left: {left} (1.0 MB): a process is using it" in place.prune(yes=True)
        assert left.is_dir()
    place.prune(yes=True)
    assert not left.exists()


@pytest.mark.parametrize(("entry_point", "status", "key", "code", "tags", "expected"), [
    ("phase1", "KILLED", "a", "old", {}, "is of other code than today's: no pipeline goes on with it"),
    ("phase1", "FINISHED", "a", "today", {}, "its run is finished"),
    ("phase1", "KILLED", "a", "today", {}, None),  # the same pipeline goes on with it
    ("phase1", "FAILED", "a", "old", {"hands.failure": "Undelivered: the server is away"}, None),  # trained to the end
    ("phase1", "KILLED", None, "old", {}, None),  # phase1 with resume=... goes on with it
    ("phase1", "RUNNING", "a", "old", {}, None),
])  # fmt: skip
def test_checkpoints(place, entry_point, status, key, code, tags, expected):
    run_id = place.run(entry_point, status, key and a_key(key), code, **tags)
    folder = place.checkpoint(run_id)
    said = place.prune()
    if expected:
        assert "(2.0 MB)" in goes(said, folder) and expected in goes(said, folder)
    else:
        assert stays(said, folder)
    place.prune(yes=True)
    assert folder.exists() == (expected is None)


def test_a_run_that_waits_to_go_on_needs_its_data(place):
    old = place.folder("prepare-" + "a" * 12)
    place.run("prepare", "FINISHED", a_key("a"), code="old", **{"hands.output.packed_dir": str(old)})
    place.checkpoint(place.run("phase1", "KILLED", code="old", params={"packed_dir": str(old)}))
    said = place.prune(yes=True)
    assert stays(said, old) and re.search(r"left: .*: phase1 with resume=\w{32} goes on with it", said)


def test_a_checkpoint_goes_once_another_run_has_finished_the_step_or_its_run_was_deleted(place):
    killed = place.checkpoint(place.run("phase1", "KILLED", a_key("a")))
    finished = place.run("phase1", "FINISHED", a_key("a"))
    given_up = place.run("phase1", "KILLED")
    deleted = place.checkpoint(given_up)
    place.client.delete_run(given_up)
    said = place.prune()
    assert f"run {finished} has finished the same step" in goes(said, killed)
    assert "its run was deleted" in goes(said, deleted)


def test_a_checkpoint_that_is_held_stays_whatever_its_run_says(place):
    folder = place.checkpoint(place.run("phase1", "KILLED", a_key("a"), code="old"))
    with hold(folder / ".lock", "taken", 0):
        assert f"left: {folder} (2.0 MB): a process is using it" in place.prune(yes=True)
    assert folder.is_dir()


def test_checkpoints_of_another_store_are_left_and_named(place):
    folder = place.checkpoint("0123456789abcdef" * 2)
    assert f"left: {folder} (2.0 MB): its run is not in this tracking store" in place.prune(yes=True)
    assert folder.is_dir()


def test_checkpoints_of_jobs_are_found_too(place):
    folder = place.checkpoint("job-17/" + place.run("phase1", "KILLED", a_key("a"), code="old"))
    assert goes(place.prune(), folder)


def test_downloads_go_unless_something_runs(place):
    model, broken = cache_folder("models") / ("m-" + "0" * 32), cache_folder("models") / ".tmpabc"
    for folder in (model, broken):
        folder.mkdir(parents=True)
        (folder / "weights.safetensors").write_bytes(b"x" * 3_000_000)
    running = place.run("evaluate", "RUNNING", code="")
    assert stays(place.prune(yes=True), model)
    place.client.set_terminated(running)
    said = place.prune()
    assert "(3.0 MB): a downloaded model" in goes(said, model)
    assert stays(said, broken)  # somebody may be at it
    os.utime(broken, (time.time() - 2 * 24 * 3600,) * 2)
    place.prune(yes=True)
    assert not model.exists() and not broken.exists()


def test_a_removal_that_was_killed_is_finished_by_the_next(place, monkeypatch):
    place.run("prepare", "FINISHED", a_key("a"), code="old")
    old = place.folder("prepare-" + "a" * 12)

    def killed(folder):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("hands.tracking.pruning.shutil", SimpleNamespace(rmtree=killed))
        assert invoke("prune", work_dir=place.work, checkpoint_dir=place.work, yes=True).exit_code == 130
    assert not old.exists()  # nothing takes a part of it for all of it
    assert "what an earlier removal has left" in place.prune(yes=True)
    assert list(place.work.iterdir()) == []


def test_there_need_be_nothing(place):
    assert "would remove 0.0 MB in 0 folders" in place.prune()
