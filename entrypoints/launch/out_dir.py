"""The folder that an entry point writes, looked at before anything slow is imported."""

import multiprocessing

from hands.processes.folders import refuse_occupied


def check_out_dir(folder: str) -> None:
    """Refuses a folder that holds something; not to a pipeline's step, which may have made it before it was killed."""
    if multiprocessing.parent_process() is None:
        refuse_occupied(folder)
