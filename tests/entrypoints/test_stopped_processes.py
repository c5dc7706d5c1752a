"""Several processes that train together: a signal to one of them stops all after the same step, and they go on together."""

import os
import signal
import subprocess

import psutil
import pytest
from mlflow import MlflowClient

from tests.project import ROOT, arguments, command, environment, new_store, newest_run, wait_until


@pytest.mark.slow
@pytest.mark.parametrize("rank", [0, 1])
def test_a_signal_to_one_process_stops_all(rank, tmp_path, tiny_packed, logged, store_template):
    uri = new_store(tmp_path / "store", store_template)
    client = MlflowClient(uri)
    given = {
        "packed_dir": tiny_packed.folder, "g1": "light", "encoder_weights": "none", "batch_size": 4, "epochs": 6,
        "accelerator": "cpu", "devices": 2, "strategy": "ddp", "checkpoint_dir": tmp_path / "checkpoints",
    }  # fmt: skip

    def start(resume: str) -> subprocess.Popen:
        words = command("phase1", *arguments("phase1", **given | {"resume": resume}))
        return subprocess.Popen(words, cwd=ROOT, env=environment(uri, OMP_NUM_THREADS="1"), start_new_session=True)

    process = start("")
    wait_until(lambda: any("train/loss_ce" in run.data.metrics for run in client.search_runs([1])), process)
    (other,) = psutil.Process(process.pid).children()
    os.kill(other.pid if rank else process.pid, signal.SIGUSR1)
    assert process.wait(60) == 130
    killed = newest_run(client)
    assert killed.info.status == "KILLED"
    assert (tmp_path / "checkpoints" / killed.info.run_id / "last.pt").exists()
    assert start("latest").wait(300) == 0
    ended = newest_run(client)
    assert (ended.info.run_id, ended.info.status) == (killed.info.run_id, "FINISHED")
    epochs = client.get_metric_history(ended.info.run_id, "train/loss_ce")
    assert [point.step for point in epochs] == list(range(1, 7))
