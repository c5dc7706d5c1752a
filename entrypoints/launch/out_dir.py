"""The folder that an entry point writes, looked at before anything slow is imported."""

from hands.processes.folders import refuse_occupied
from hands.processes.origin import by_itself


def check_out_dir(folder: str) -> None:
    """Refuses a folder that holds something; not to a pipeline's step, which may have made it before it was killed."""
    if by_itself():
        refuse_occupied(folder)
