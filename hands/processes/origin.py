"""How this process was started. Imports nothing slow."""

import multiprocessing

LAUNCHED = "HANDS_LAUNCHED_RUN"  # variable: the run that `mlflow run` has made for this process


def by_itself() -> bool:
    """Whether it is a process of its own, and no step that a pipeline has forked."""
    return multiprocessing.parent_process() is None
