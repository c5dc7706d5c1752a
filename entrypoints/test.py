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
    import pytest

    sys.exit(pytest.main(["--rootdir", str(Path(__file__).parent.parent), *shlex.split(params.pytest_args)]))


if __name__ == "__main__":
    main()
