"""What is left to do once `mlflow run` has written the state of the run that it made; a process of its own (stopping.py).

A run that was stopped becomes KILLED, and one that only points to the run that took its place (hands.tracking.experiments) is
deleted.
"""

import select
import sys
import time

from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from hands.processes.output import guard_output
from hands.tracking import PROCESS_TAG, brief_requests
from hands.tracking.experiments import SHOWN_BY

PATIENCE_S = 60  # for a launcher that goes on after this run, a script that calls mlflow.projects.run
POLL_S = 0.1
ENDED = ("FINISHED", "FAILED", "KILLED")


def main(run_id: str, launcher: int, stopped: bool) -> None:
    """Waits until the run's state is written, or the launcher (the descriptor of its process) has ended."""
    client = MlflowClient()
    client.get_run(run_id)  # what is slow the first time
    print("ready", flush=True)
    deadline = time.monotonic() + PATIENCE_S
    launched = True
    while launched and time.monotonic() < deadline:
        launched = not select.select([launcher], [], [], POLL_S)[0]
        run = client.get_run(run_id)
        state = run.info.status
        if SHOWN_BY in run.data.tags:
            if state in ENDED or not launched:
                client.delete_run(run_id)
                return
        elif stopped and (state == "FAILED" or (not launched and PROCESS_TAG not in run.data.tags and state != "KILLED")):
            client.set_terminated(run_id, "KILLED")
            return


if __name__ == "__main__":
    guard_output()
    try:
        with brief_requests():
            main(sys.argv[1], int(sys.argv[2]), sys.argv[3] == "stopped")
    except MlflowException as error:
        sys.exit(f"run {sys.argv[1]} may show another state than KILLED: {error}")
