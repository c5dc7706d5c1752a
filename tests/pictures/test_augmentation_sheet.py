"""The sheet of augmented pictures in the documents can be made of any packed set."""

import numpy as np

from docs.pictures import augmentation
from hands.packed.packed_set import PackedSet


def test_a_row_a_picture_and_a_column_an_augmentation(tiny_packed: PackedSet, tmp_path):
    augmentation.main(str(tiny_packed.folder), str(tmp_path / "sheet.png"), "2", "0")
    sheets = [np.asarray(augmentation.sheet(str(tiny_packed.folder), 2, seed)) for seed in (0, 0, 1)]
    assert np.array_equal(sheets[0], sheets[1]) and not np.array_equal(sheets[0], sheets[2])
    published, strong, pasted = np.split(sheets[0][:350, : sheets[0].shape[1] // 3 * 3], 3, axis=1)
    assert not np.array_equal(published, strong) and not np.array_equal(strong, pasted)
    assert (tmp_path / "sheet.png").stat().st_size > 1000
