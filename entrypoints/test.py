"""The test suite.

Consumes: nothing. Produces: pytest's report; exit code 0 if all tests pass.
"""

import shlex
import sys
from pathlib import Path
from types import SimpleNamespace

from entrypoints.launch.command_line import entry_point
from entrypoints.launch.stopping import Terminated


class Signals:
    """A plugin that keeps what pytest catches: a signal, to be told from errors while it collects."""

    received: Terminated | None = None

    def pytest_keyboard_interrupt(self, excinfo) -> None:
        if isinstance(excinfo.value, Terminated):
            self.received = excinfo.value


@entry_point("pytest_args")
def main(params: SimpleNamespace) -> None:
    """Runs the tests."""
    import os

    import pytest

    # `mlflow run` has made a run for this call; what the tests start must not write into it
    for name in ("MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_ID", "MLFLOW_EXPERIMENT_NAME", "MLFLOW_TRACKING_URI"):
        os.environ.pop(name, None)
    arguments = ["--rootdir", str(Path(__file__).parent.parent), *shlex.split(params.pytest_args)]
    signals = Signals()
    code = pytest.main(arguments, plugins=[signals])
    if signals.received:
        raise signals.received
    sys.exit(code)


if __name__ == "__main__":
    main()
