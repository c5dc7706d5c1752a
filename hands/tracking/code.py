"""The code that a step's result follows from, as a digest: its modules by their imports, and the packages that they import."""

import ast
import hashlib
from collections.abc import Mapping
from functools import cache
from importlib import metadata
from pathlib import Path

from hands.tracking import ROOT

# How a step is started, and what is written down of it. What a command line comes to stands in the step's key itself.
BESIDE = ("entrypoints.launch", "hands.tracking")
PICTURES = "hands.pictures"
SHOWS_PICTURES = ("evaluate",)  # whose results figures and tables are; other steps hand nothing on that they follow from


@cache
def imports(source: str) -> tuple[str, ...]:
    """Names that a source imports, anywhere in it; of `from a import b` both a and a.b, which may be a module."""
    names = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return tuple(names)


def module_file(name: str, root: Path) -> Path | None:
    """Where a module of this project stands; None for what is none."""
    path = root.joinpath(*name.split("."))
    return next((file for file in (path / "__init__.py", path.with_suffix(".py")) if file.is_file()), None)


@cache
def code_digest(entry_point: str) -> str:
    """64 hex characters for the code of an entry point as it is when first asked for: comments, docstrings and layout of the
    text do not count, nor do modules that it does not import."""
    left_out = BESIDE if entry_point in SHOWS_PICTURES else (*BESIDE, PICTURES)
    modules, packages = closure(f"entrypoints.{entry_point}", left_out, ROOT)
    whole = hashlib.sha256()
    for name in sorted(modules):
        whole.update(f"{name}\0{meaning(module_file(name, ROOT).read_text())}\0".encode())
    whole.update("\n".join(versions(packages)).encode())
    return whole.hexdigest()


def closure(module: str, left_out: tuple[str, ...], root: Path) -> tuple[set[str], set[str]]:
    """Modules of this project that a module imports, itself and their packages included, and the top-level names of all else
    that they import.

    Args:
        left_out: packages that are not looked into.
    """
    modules, others, waiting = set(), set(), [module]
    while waiting:
        name = waiting.pop()
        if name in modules or any(f"{name}.".startswith(f"{package}.") for package in left_out):
            continue
        file = module_file(name, root)
        if file is not None:
            modules.add(name)
            waiting += imports(file.read_text())
        if "." in name:
            waiting.append(name.rpartition(".")[0])
        elif file is None:
            others.add(name)
    return modules, others


@cache
def meaning(source: str) -> str:
    """The source as Python reads it: without comments, docstrings and places of line ends."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and ast.get_docstring(node):
            del node.body[0]
    return ast.dump(tree)


def versions(packages: set[str]) -> list[str]:
    """What is installed of these top-level names: "torch 2.14.1" and so on; Python's own modules have none."""
    distributions = _distributions()
    names = {distribution for package in packages for distribution in distributions.get(package, [])}
    return sorted(f"{name} {metadata.version(name)}" for name in names)


@cache
def _distributions() -> Mapping[str, list[str]]:
    return metadata.packages_distributions()
