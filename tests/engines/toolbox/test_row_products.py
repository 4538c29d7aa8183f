"""Products of rows: the values and gradients of the element-wise form, to the second order, and what they count for."""

from __future__ import annotations

import pytest
import torch

from engines.api import Trial
from engines.runtime.flops import count
from engines.toolbox import trials
from engines.toolbox.row_products import row_products
from plugins.softmax.hierarchical import Hierarchical


def test_values_and_gradients_to_the_second_order() -> None:
    torch.manual_seed(0)
    a_PD, b_PD = torch.randn(2, 5, 3, dtype=torch.float64, requires_grad=True).unbind()
    torch.testing.assert_close(row_products(a_PD, b_PD), (a_PD * b_PD).sum(dim=1))
    assert torch.autograd.gradcheck(row_products, (a_PD, b_PD))
    assert torch.autograd.gradgradcheck(row_products, (a_PD, b_PD))


@pytest.mark.parametrize("other", [torch.bfloat16, torch.float32])
def test_types_are_those_of_a_product(other: torch.dtype) -> None:
    a_PD, b_PD = torch.ones(4, 3, dtype=other, requires_grad=True), torch.ones(4, 3, requires_grad=True)
    found = row_products(a_PD, b_PD)
    assert found.dtype == torch.float32
    found.sum().backward()
    assert (a_PD.grad.dtype, b_PD.grad.dtype) == (other, torch.float32)  # type: ignore[union-attr]
    assert row_products(a_PD.to("meta"), b_PD.to("meta")).dtype == torch.float32


def test_a_tree_costs_two_operations_a_number_of_each_node_on_the_path_and_twice_that_backward() -> None:
    trial = Trial(vocabulary=300, width=16)
    head = Hierarchical().build(trials.site(trial))
    h_ND, y_N = torch.randn(40, 16, requires_grad=True), torch.randint(300, (40,))
    forward = 2 * 16 * int(head.length_V[y_N].sum())
    assert count(lambda: head.nll(h_ND, y_N))[0].flops == forward
    assert count(lambda: head.loss(h_ND, y_N).backward())[0].flops == 3 * forward
