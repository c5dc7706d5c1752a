"""Step keys: what they tell apart, and what they do not."""

import pytest

from hands.tracking.keys import step_key

PHASE1 = {
    "packed_dir": "/data/packed", "train_split": "train", "seed": 0, "lr": 2.5e-4, "g1": "uxnet", "g1_model": "",
    "encoder_weights": "auto", "accelerator": "auto", "devices": "auto", "num_nodes": 1, "strategy": "auto",
    "precision": "auto", "memory_format": "auto", "data_residency": "disk", "checkpoint_dir": "/a", "checkpoint_minutes": 10.0,
    "resume": "",
}  # fmt: skip
KNOWN = {
    "packed_dir": "f" * 32, "encoder_weights": "imagenet", "accelerator": "cpu", "devices": "1", "precision": "32-true",
    "memory_format": "contiguous",
}  # fmt: skip


def key(entry_point: str = "phase1", code: str = "c", params: dict | None = None, known: dict | None = None) -> str:
    return step_key(entry_point, code, PHASE1 | (params or {}), KNOWN | (known or {}))


@pytest.mark.parametrize("changed", [
    {"entry_point": "phase2_init"},
    {"code": "d"},
    {"params": {"lr": 1e-4}},
    {"params": {"seed": 1}},
    {"params": {"train_split": "minitrain"}},
    {"params": {"g1": "light"}},
    {"params": {"num_nodes": 2}},
    {"known": {"packed_dir": "e" * 32}},
    {"known": {"encoder_weights": "none"}},
    {"known": {"accelerator": "cuda"}},
    {"known": {"devices": "2"}},
    {"known": {"precision": "bf16-mixed"}},
    {"known": {"memory_format": "channels_last"}},
])  # fmt: skip
def test_what_changes_results_is_told_apart(changed):
    assert key(**changed) != key()


@pytest.mark.parametrize("changed", [
    {"packed_dir": "../data/packed"},  # its content is known
    {"checkpoint_dir": "/b"},
    {"checkpoint_minutes": 1.0},
    {"resume": "latest"},
    {"data_residency": "device"},
    {"precision": "32-true"},  # what auto comes to
    {"encoder_weights": "imagenet"},
    {"strategy": "ddp"},  # one process has nothing to distribute
])  # fmt: skip
def test_what_does_not_change_results_is_not(changed):
    assert key(params=changed) == key()


def test_how_several_processes_work_together_counts():
    assert key(params={"strategy": "ddp"}, known={"devices": "2"}) != key(params={"strategy": "fsdp"}, known={"devices": "2"})


def test_with_a_model_the_network_that_would_be_made_does_not_count():
    given = {"g1_model": "models:/m-1"}
    assert key(params=given) == key(params=given | {"g1": "light"}, known={"encoder_weights": "none"})
    assert key(params=given) != key(params={"g1_model": "models:/m-2"})
    phase2_init = {"g1_model": "models:/m-1", "g2": "light", "g2_model": "", "encoder_weights": "auto"}
    assert step_key("phase2_init", "c", phase2_init, {}) != step_key("phase2_init", "c", phase2_init | {"g2": "uxnet"}, {})


def test_synthesize_and_prepare_have_no_devices():
    prepare = {"data_dir": "/raw", "out_dir": "/packed", "size": 128, "workers": 0}
    again = {"data_dir": "raw", "out_dir": "elsewhere", "size": 128, "workers": 8}
    content = {"data_dir": "a" * 32}
    assert step_key("prepare", "c", prepare, content) == step_key("prepare", "c", again, content)
    assert step_key("prepare", "c", prepare, content) != step_key("prepare", "c", prepare, {"data_dir": "b" * 32})
