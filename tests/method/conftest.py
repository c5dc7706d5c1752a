"""Batches of the tiny packed set, as a step gets them."""

import pytest
import torch

from hands.packed.packed_set import PackedSet


@pytest.fixture
def paired_batch(tiny_packed: PackedSet) -> torch.Tensor:
    return tiny_packed.subset("train").read(range(4), None)
