"""The command that this process was started by, as the user has typed it, and the one that goes on with a run."""

import re
import shlex
import sys
from pathlib import Path

from hands.errors import masked

RUNNERS = ("uv", "uvx")


def own_command() -> list[str]:
    """Of `python -m entrypoints.<name>`."""
    return list(sys.orig_argv)


def launcher_command(pid: int) -> list[str]:
    """Of a process: `mlflow run ...`, with the uvx before it where that has started it; empty for another one, such as a script
    that calls mlflow.projects.run."""
    words = _words(pid)
    if "run" not in words:
        return []
    start = words.index("run")
    before, run = words[:start], words[start:]
    parent = _words(_parent(pid))
    if parent[-len(run) :] == run and Path(parent[0]).name in RUNNERS:
        runner = ["uvx"] if parent[1:3] == ["tool", "uvx"] else ["uv", *parent[1:3]]
        return [*runner, *parent[3:]]
    if Path(before[-1]).name == "mlflow" and "-m" not in before:
        before = ["mlflow"]
    return [*before, *run]


def resuming(words: list[str], run_id: str) -> list[str]:
    """The command with this run to go on with, in the place of what it was to go on with before."""
    by_mlflow = not any(word.startswith("entrypoints.") for word in words)
    name = re.compile(r"(-P|--param-list=)?resume=.*" if by_mlflow else r"--resume=.*", re.DOTALL)
    kept: list[str] = []
    for word in words:
        if name.fullmatch(word) or (kept and kept[-1] == "--resume"):
            if kept[-1] in ("-P", "--param-list", "--resume"):
                kept.pop()
            continue
        kept.append(word)
    return [*kept, "-P", f"resume={run_id}"] if by_mlflow else [*kept, f"--resume={run_id}"]


def shown(words: list[str]) -> str:
    """A command as a shell takes it, without passwords."""
    return masked(shlex.join(words))


def _words(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").rstrip("\0").split("\0")
    except OSError:
        return [""]


def _parent(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0
