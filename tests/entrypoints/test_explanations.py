"""What is wrong around the program is said in one sentence, where MLflow and Python would show a traceback."""

import errno
import os
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import mlflow
import pytest
from click.testing import Result
from mlflow import MlflowClient
from sqlalchemy.exc import OperationalError

from entrypoints import synthesize
from entrypoints.launch.explanations import explained
from tests.project import ROOT, invoke

NOTHING = dict.fromkeys(("n_paired", "n_unpaired_images", "n_unpaired_masks", "n_val", "n_test"), 0) | {"n_paired": 1}


@pytest.fixture
def file(tmp_path: Path, store_template: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The database of a tracking store that entry points in this process write to."""
    monkeypatch.delenv("MLFLOW_EXPERIMENT_NAME", raising=False)
    monkeypatch.delenv("MLFLOW_EXPERIMENT_ID", raising=False)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    return Path(shutil.copy(store_template, tmp_path / "mlflow.db"))


@pytest.fixture
def refused(tmp_path: Path):
    """refused(): starts an entry point, which must refuse; its sentence."""

    def start() -> str:
        result: Result = invoke("synthesize", out_dir=tmp_path / "out", width=64, height=96, workers=1, **NOTHING)
        assert result.exit_code == 1 and "Traceback" not in result.output, result.output
        assert not (tmp_path / "out").exists()
        (sentence,) = [line for line in result.output.splitlines() if line.startswith("Error: ")]
        return sentence

    return start


@pytest.mark.parametrize("by", ["MLFLOW_EXPERIMENT_NAME", "MLFLOW_EXPERIMENT_ID"])
def test_a_deleted_experiment(file, refused, monkeypatch, by):
    client = MlflowClient()
    number = client.create_experiment("gone")
    client.delete_experiment(number)
    monkeypatch.setenv(by, "gone" if by.endswith("NAME") else number)
    sentence = refused()
    assert f"sqlite:///{file} refuses (The experiment {number} must be in the 'active' state)" in sentence
    assert "mlflow experiments restore" in sentence


def test_a_run_that_mlflow_run_has_made_in_another_file(file, refused, monkeypatch):
    """A relative URI, seen from two folders."""
    monkeypatch.setenv("MLFLOW_RUN_ID", "0" * 32)
    sentence = refused()
    assert f"Run with id={'0' * 32} not found" in sentence and "set MLFLOW_TRACKING_URI to sqlite:////" in sentence


def test_a_store_of_another_version(file, refused):
    with sqlite3.connect(file) as database:
        database.execute("update alembic_version set version_num = 'fedcba987654'")
    sentence = refused()
    assert f"use mlflow=={mlflow.__version__}" in sentence and "fedcba987654" in sentence


def test_a_file_that_is_no_database(file, refused):
    file.write_text("no database")
    assert "file is not a database" in refused()


def test_a_folder_of_files(refused, tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", str(tmp_path / "mlruns"))
    assert "mlflow migrate-filestore" in refused()


def test_a_full_disk(file, refused, monkeypatch):
    def write(config) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/somewhere/file")

    monkeypatch.setattr(synthesize, "synthesis_config", write)
    assert "/somewhere/file cannot be written (No space left on device); make room" in refused()


def test_two_that_make_a_store_at_the_same_moment():
    error = OperationalError("CREATE", {}, sqlite3.OperationalError("table _alembic_tmp_experiments already exists"))
    assert "_alembic_tmp_experiments already exists); another process was making its tables: start this" in explained(error)


def test_passwords_are_masked(monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "postgresql://ann:s3cret@host/db")
    sentence = explained(mlflow.MlflowException("failed at http://ann:s3cret@host/x"))
    assert sentence.startswith("the tracking store postgresql://***@host/db refuses (failed at http://***@host/x)")


@pytest.mark.parametrize(
    "error", [ValueError("a bug"), KeyError("x"), ModuleNotFoundError("x", name="hands.x"), OSError(5, "I/O")]
)
def test_the_programs_own_errors_keep_their_traceback(error):
    assert explained(error) is None


@pytest.mark.parametrize(("entry_point", "package"), [("synthesize", "click"), ("pipeline", "mlflow"), ("sweep", "click")])
def test_a_python_without_the_projects_packages(entry_point: str, package: str):
    """`uvx mlflow run . --env-manager local`: MLflow's own Python, in which not even the imports at the top succeed."""
    script = (
        f"import runpy, sys; sys.modules[{package!r}] = None; sys.argv = ['x', '--help']; "
        f"runpy.run_module('entrypoints.{entry_point}', run_name='__main__')"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert done.stderr.startswith(f"Error: the Python {sys.executable} has no package {package}; let `mlflow run` make")
    assert "--env-manager uv" in done.stderr
