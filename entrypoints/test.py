"""The test suite.

Consumes: nothing. Produces: pytest's report; exit code 0 if all tests pass.
"""

import shlex
import sys
from pathlib import Path
from types import SimpleNamespace

from entrypoints.parameters import entry_point


@entry_point("pytest_args")
def main(params: SimpleNamespace) -> None:
    """Runs the tests."""
    import os

    import pytest

    # `mlflow run` has made a run for this call; what the tests start must not write into it
    for name in ("MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_ID", "MLFLOW_EXPERIMENT_NAME", "MLFLOW_TRACKING_URI"):
        os.environ.pop(name, None)
    sys.exit(pytest.main(["--rootdir", str(Path(__file__).parent.parent), *shlex.split(params.pytest_args)]))


if __name__ == "__main__":
    main()
