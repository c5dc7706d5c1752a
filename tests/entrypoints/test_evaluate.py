"""The entry point `evaluate` against scores computed by hand from the same predictions."""

import mlflow
import numpy as np
import pytest
import torch

from hands.evaluation.inference import labels_of
from hands.packed.augment import centre
from hands.parts import HAND_TYPES, NUM_CLASSES
from tests.project import artifact_paths, invoke, newest_run

MIN_PIXELS = 20 * (32 / 128) ** 2  # of a part, 20 at 128x128
INTERACTING = HAND_TYPES.index("interacting")


@pytest.fixture(scope="module")
def evaluated(session_store, logged, tiny_packed):
    """The run of an evaluation on val."""
    from mlflow import MlflowClient

    from tests.project import track_to

    with pytest.MonkeyPatch.context() as patch:
        track_to(session_store, patch)
        result = invoke("evaluate", model=logged.g2_uri, packed_dir=tiny_packed.folder, split="val", precision="32-true")
        assert result.exit_code == 0, result.output
        return newest_run(MlflowClient(session_store))


@pytest.fixture(scope="module")
def pairs(logged, tiny_packed) -> list[tuple[int, int, np.ndarray, np.ndarray]]:
    """(hand type, hand, truth, predicted) of every picture and hand of val."""
    subset = tiny_packed.subset("val")
    images, truth = centre(subset.read(np.arange(len(subset)), None), subset.size)
    with torch.inference_mode():
        predicted = labels_of(logged.g2(images))
    return [
        (int(subset.hand_types[n]), hand, truth[n, hand].numpy(), predicted[n, hand].numpy())
        for n in range(len(subset))
        for hand in range(2)
    ]


def iou(truth: np.ndarray, predicted: np.ndarray, part: int) -> float:
    union = np.sum((truth == part) | (predicted == part))
    return np.sum((truth == part) & (predicted == part)) / union if union else np.nan


def picture_hand_miou(truth: np.ndarray, predicted: np.ndarray) -> float:
    parts = [part for part in range(1, NUM_CLASSES) if np.sum(truth == part) >= MIN_PIXELS]
    return np.mean([iou(truth, predicted, part) for part in parts]) if parts else np.nan


def together(pairs) -> tuple[np.ndarray, np.ndarray]:
    return np.stack([truth for *_, truth, _ in pairs]), np.stack([predicted for *_, predicted in pairs])


def dataset_miou(truth: np.ndarray, predicted: np.ndarray) -> float:
    return np.nanmean([iou(truth, predicted, part) for part in range(1, NUM_CLASSES) if (truth == part).any()])


def test_headline_is_the_mean_over_pictures_and_hands(evaluated, pairs):
    by_hand = [picture_hand_miou(truth, predicted) for *_, truth, predicted in pairs]
    assert evaluated.data.metrics["val/miou"] == pytest.approx(np.nanmean(by_hand), abs=1e-6)


@pytest.mark.parametrize(("name", "interacting"), [("miou_single", False), ("miou_interacting", True)])
def test_scores_by_hand_type(evaluated, pairs, name, interacting):
    by_hand = [picture_hand_miou(*rest) for kind, _, *rest in pairs if (kind == INTERACTING) == interacting]
    assert evaluated.data.metrics[f"val/{name}"] == pytest.approx(np.nanmean(by_hand), abs=1e-6)


def test_absent_hands_that_are_painted(evaluated, pairs):
    absent = [predicted for *_, truth, predicted in pairs if not truth.any()]
    painted = np.mean([np.sum(predicted > 0) > MIN_PIXELS for predicted in absent])
    assert absent and evaluated.data.metrics["val/absent_hand"] == pytest.approx(painted)


def part_table(run) -> dict[str, list]:
    table = mlflow.artifacts.load_dict(f"{run.info.artifact_uri}/parts_val.json")
    return {name: [row[i] for row in table["data"]] for i, name in enumerate(table["columns"])}


def test_part_table(evaluated, pairs, store):
    table = part_table(evaluated)
    assert {name: len(column) for name, column in table.items()} == dict.fromkeys(table, NUM_CLASSES - 1) and "part" in table
    for hand, name in enumerate(("left", "right")):
        truth, predicted = together([pair for pair in pairs if pair[1] == hand])
        for part in range(1, NUM_CLASSES):
            assert table[f"pixels_{name}"][part - 1] == np.sum(truth == part)
            if (truth == part).any():
                assert table[f"iou_{name}"][part - 1] == pytest.approx(iou(truth, predicted, part), abs=1e-6)
    truth, predicted = together(pairs)
    present = [part for part in range(1, NUM_CLASSES) if (truth == part).any()]
    assert [table["iou"][part - 1] for part in present] == pytest.approx(
        [iou(truth, predicted, part) for part in present], abs=1e-6
    )


def test_scores_stand_at_model_and_dataset(evaluated, logged, store, tiny_packed):
    metrics = {m.key: m for m in store.get_logged_model(logged.g2_uri.removeprefix("models:/")).metrics}
    assert {"val/miou", "val/miou_dataset", "val/absent_hand"} <= set(metrics)
    assert metrics["val/miou"].dataset_digest == tiny_packed.manifest.digest
    assert metrics["val/miou"].value == evaluated.data.metrics["val/miou"]
    assert evaluated.inputs.dataset_inputs[0].dataset.digest == tiny_packed.manifest.digest


def test_pictures_and_matrices_are_kept(evaluated, store):
    paths = artifact_paths(store, evaluated)
    assert {"confusion_val.png", "parts_val.json", "frames_val.png", "best_val.png", "worst_val.png"} <= paths
    (in_grid,) = (path for path in artifact_paths(store, evaluated, "images") if path.endswith(".png"))
    assert in_grid.startswith("images/val_frames+step+0+")


@pytest.mark.parametrize("split", ["minival", "trainval"])
def test_other_labelled_splits(store, logged, tiny_packed, split):
    result = invoke("evaluate", model=logged.g2_uri, packed_dir=tiny_packed.folder, split=split)
    assert result.exit_code == 0, result.output
    assert f"{split}/miou" in newest_run(store).data.metrics


@pytest.mark.parametrize("split", ["unpaired_images", "unpaired_masks"])
def test_splits_that_cannot_be_scored_are_refused(store, logged, tiny_packed, split):
    result = invoke("evaluate", model=logged.g2_uri, packed_dir=tiny_packed.folder, split=split)
    assert result.exit_code == 1
    assert f"'{split}' cannot be scored: it has no pictures with labels; choose another split" in result.output


def test_a_discriminator_cannot_be_scored(store, logged, tiny_packed):
    result = invoke("evaluate", model=logged.d_uri, packed_dir=tiny_packed.folder, split="val")
    assert result.exit_code == 1 and "expected a segmentation network" in result.output
    assert newest_run(store).info.status == "FAILED"
