"""Marks a run KILLED after `mlflow run` has marked it otherwise; a stopped entry point starts it (stopping.py)."""

import select
import sys
import time

from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from hands.processes.output import guard_output
from hands.tracking import PROCESS_TAG, brief_requests

PATIENCE_S = 60  # for a launcher that goes on after this run, a script that calls mlflow.projects.run
POLL_S = 0.1


def main(run_id: str, launcher: int) -> None:
    """Waits until the run is marked FAILED, or the launcher (the descriptor of its process) has ended."""
    client = MlflowClient()
    client.get_run(run_id)  # what is slow the first time
    print("ready", flush=True)
    deadline = time.monotonic() + PATIENCE_S
    ended = False
    while not ended and time.monotonic() < deadline:
        ended = bool(select.select([launcher], [], [], POLL_S)[0])
        run = client.get_run(run_id)
        never_began = PROCESS_TAG not in run.data.tags
        if run.info.status == "FAILED" or (ended and never_began and run.info.status != "KILLED"):
            client.set_terminated(run_id, "KILLED")
            return


if __name__ == "__main__":
    guard_output()
    try:
        with brief_requests():
            main(sys.argv[1], int(sys.argv[2]))
    except MlflowException as error:
        sys.exit(f"run {sys.argv[1]} may show another state than KILLED: {error}")
