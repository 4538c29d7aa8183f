"""The von Mises-Fisher normaliser: its gradient, its limits, half precision. Against mpmath: tests/reference."""

from __future__ import annotations

import math

import pytest
import torch

from engines.toolbox.von_mises_fisher import log_normaliser, value_and_slope


@pytest.mark.parametrize("dimensions", [2, 3, 32, 300, 768])
def test_gradcheck(dimensions: int) -> None:
    kappa_N = torch.tensor([1e-3, 0.1, 1.0, 7.0, 60.0, 500.0, 2000.0], dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(lambda kappa: log_normaliser(kappa, dimensions), kappa_N, eps=1e-4)


@pytest.mark.parametrize("dimensions", [2, 32, 300, 768])
def test_the_slope_at_small_and_large_concentration(dimensions: int) -> None:
    """A_m is kappa / m near 0, and 1 - (m - 1) / (2 kappa) far out."""
    _, slope_N = value_and_slope(torch.tensor([0.0, 1e-4, 1e7], dtype=torch.float64), dimensions)
    assert slope_N[0] == 0
    assert slope_N[1].item() == pytest.approx(-1e-4 / dimensions, rel=1e-7)
    assert slope_N[2].item() == pytest.approx(-(1 - (dimensions - 1) / 2e7), abs=1e-9)


def test_gradients_of_gradients_are_refused() -> None:
    kappa_N = torch.ones(3).requires_grad_()
    with pytest.raises(RuntimeError, match="no gradient of its gradient"):
        torch.autograd.grad(log_normaliser(kappa_N, 10).sum(), kappa_N, create_graph=True)


def test_no_kappa_gives_something_not_finite() -> None:
    kappa_N = torch.logspace(-30, 6, 500).requires_grad_()  # float32
    for dimensions in (2, 3, 50, 300, 768, 3000):
        value_N = log_normaliser(kappa_N, dimensions)
        (slope_N,) = torch.autograd.grad(value_N.sum(), kappa_N)
        assert value_N.dtype == slope_N.dtype == torch.float32
        assert torch.isfinite(value_N).all()
        assert ((slope_N <= 0) & (slope_N >= -1)).all()


def test_the_density_integrates_to_one() -> None:
    """Over the angle to the mean direction, with the surface of the ring at that angle."""
    theta = torch.linspace(0, math.pi, 20_001, dtype=torch.float64)
    for dimensions in (3, 8, 40):
        for kappa in (0.5, 10.0, 80.0):
            log_c = log_normaliser(torch.tensor([kappa], dtype=torch.float64), dimensions)
            log_ring = math.log(2) + (dimensions - 1) / 2 * math.log(math.pi) - math.lgamma((dimensions - 1) / 2)
            density = (log_c + kappa * theta.cos() + log_ring).exp() * theta.sin().pow(dimensions - 2)
            assert torch.trapezoid(density, theta).item() == pytest.approx(1.0, abs=1e-6)
