"""Where relative paths lead: to the folder in which the user has typed the command.

`mlflow run` (3.17.2) starts an entry point in the project's folder, which may be a clone that it has made in a temporary folder
for this run alone (`mlflow run <git url>`). What was written there would be lost, or in another place than the tracking store,
which MLflow takes from the user's folder. Imports nothing slow.
"""

import os
import re
from pathlib import Path

SCHEME = re.compile(r"\w+:/")
SQLITE = re.compile(r"(sqlite(?:\+\w+)?:///)([^/:?][^?]*)(.*)", re.DOTALL)  # what follows three slashes is relative
STORES = ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI")

_start: Path | None = None  # None: this process's own folder


def start_from(launcher: int) -> None:
    """From now on relative paths start where the process that launched this one was started; it may be another user's."""
    global _start
    try:
        _start = Path(os.readlink(f"/proc/{launcher}/cwd"))
    except OSError:
        return
    for name in STORES:
        if name in os.environ:
            os.environ[name] = absolute_store(os.environ[name])


def said() -> str:
    """What a user should know of it; empty where all is as they see it."""
    if _start in (None, Path.cwd()):
        return ""
    return f"relative paths start at {_start}, where mlflow run was called; the code is in {Path.cwd()}"


def absolute(path: str) -> str:
    """A path as it is meant: `~` is the home folder; an empty one stays empty."""
    return str((_start or Path.cwd()) / Path(path).expanduser()) if path else ""


def relative(path: str) -> str:
    """A path as people read it: relative where it lies in the folder in which the command was typed; other texts stay."""
    start = _start or Path.cwd()
    return str(Path(path).relative_to(start)) if Path(path).is_relative_to(start) else path


def absolute_store(uri: str) -> str:
    """The URI of a database or folder as it is meant; other URIs stay as they are."""
    sqlite = SQLITE.fullmatch(uri)
    if sqlite:
        return f"{sqlite[1]}{absolute(sqlite[2])}{sqlite[3]}"
    is_path = uri.startswith(("./", "../", "~"))
    return absolute(uri) if is_path else uri


def absolute_if_there(name: str) -> str:
    """A path as it is meant, where something is there; else the same text, which names something else: a model, a run."""
    path = name if SCHEME.match(name) else absolute(name)
    return path if path and Path(path).exists() else name
