"""A sweep's run and the parameters of trials in it, for workers in the tests' own process."""

import mlflow
import pytest

from tests.project import handlers_kept
from tests.sweeps.sweeping import sweep_params


@pytest.fixture
def params(tiny_packed, logged, store, tmp_path):
    def make(**overrides):
        return sweep_params(tiny_packed, logged, **({"storage": f"sqlite:///{tmp_path}/optuna.db"} | overrides))

    return make


@pytest.fixture
def sweep_run(store):
    with mlflow.start_run(run_name="sweep") as run:
        yield run
    assert not mlflow.active_run()


@pytest.fixture(autouse=True)
def default_signals():
    with handlers_kept():
        yield
