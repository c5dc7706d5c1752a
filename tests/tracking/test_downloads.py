"""Models of a store that is not on this machine: downloaded once, and nothing is left in the temporary folder."""

import os
import tempfile
from pathlib import Path
from types import SimpleNamespace

import pytest

from hands.errors import InvalidInput
from hands.networks.checkpoint import load_network
from hands.tracking import models
from hands.tracking.models import fetch_network, logged_model_id, model_identity
from tests.packed.blobs import SIZE


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The temporary folder, empty; the cache is beside it."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return folder


@pytest.fixture
def far_away(temporary: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Artifacts are not on this machine; the folder of the cache."""
    monkeypatch.setattr(models, "urlsplit", lambda location: SimpleNamespace(scheme="s3"))
    return temporary.parent / "cache" / "hands" / "models"


def test_a_model_on_this_machine_is_used_where_it_lies(store, logged, temporary):
    folder = fetch_network(logged.g2_uri)
    location = store.get_logged_model(logged.g2_uri.removeprefix("models:/")).artifact_location
    assert folder == Path(location.removeprefix("file://")) / "artifacts" / "network"
    assert not (temporary.parent / "cache").exists() and list(temporary.iterdir()) == []


def test_a_download_is_kept_for_the_next_time(store, logged, far_away, temporary, monkeypatch):
    folder = fetch_network(logged.g2_uri)
    assert folder == far_away / logged.g2_uri.removeprefix("models:/")
    assert {path.name for path in folder.iterdir()} == {"network.json", "weights.safetensors"}
    assert load_network(folder)[1] == SIZE
    assert [path.name for path in far_away.iterdir()] == [folder.name] and list(temporary.iterdir()) == []
    monkeypatch.setattr(models.mlflow.artifacts, "download_artifacts", None)
    assert fetch_network(logged.g2_uri) == folder


def test_by_run_and_name_it_is_the_same_download(store, logged, far_away, temporary):
    folder = fetch_network(logged.g2_uri)
    run_id = store.get_logged_model(folder.name).source_run_id
    assert fetch_network(f"runs:/{run_id}/g2") == folder
    assert logged_model_id(f"runs:/{run_id}/g2") == folder.name
    assert model_identity(f"runs:/{run_id}/g2") == model_identity(logged.g2_uri) == logged.g2_uri
    assert list(temporary.iterdir()) == []


def test_a_download_that_breaks_off_leaves_nothing(store, logged, far_away, temporary, monkeypatch):
    def broken(artifact_uri, dst_path):
        Path(dst_path, "network.json").touch()
        raise OSError("connection reset")

    monkeypatch.setattr(models.mlflow.artifacts, "download_artifacts", broken)
    with pytest.raises(InvalidInput, match="cannot be had .connection reset"):
        fetch_network(logged.g2_uri)
    assert list(far_away.iterdir()) == [] and list(temporary.iterdir()) == []


def test_two_processes_may_download_one_model(store, logged, far_away, monkeypatch):
    download = models.mlflow.artifacts.download_artifacts

    def slower(artifact_uri, dst_path):
        monkeypatch.setattr(models.mlflow.artifacts, "download_artifacts", download)
        fetch_network(logged.g2_uri)
        return download(artifact_uri=artifact_uri, dst_path=dst_path)

    monkeypatch.setattr(models.mlflow.artifacts, "download_artifacts", slower)
    assert load_network(fetch_network(logged.g2_uri))[1] == SIZE
    assert len(list(far_away.iterdir())) == 1


def test_downloads_do_not_pile_up(store, logged, far_away, monkeypatch):
    monkeypatch.setattr(models, "MOST", 2)
    for age, name in enumerate(("m-of-today", "m-of-yesterday", "m-of-last-week")):
        (far_away / name).mkdir(parents=True)
        os.utime(far_away / name, (1e9 - age, 1e9 - age))
    folder = fetch_network(logged.g2_uri)
    assert {path.name for path in far_away.iterdir()} == {folder.name, "m-of-today"}
    os.utime(folder, (1, 1))
    assert fetch_network(logged.g2_uri) == folder  # used again: the newest
    fetch_network(logged.d_uri)
    assert {path.name for path in far_away.iterdir()} == {folder.name, logged.d_uri.removeprefix("models:/")}


def test_a_local_folder_is_known_by_what_is_in_it(store, logged, far_away, tmp_path):
    folder = fetch_network(logged.g2_uri)
    identity = model_identity(str(folder))
    copied = tmp_path / "copied"
    copied.mkdir()
    for file in folder.iterdir():
        (copied / file.name).write_bytes(file.read_bytes())
    assert model_identity(str(copied)) == identity
    (copied / "weights.safetensors").write_bytes(b"others")
    assert model_identity(str(copied)) != identity
