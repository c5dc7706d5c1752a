"""Two processes train what one trains: the same batches, the same augmentation, the mean of the gradients."""

import json
import os
import subprocess
import sys

import pytest

from hands.packed.packed_set import PackedSet
from tests.method.two_processes import CASES, GIVEN, outcomes
from tests.project import ROOT

# Nothing but the order of float32 sums is left to differ; Adam divides by the gradient's size and keeps that small.
EXACT = [case for case, (step, norm) in CASES.items() if step.exact_in_two and norm != "batch_norm"]
BATCH_NORM = [case for case in CASES if case not in EXACT]


@pytest.fixture(scope="module")
def one_and_two(tiny_packed: PackedSet, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict, dict]:
    out = tmp_path_factory.mktemp("two_processes") / "out.json"
    command = [sys.executable, "-m", "tests.method.two_processes", str(tiny_packed.folder), "2", str(out)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-4000:]
    return outcomes(str(tiny_packed.folder), "1")[1], json.loads(out.read_text())


@pytest.mark.parametrize("case", EXACT)
def test_losses_and_scores_are_those_of_one_process(one_and_two, case: str):
    one, two = (found[case] for found in one_and_two)
    assert len(one["epochs"]) == len(two["epochs"]) == GIVEN["epochs"]
    for alone, together in zip(one["epochs"], two["epochs"], strict=True):
        names = [name for name in alone if name == "train/loss_ce" or name.startswith("val/")]
        assert {name: together[name] for name in names} == pytest.approx(
            {name: alone[name] for name in names}, rel=1e-4, abs=1e-4, nan_ok=True
        )
    assert one["epochs"][-1]["train/loss_ce"] < one["epochs"][0]["train/loss_ce"]


@pytest.mark.parametrize("case", EXACT)
def test_weights_are_those_of_one_process(one_and_two, case: str):
    one, two = (found[case] for found in one_and_two)
    assert two["weights"] == pytest.approx(one["weights"], abs=2e-4)
    assert two["best"]["best_epoch"] == one["best"]["best_epoch"]


@pytest.mark.parametrize("case", BATCH_NORM)
def test_batch_norm_sees_half_batches_and_changes_little(one_and_two, case: str):
    """Statistics of 2 instead of 4 pictures, 2048 pixels each: a relative error of the order of 1 / sqrt(2048) in each."""
    one, two = (found[case]["epochs"] for found in one_and_two)
    for alone, together in zip(one, two, strict=True):
        assert together["train/loss_ce"] == pytest.approx(alone["train/loss_ce"], rel=0.04)
        assert together["val/miou"] == pytest.approx(alone["val/miou"], abs=0.06)


@pytest.mark.parametrize("case", CASES)
def test_all_processes_end_with_the_same_weights_and_statistics(one_and_two, case: str):
    assert one_and_two[1][case]["alike"]
