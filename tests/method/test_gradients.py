"""Norms of the terms' gradients, against values by hand."""

import pytest
import torch

from hands.method.gradients import ratio, watched


def test_norms_by_hand():
    values = torch.tensor([3.0, 4.0], requires_grad=True)
    first, second = [], []
    loss = 0.5 * watched(values, first).square().sum() + 2 * watched(values, second)[0]
    assert first == second == []
    loss.backward()
    # the gradients are (3, 4) and (2, 0)
    assert (first[0].item(), second[0].item()) == (5.0, 2.0)
    assert ratio(second, first).item() == pytest.approx(0.4)
    assert values.grad.tolist() == [5.0, 4.0]


def test_a_term_without_a_gradient():
    values = torch.ones(2, requires_grad=True)
    first, second = [], []
    (0 * watched(values, first).sum() + 0 * watched(values, second).sum()).backward()
    assert ratio(first, second).item() == 0


def test_layout_and_values_stay():
    values = torch.rand(2, 34, 4, 4).to(memory_format=torch.channels_last).requires_grad_()
    same = watched(values, [])
    assert torch.equal(same, values) and same.stride() == values.stride()
