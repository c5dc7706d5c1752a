"""Relative paths, relative stores and ~ mean what they mean where the command is typed, wherever mlflow run takes the code."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import click
import pytest
from mlflow import MlflowClient

from entrypoints.launch import places
from entrypoints.launch.parameters import TYPES
from hands.tracking import ROOT
from tests.project import environment


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder in which the command was typed; the home folder beside it."""
    start, home = tmp_path / "typed here", tmp_path / "home"
    start.mkdir()
    home.mkdir()
    monkeypatch.setattr(places, "_start", start)
    monkeypatch.setenv("HOME", str(home))
    return start


def read(parameter: str, value: str) -> str:
    """What a command line makes of a parameter's value."""
    return TYPES[parameter][0].convert(value, None, None)


PATHS = sorted(name for name, (kind, _) in TYPES.items() if isinstance(kind, type(TYPES["out_dir"][0])) and name != "storage")


def test_every_folder_is_such_a_parameter():
    folders = {name for name in TYPES if name.endswith("_dir")}
    assert folders | {"images", "boxes", "model", "g1_model", "g2_model", "d_model", "params_from"} == set(PATHS)


@pytest.mark.parametrize("parameter", sorted(name for name in TYPES if name.endswith("_dir")))
def test_paths_are_absolute(elsewhere, parameter):
    assert read(parameter, "data/x") == f"{elsewhere}/data/x"
    assert read(parameter, "/data/x") == "/data/x"
    assert read(parameter, "~/x") == f"{elsewhere.parent}/home/x"
    assert read(parameter, "~") == f"{elsewhere.parent}/home"
    assert read(parameter, "") == ""


@pytest.mark.parametrize("parameter", ["model", "g1_model", "g2_model", "d_model", "params_from"])
def test_what_may_be_a_path_is_one_where_something_is_there(elsewhere, parameter):
    (elsewhere / "models:").mkdir()
    (elsewhere / "mine").mkdir()
    (elsewhere.parent / "home" / "best_params.json").touch()
    assert read(parameter, "mine") == f"{elsewhere}/mine"
    assert read(parameter, "~/best_params.json") == f"{elsewhere.parent}/home/best_params.json"
    for name in ("models:/hands-g2@champion", f"models:/m-{'0' * 32}", "runs:/abc/g2", "0" * 32, "nowhere", ""):
        assert read(parameter, name) == name


def test_nobodys_home_is_refused(elsewhere):
    with pytest.raises(click.BadParameter, match="'~nobody-of-that-name/x' leads nowhere"):
        read("out_dir", "~nobody-of-that-name/x")


@pytest.mark.parametrize(("uri", "expected"), [
    ("sqlite:///optuna.db", "sqlite:///{start}/optuna.db"),
    ("sqlite:///data/optuna.db?timeout=20", "sqlite:///{start}/data/optuna.db?timeout=20"),
    ("sqlite+pysqlite:///~/optuna.db", "sqlite+pysqlite:///{home}/optuna.db"),
    ("sqlite:////data/optuna.db", "sqlite:////data/optuna.db"),
    ("sqlite:///:memory:", "sqlite:///:memory:"),
    ("sqlite://", "sqlite://"),
    ("postgresql://me@host:5432/optuna", "postgresql://me@host:5432/optuna"),
    ("http://localhost:5000", "http://localhost:5000"),
    ("databricks", "databricks"),
    ("./mlruns", "{start}/mlruns"),
    ("~/mlruns", "{home}/mlruns"),
])  # fmt: skip
def test_stores(elsewhere, uri, expected):
    expected = expected.format(start=elsewhere, home=elsewhere.parent / "home")
    assert read("storage", uri) == places.absolute_store(uri) == expected


def test_without_a_launcher_paths_start_here(monkeypatch, tmp_path):
    monkeypatch.setattr(places, "_start", None)  # the tests themselves may have one
    monkeypatch.chdir(tmp_path)
    assert read("out_dir", "x") == f"{tmp_path}/x"
    assert places.said() == ""


def test_the_launchers_folder_is_taken(monkeypatch, tmp_path):
    monkeypatch.setattr(places, "_start", None)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///mine.db")
    launcher = subprocess.Popen([sys.executable, "-c", "input()"], cwd=tmp_path, stdin=subprocess.PIPE)
    try:
        places.start_from(launcher.pid)
    finally:
        launcher.communicate(b"\n")
    assert read("out_dir", "x") == f"{tmp_path}/x"
    assert os.environ["MLFLOW_TRACKING_URI"] == f"sqlite:///{tmp_path}/mine.db"
    assert places.said() == f"relative paths start at {tmp_path}, where mlflow run was called; the code is in {Path.cwd()}"


def test_a_project_that_mlflow_puts_into_a_temporary_folder_loses_nothing(tmp_path, store_template):
    """A zip, as a git URL would be; called from another folder, with a relative store."""
    with zipfile.ZipFile(tmp_path / "project.zip", "w") as archive:
        for name in ("MLproject", "conda.yaml", "entrypoints", "hands", "sweeps"):
            files = [ROOT / name] if (ROOT / name).is_file() else (ROOT / name).rglob("*.py")
            for file in files:
                archive.write(file, file.relative_to(ROOT))
    start = tmp_path / "typed here"
    (start / "work" / "prepare-0123456789ab").mkdir(parents=True)
    shutil.copy(store_template, start / "mine.db")
    uri = "sqlite:///mine.db"
    words = [sys.executable, "-m", "mlflow", "run", str(tmp_path / "project.zip"), "-e", "prune", "--env-manager", "local"]
    done = subprocess.run(
        [*words, "-P", "work_dir=work", "-P", "checkpoint_dir=~/checkpoints"],
        cwd=start, env=environment(uri, HOME=str(tmp_path)), capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert f"== relative paths start at {start}, where mlflow run was called; the code is in " in done.stdout
    assert f"left: {start}/work/prepare-0123456789ab" in done.stdout  # it was found
    client = MlflowClient(f"sqlite:///{start}/mine.db")
    (run,) = client.search_runs([experiment.experiment_id for experiment in client.search_experiments()])
    assert (run.info.status, run.data.params["work_dir"]) == ("FINISHED", "work")
    assert {path.name for path in start.iterdir()} <= {"mine.db", "work", "mlruns"}
