"""Batches of the tiny packed set, as a step gets them."""

import pytest

from hands.packed.batches import Batch
from hands.packed.packed_set import PackedSet
from tests.small_training import first_batch


@pytest.fixture
def paired_batch(tiny_packed: PackedSet) -> Batch:
    return first_batch(tiny_packed, "train", 4)


@pytest.fixture
def unpaired_batch(tiny_packed: PackedSet) -> Batch:
    return first_batch(tiny_packed, "unpaired_images", 8)
