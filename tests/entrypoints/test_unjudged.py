"""Splits that cannot teach or judge are refused before a network is built; what a split cannot score is said."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from hands.errors import InvalidInput
from hands.packed.packed_set import PackedSet
from hands.packed.packed_writer import PackedWriter
from hands.parts import HAND_TYPES, PART_NAMES
from hands.raw.provenance import UNKNOWN
from hands.steps import start
from hands.tracking import COVERAGE_TAG
from hands.tracking.models import short_name
from hands.training.state import BestEpoch
from sweeps import given, setting
from sweeps.space import load_space
from tests.packed.blobs import CHANNELS, COUNTS, SIZE
from tests.project import invoke, newest_run
from tests.raw.independent_layout import small_set
from tests.sweeps.sweeping import sweep_params

SIDE, MARGIN = SIZE * 5 // 4, SIZE // 8
HAND, SPECK, NOTHING = 12, 1, 0  # pixels of a part, which is judged from 2 on at this size


def write_set(folder: Path, pixels: dict[str, int], counts: dict[str, int], hand_types: tuple[str, ...]) -> PackedSet:
    """Records whose hands have one part of so many pixels, HAND where a subset is not named."""
    folder.mkdir()
    with PackedWriter(folder, SIZE, CHANNELS) as writer:
        for name, channels in CHANNELS.items():
            for position in range(counts[name]):
                hand_type = hand_types[position % len(hand_types)]
                labels = np.zeros((2, SIDE, SIDE), np.uint8)
                for hand in range(2):
                    if hand_type in (HAND_TYPES[hand], "interacting"):
                        labels[hand, MARGIN, MARGIN : MARGIN + pixels.get(name, HAND)] = 5
                record = np.concatenate([np.full((3, SIDE, SIDE), position, np.uint8), labels])
                writer.add(name, position, hand_type, f"{name}/{position}", record[:3] if channels == 3 else record[-channels:])
        writer.finish("bgr", "0" * 32, counts, {name: {} for name in CHANNELS}, (UNKNOWN,))
    return PackedSet.open(folder)


@pytest.fixture
def a_set(tmp_path: Path) -> Callable[..., PackedSet]:
    def write(counts: dict[str, int] | None = None, hand_types: tuple[str, ...] = HAND_TYPES, **pixels: int) -> PackedSet:
        return write_set(tmp_path / "set", pixels, COUNTS | (counts or {}), hand_types)

    return write


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def built(*arguments):
        raise AssertionError("a network is built")

    monkeypatch.setattr(start, "build_network", built)
    monkeypatch.setattr(start, "load_network", built)
    monkeypatch.setattr(setting, "load_network", built)


def values(entry_point: str, logged, folder: Path) -> dict[str, object]:
    """What a step needs to be told."""
    models = {
        "phase1": {"g1": "light", "encoder_weights": "none"},
        "phase2_init": {"g1_model": logged.g2_uri, "g2": "light", "encoder_weights": "none"},
        "phase2_paired": {"d_model": logged.d_uri, "g2": "light", "encoder_weights": "none"},
        "evaluate": {"model": logged.g2_uri},
    }
    checkpoints = {} if entry_point == "evaluate" else {"checkpoint_dir": folder / "checkpoints", "epochs": 1}
    return models[entry_point] | checkpoints


STEPS = ("phase1", "phase2_init", "phase2_paired", "evaluate")


@pytest.mark.parametrize("entry_point", STEPS)
@pytest.mark.parametrize(
    ("counts", "pixels", "said"),
    [
        ({}, {"val": SPECK}, "'val' has 6 pictures, and in none of them a part of at least 1.25 pixels"),
        ({}, {"val": NOTHING}, "'val' has 6 pictures, and in none of them a part of at least 1.25 pixels"),
        ({"val": 0}, {}, "'val' of the packed set is empty"),
    ],
)
def test_a_validation_split_that_cannot_judge(store, logged, a_set, tmp_path, no_network, entry_point, counts, pixels, said):
    packed = a_set(counts, **pixels)
    result = invoke(entry_point, packed_dir=packed.folder, **values(entry_point, logged, tmp_path))
    assert result.exit_code == 1 and said in result.output and "Traceback" not in result.output, result.output


@pytest.mark.parametrize(
    ("entry_point", "counts", "pixels", "said"),
    [
        ("phase1", {}, {"train": NOTHING}, "'train' has 12 pictures, and no part of a hand is labelled in any"),
        ("phase2_paired", {}, {"train": NOTHING}, "'train' has 12 pictures, and no part of a hand is labelled in any"),
        ("phase1", {"train": 0}, {}, "'train' of the packed set is empty"),
        ("phase2_init", {"unpaired_images": 0}, {}, "no records in 'unpaired_images'"),
        ("phase1", {"unpaired_masks": 0}, {}, "no records in 'unpaired_masks'"),
    ],
)
def test_splits_that_cannot_teach(store, logged, a_set, tmp_path, no_network, entry_point, counts, pixels, said):
    packed = a_set(counts, **pixels)
    result = invoke(entry_point, packed_dir=packed.folder, **values(entry_point, logged, tmp_path))
    assert result.exit_code == 1 and said in result.output and "Traceback" not in result.output, result.output


@pytest.mark.parametrize(
    ("counts", "pixels", "said"),
    [
        ({}, {"val": SPECK}, "'val' has 6 pictures, and in none of them"),
        ({}, {"train": NOTHING}, "no part of a hand is labelled"),
        ({"unpaired_images": 0}, {}, "'unpaired_images' of the packed set is empty"),
    ],
)
def test_a_sweep_is_refused_before_its_first_trial(store, logged, a_set, tmp_path, no_network, counts, pixels, said):
    params = sweep_params(a_set(counts, **pixels), logged, f"sqlite:///{tmp_path}/optuna.db")
    with pytest.raises(InvalidInput, match=said):
        given.check_given(params)


def test_a_sweep_of_a_score_that_val_cannot_have(store, logged, a_set, tmp_path, no_network, monkeypatch):
    space = dataclasses.replace(load_space("loss_weights"), metric="val/miou_overlap")
    monkeypatch.setattr(given, "load_space", lambda name: space)
    params = sweep_params(a_set(hand_types=("left",)), logged, f"sqlite:///{tmp_path}/optuna.db")
    with pytest.raises(InvalidInput, match="seeks val/miou_overlap, which 'val' cannot have: no pixel belongs to both hands"):
        given.check_given(params)


def test_what_cannot_be_scored_is_said_and_tagged(store, logged, a_set):
    packed = a_set(hand_types=("left",))
    result = invoke("evaluate", packed_dir=packed.folder, model=logged.g2_uri, split="val", precision="32-true")
    assert result.exit_code == 0, result.output
    run = newest_run(store)
    said = [
        "val: 6 of 6 pictures can be judged (a part of at least 1.25 pixels)",
        "val/miou_interacting cannot be scored: no picture of interacting hands has a part that is judged",
        "val/miou_overlap cannot be scored: no pixel belongs to both hands",
        "val/miou_dataset_r cannot be scored: no picture has a right hand",
        f"val: no picture shows {', '.join(PART_NAMES[1:5] + PART_NAMES[6:])}; nothing is said of how well they are found",
    ]
    assert run.data.tags[COVERAGE_TAG + "val"].splitlines() == said
    *printed, score = [line.removeprefix("== ") for line in result.output.splitlines() if line.startswith("== val")]
    assert printed == said and score == f"val/miou {run.data.metrics['val/miou']:.4f} of {short_name(logged.g2_uri)}"
    scores = {name for name in run.data.metrics if name.startswith("val/") and "/iou/" not in name}
    assert scores == {"val/miou", "val/miou_single", "val/miou_dataset", "val/miou_dataset_l", "val/absent_hand"}


@pytest.mark.parametrize("score", [float("nan"), float("inf")])
def test_a_checkpoint_whose_best_epoch_has_no_score_is_not_gone_on_with(score: float):
    class Network:
        evaluated = torch.nn.Linear(1, 1)

    best = BestEpoch({"g2": Network()}, judged=True)
    weights = {"g2": Network.evaluated.state_dict()}
    best.resume({"val/miou": 0.5, "best_epoch": 1}, weights)
    with pytest.raises(ValueError, match="no score"):
        best.resume({"val/miou": score, "best_epoch": 1}, weights)


def test_prepare_says_what_can_be_judged(store, tmp_path: Path):
    files = small_set({"train": 3, "val": 2, "test": 1, "unpaired_masks": 1})
    files.put_labels("val0", np.zeros((2, 40, 32), np.uint8))
    files.put_labels("val1", np.zeros((2, 32, 40), np.uint8))
    result = invoke("prepare", data_dir=files.write(tmp_path / "raw"), out_dir=tmp_path / "packed", size=SIZE, workers=1)
    assert result.exit_code == 0, result.output
    said = [line for line in result.output.splitlines() if line.startswith("== val") or "empty" in line]
    assert said == [
        "== unpaired_images: empty",
        "== val: 0 of 2 pictures can be judged (a part of at least 1.25 pixels)",
        "== val/miou cannot be scored: no part is large enough to be judged",
        "== val/miou_overlap cannot be scored: no pixel belongs to both hands",
        "== val/miou_dataset_l cannot be scored: no picture has a left hand",
        "== val/miou_dataset_r cannot be scored: no picture has a right hand",
    ]
    assert "== train: 3 of 3 pictures can be judged (a part of at least 1.25 pixels)" in result.output.splitlines()
    assert newest_run(store).data.tags[COVERAGE_TAG + "val"].splitlines()[0] == said[1].removeprefix("== ")
