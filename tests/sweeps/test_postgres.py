"""Two workers on a real PostgreSQL, one of them killed in the middle of a trial."""

import os
import pwd
import shutil
import signal
import socket
import subprocess
from pathlib import Path

import mlflow
import optuna
import pytest
from optuna.trial import TrialState

from hands.tracking import FAILURE_TAG
from sweeps.winner import read_winner
from tests.project import command, environment
from tests.sweeps.sweeping import begun_trial, children, sweep_arguments

ROOT = Path(__file__).parents[2]
DEBIAN = Path("/usr/lib/postgresql")


def program(name: str) -> str | None:
    """Debian keeps PostgreSQL's programs out of PATH."""
    found = shutil.which(name)
    candidates = sorted(DEBIAN.glob(f"*/bin/{name}"), key=lambda path: int(path.parts[-3]) if path.parts[-3].isdigit() else 0)
    return str(candidates[-1]) if candidates else found


@pytest.fixture(scope="module")
def postgres(tmp_path_factory) -> str:
    """URL of an empty database on a free loopback port, of a server that ends with the tests."""
    initdb, pg_ctl = program("initdb"), program("pg_ctl")
    if not initdb or not pg_ctl:
        pytest.skip("no PostgreSQL here: install Debian's package postgresql")
    user = None
    if os.geteuid() == 0:  # PostgreSQL refuses to run as root
        user = "postgres"
        try:
            pwd.getpwnam(user)
        except KeyError:
            pytest.skip("PostgreSQL does not run as root, and there is no user postgres")
    folder = Path(subprocess.run(["mktemp", "-d", "/tmp/hands-postgres-XXXXXX"], capture_output=True, text=True).stdout.strip())
    if user:
        shutil.chown(folder, user)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]

    def run(*words: str) -> None:
        subprocess.run(words, user=user, cwd=folder, check=True, stdout=subprocess.DEVNULL, timeout=120)

    data = str(folder / "data")
    run(initdb, "--pgdata", data, "--auth", "trust", "--username", "hands", "--no-sync")
    options = f"-h 127.0.0.1 -p {port} -k {folder} -c fsync=off"
    run(pg_ctl, "--pgdata", data, "--wait", "--log", str(folder / "log"), "--options", options, "start")
    try:
        yield f"postgresql://hands@127.0.0.1:{port}/postgres"
    finally:
        run(pg_ctl, "--pgdata", data, "--mode", "immediate", "stop")
        shutil.rmtree(folder, ignore_errors=True)


def test_killed_workers_trial_is_retried_once_by_another(postgres, tiny_packed, logged, store, session_store, tmp_path):
    words = command("sweep", *sweep_arguments(tiny_packed, logged, postgres, n_trials=3, study_name="killed", pruner="none"))
    log_file = tmp_path / "log"
    with log_file.open("w") as log:
        sweep = subprocess.Popen(words, env=environment(session_store), stdout=log, stderr=log, cwd=ROOT)
    number, run_id, process = begun_trial(sweep, log_file, 600)
    os.kill(process, signal.SIGKILL)
    assert sweep.wait(600) == 0, log_file.read_text()[-3000:]

    trials = optuna.load_study(study_name="killed", storage=postgres.replace("postgresql:", "postgresql+psycopg2:")).trials
    victim = trials[number]
    assert victim.state == TrialState.FAIL
    retries = [trial for trial in trials if trial.system_attrs.get("retry_history") == [victim.number]]
    assert len(retries) == 1 and retries[0].state == TrialState.COMPLETE
    assert retries[0].params == (victim.params or retries[0].params)
    assert retries[0].user_attrs["worker"] != victim.user_attrs["worker"]
    assert [trial.state for trial in trials].count(TrialState.COMPLETE) == 3

    experiment = store.get_experiment_by_name("tests").experiment_id
    run = store.search_runs([experiment], "tags.`hands.study` = 'killed' and attributes.run_name = 'sweep'")[0]
    assert run.info.status == "FINISHED"
    runs = children(store, run.info.run_id)
    assert sorted(child.info.status for child in runs.values()) == ["FAILED", "FINISHED", "FINISHED", "FINISHED"]
    dead = store.get_run(run_id)
    assert dead.info.status == "FAILED" and "killed" in dead.data.tags[FAILURE_TAG]
    assert read_winner(run.info.run_id).keys() == {"ce_weight", "dice_weight", "adv_weight"}
    assert "repeats" in mlflow.artifacts.load_text(f"runs:/{run.info.run_id}/trials.csv")
