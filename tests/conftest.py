"""What tests of several rooms share: a tiny packed set, a tracking store, logged networks."""

import signal
from pathlib import Path
from types import SimpleNamespace

import pytest

from hands.packed.packed_set import PackedSet
from tests.packed.blobs import COUNTS, SIZE, write_blobs


def pytest_configure() -> None:
    """A shell's background jobs start with Ctrl-C ignored, and so would every process that a test starts."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def tiny_packed(tmp_path_factory: pytest.TempPathFactory) -> PackedSet:
    """Every subset, at size 32: COUNTS records, all labelled but unpaired_images. Do not write to it."""
    return write_blobs(tmp_path_factory.mktemp("tiny_packed"), SIZE, COUNTS, seed=0)


@pytest.fixture(scope="session")
def store_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with MLflow's tables, which take seconds to make."""
    from mlflow import MlflowClient

    file = tmp_path_factory.mktemp("store_template") / "mlflow.db"
    MlflowClient(f"sqlite:///{file}").search_experiments()
    return file


@pytest.fixture(scope="session")
def session_store(tmp_path_factory: pytest.TempPathFactory, store_template: Path) -> str:
    """Tracking URI of a store for tests that only add to it."""
    from tests.project import new_store

    return new_store(tmp_path_factory.mktemp("store"), store_template)


@pytest.fixture
def store(session_store: str, monkeypatch: pytest.MonkeyPatch):
    """What this process logs goes to the session's store; its MlflowClient."""
    from mlflow import MlflowClient

    from tests.project import track_to

    track_to(session_store, monkeypatch)
    return MlflowClient(session_store)


@pytest.fixture(scope="session")
def logged(session_store: str) -> SimpleNamespace:
    """A small network and a discriminator with random weights for pictures of side SIZE, logged: g2, d, g2_uri, d_uri."""
    from tests.project import log_toys, track_to

    with pytest.MonkeyPatch.context() as patch:
        track_to(session_store, patch)
        return log_toys(SIZE)
