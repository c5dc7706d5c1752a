"""Predicted labels and overlays as files."""

import numpy as np
import pytest

from hands.errors import InvalidInput
from hands.prediction.predictions import write_labels
from hands.processes.folders import whole_folder
from tests.full_disk import files_up_to


def test_a_full_disk_stops_predicted_labels_and_leaves_nothing(tmp_path):
    noise = np.random.default_rng(0).integers(0, 17, (3, 200, 200), np.uint8)

    def write() -> None:
        with whole_folder(tmp_path / "labels") as partial:
            write_labels(partial, "a", noise[:2])

    with files_up_to(5_000), pytest.raises(InvalidInput, match="labels cannot be written .File too large"):
        write()
    assert list(tmp_path.iterdir()) == []
