"""The job scripts of docs/jobs: what they do with a signal, by a stand-in for mlflow and then by mlflow itself."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from mlflow import MlflowClient

from tests.packed.blobs import SIZE
from tests.project import EXPERIMENT, ROOT, environment, new_store, wait_until

SCRIPTS = {"slurm": ("SLURM_JOB_ID", 0), "lsf": ("LSB_JOBID", 99)}  # where the job's id is; exit code of a job queued again
MLFLOW = """#!{python}
import subprocess, sys
open("arguments", "a").write(" ".join(sys.argv[1:]) + "\\n")
sys.exit(1 if subprocess.run([sys.executable, "entry_point.py"]).returncode else 0)
"""
ENTRY_POINT = """
import signal, sys, time
def stop(number, frame):
    for other in (signal.SIGUSR1, signal.SIGTERM):
        signal.signal(other, signal.SIG_IGN)
    time.sleep(1)  # it writes its checkpoint
    open("ended", "w").write(signal.Signals(number).name)
    sys.exit(130)
signal.signal(signal.SIGUSR1, stop)
signal.signal(signal.SIGTERM, stop)
open("begun", "w").close()
time.sleep({seconds})
open("ended", "w").write("by itself")
"""


@pytest.fixture(params=SCRIPTS)
def scheduler(request) -> str:
    return request.param


@pytest.fixture
def job(scheduler, tmp_path) -> Callable:
    """job(seconds, *arguments): starts the script in tmp_path, with an entry point that takes so long."""
    programs = tmp_path / "programs"
    programs.mkdir()
    fake(programs / "mlflow", MLFLOW.format(python=sys.executable))
    fake(programs / "scontrol", '#!/bin/bash\necho "$@" >> scontrol\n')

    def start(seconds: float, *arguments: str) -> subprocess.Popen:
        (tmp_path / "entry_point.py").write_text(ENTRY_POINT.format(seconds=seconds))
        variables = os.environ | {"PATH": f"{programs}{os.pathsep}{os.environ['PATH']}", SCRIPTS[scheduler][0]: "17"}
        return submit(scheduler, arguments, tmp_path, variables)

    return start


def fake(file: Path, content: str) -> None:
    file.write_text(content)
    file.chmod(0o755)


def submit(scheduler: str, arguments: tuple[str, ...], folder: Path, variables: dict[str, str]) -> subprocess.Popen:
    script = ROOT / "docs" / "jobs" / f"{scheduler}.sh"
    if not (folder / "docs").exists():
        (folder / "docs").symlink_to(ROOT / "docs")  # the folder stands for the project
    return subprocess.Popen(["bash", str(script), *arguments], cwd=folder, env=variables, start_new_session=True)


def test_scripts_are_bash(scheduler):
    for name in (scheduler, "until_done"):
        subprocess.run(["bash", "-n", str(ROOT / "docs" / "jobs" / f"{name}.sh")], check=True)


@pytest.mark.parametrize("to_all", [False, True], ids=["to the script", "to all of the job"])
def test_the_warning_ends_the_entry_point_and_queues_the_job_again(scheduler, job, tmp_path, to_all):
    process = job(60, "phase1", "-P", "epochs=3")
    wait_until((tmp_path / "begun").exists, process)
    (os.killpg if to_all else os.kill)(process.pid, signal.SIGUSR1)
    assert process.wait(20) == (SCRIPTS[scheduler][1] if scheduler == "lsf" else 1)
    assert (tmp_path / "ended").read_text() == "SIGUSR1"  # and the script has waited for it
    if scheduler == "slurm":
        assert (tmp_path / "scontrol").read_text() == "requeue 17\n"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name)
def test_a_cancelled_job_ends_in_order_and_is_not_queued_again(job, tmp_path, number):
    process = job(60, "main")
    wait_until((tmp_path / "begun").exists, process)
    process.send_signal(number)
    process.send_signal(number)
    assert process.wait(20) == 1
    assert (tmp_path / "ended").read_text() == "SIGUSR1"
    assert not (tmp_path / "scontrol").exists()


def test_a_job_that_is_done_is_not_queued_again(job, tmp_path):
    assert job(0, "phase1").wait(20) == 0
    assert (tmp_path / "ended").read_text() == "by itself"
    assert not (tmp_path / "scontrol").exists()


def test_a_job_goes_on_where_its_own_checkpoint_is(scheduler, job, tmp_path):
    for words in (("phase1", "-P", "epochs=3"), ("main",)):
        job(0, *words).wait(20)
    checkpoint = tmp_path / "checkpoints" / "job-17" / ("a" * 32)
    checkpoint.mkdir(parents=True)
    (checkpoint / "last.pt").touch()
    for words in (("phase1", "-P", "epochs=3"), ("main",)):
        job(0, *words).wait(20)
    said = [re.sub(rf"{tmp_path}/", "", line) for line in (tmp_path / "arguments").read_text().splitlines()]
    common = "run . --env-manager uv -e {} -P checkpoint_dir=checkpoints/job-17"
    step, main = common.format("phase1") + " -P epochs=3", common.format("main")
    assert said == [step, main, step + " -P resume=latest", main]


@pytest.mark.slow
def test_a_real_run_goes_on_in_the_next_job(scheduler, tmp_path, tiny_packed, store_template):
    uri = new_store(tmp_path / "store", store_template)
    for name in ("MLproject", "conda.yaml", "entrypoints", "hands", "sweeps"):
        (tmp_path / name).symlink_to(ROOT / name)
    (tmp_path / "programs").mkdir()
    fake(tmp_path / "programs" / "scontrol", '#!/bin/bash\necho "$@" >> scontrol\n')
    given = {
        "packed_dir": tiny_packed.folder, "g1": "light", "encoder_weights": "none", "batch_size": 4, "epochs": 12,
        "devices": 1, "accelerator": "cpu",
    }  # fmt: skip
    words = ("phase1", *(word for name, value in given.items() for word in ("-P", f"{name}={value}")))
    variables = environment(uri, HANDS_ENV_MANAGER="local") | {SCRIPTS[scheduler][0]: "18"}
    variables["PATH"] = f"{tmp_path / 'programs'}{os.pathsep}{variables['PATH']}"
    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name(EXPERIMENT).experiment_id

    def runs() -> dict[str, str]:
        return {run.info.run_name: run for run in client.search_runs([experiment])}

    first = submit(scheduler, words, tmp_path, variables)
    wait_until(lambda: any("train/loss_ce" in run.data.metrics for run in runs().values()), first)
    first.send_signal(signal.SIGUSR1)
    assert first.wait(120) == (SCRIPTS[scheduler][1] if scheduler == "lsf" else 1)
    (killed,) = runs().values()
    assert killed.data.tags["hands.failure"].startswith("Stopped: SIGUSR1")
    assert killed.info.status == "KILLED"
    assert (tmp_path / "checkpoints" / "job-18" / killed.info.run_id / "last.pt").exists()
    assert submit(scheduler, words, tmp_path, variables).wait(300) == 0
    ended = runs()
    assert {run.info.status for run in ended.values()} == {"FINISHED"}
    assert len(ended) == 2 and ended[f"phase1 light {SIZE} px"].info.run_id == killed.info.run_id  # the other one points to it
    epochs = client.get_metric_history(killed.info.run_id, "train/loss_ce")
    assert [point.step for point in epochs] == list(range(1, 13))
