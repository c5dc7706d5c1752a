"""What `prepare` says of a data set beside packing it."""

import warnings
from pathlib import Path

import numpy as np
import pytest
from mlflow import MlflowClient

from hands.tracking import WARNING_TAG
from tests.project import invoke, newest_run
from tests.raw.independent_layout import RawFiles, png, small_set


def prepare(files: RawFiles, folder: Path, **params: object) -> None:
    result = invoke("prepare", data_dir=str(files.write(folder / "raw")), out_dir=str(folder / "packed"), size=32, workers=1,
                    **params)  # fmt: skip
    assert result.exit_code == 0, result.output


def test_a_wrong_channel_order_is_warned_of_with_the_figure_and_the_remedy(store: MlflowClient, tmp_path: Path):
    with pytest.warns(UserWarning, match="only 0 of 5 colour pictures .* pack the set again with channel_order=bgr"):
        prepare(small_set({"train": 3, "unpaired_images": 2, "val": 2}), tmp_path, channel_order="rgb")
    run = newest_run(store)
    assert "only 0 of 5 colour pictures" in run.data.tags[WARNING_TAG]
    assert run.data.metrics["red_above_blue/train"] == run.data.metrics["red_above_blue/val"] == 0


def test_nothing_is_warned_of_where_the_order_is_right(store: MlflowClient, tmp_path: Path):
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*colour pictures.*")
        prepare(small_set({"train": 3, "val": 2}), tmp_path)
    run = newest_run(store)
    assert WARNING_TAG not in run.data.tags
    assert run.data.metrics["red_above_blue/train"] == 1
    assert "red_above_blue/test" not in run.data.metrics


def test_the_share_of_ignored_pixels_is_logged(store: MlflowClient, tmp_path: Path):
    files = small_set({"train": 1, "val": 1})
    files.labels["train0__r"] = png(np.full((40, 32, 3), 255, np.uint8))
    files.lists["datalist_train_mp.pt"][0]["bbox"] = np.array([0, 0, 32, 32], np.float32)
    prepare(files, tmp_path)
    metrics = newest_run(store).data.metrics
    assert metrics["ignored/train"] == 0.5  # all of one hand
    assert metrics["ignored/val"] == 0
