"""Calls entry points in a Python that has no torch, and says, as JSON, what each printed.

python -m tests.entrypoints.without_torch '[["phase1", {"packed_dir": "/nowhere"}], ...]'
"""

import importlib
import json
import sys

from click.testing import CliRunner

from entrypoints.launch.commands import declared

RECIPES = ("main", "dryrun", "full")


class NoTorch:
    """A finder of modules that refuses torch."""

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        if name == "torch":
            raise AssertionError("torch is imported")


def main(cases: list[tuple[str, dict[str, str]]]) -> list[str]:
    sys.meta_path.insert(0, NoTorch())
    return [said(entry_point, given) for entry_point, given in cases]


def said(entry_point: str, given: dict[str, str]) -> str:
    command = importlib.import_module(f"entrypoints.{'pipeline' if entry_point in RECIPES else entry_point}").main
    values = {name: default or "" for name, default in declared(entry_point).items()} | given
    result = CliRunner().invoke(command, [f"--{name}={value}" for name, value in values.items()])
    return result.output + repr(result.exception)


if __name__ == "__main__":
    print(json.dumps(main(json.loads(sys.argv[1]))))
