"""Tests stand in the rooms of what they test, and share what they share by modules that hold no tests."""

import ast
from pathlib import Path

from tests.project import ROOT

TESTS = ROOT / "tests"


def imported(file: Path) -> set[str]:
    """Modules of tests/ that a file imports."""
    nodes = list(ast.walk(ast.parse(file.read_text())))
    names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module}
    return {name for name in names if name.startswith("tests.")}


def test_every_folder_of_tests_is_a_room():
    for folder in {file.parent for file in TESTS.glob("*/**/*.py")}:
        name = folder.relative_to(TESTS)
        assert (ROOT / "hands" / name).is_dir() or (ROOT / name).is_dir(), f"{folder} is no package's room"


def test_nothing_is_imported_from_tests_themselves():
    found = {
        f"{file.relative_to(ROOT)} imports {name}"
        for file in TESTS.rglob("*.py")
        for name in imported(file)
        if name.rpartition(".")[2].startswith(("test_", "conftest"))
    }
    assert found == set(), "what several tests need goes to a module of its own, with a plain name"
