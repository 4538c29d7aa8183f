"""The von Mises-Fisher normaliser against mpmath's Bessel functions in fifty digits, and against torch's own circular distribution."""

from __future__ import annotations

import mpmath
import pytest
import torch

from engines.toolbox.von_mises_fisher import log_normaliser, value_and_slope

KAPPA = [1e-3, 1e-2, 0.1, 0.5, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0, 2000.0]


@pytest.mark.parametrize("dimensions", [2, 3, 5, 16, 32, 64, 100, 128, 300, 512, 576, 768])
def test_value_and_slope_against_mpmath(dimensions: int) -> None:
    value_N, slope_N = value_and_slope(torch.tensor(KAPPA, dtype=torch.float64), dimensions)
    with mpmath.workdps(50):
        v, half = mpmath.mpf(dimensions) / 2 - 1, mpmath.mpf(dimensions) / 2
        for kappa, value, slope in zip(map(mpmath.mpf, KAPPA), value_N.tolist(), slope_N.tolist(), strict=True):
            bessel, above = mpmath.besseli(v, kappa), mpmath.besseli(v + 1, kappa)
            exact = v * mpmath.log(kappa) - half * mpmath.log(2 * mpmath.pi) - mpmath.log(bessel)
            assert value == pytest.approx(float(exact), rel=1e-10, abs=1e-9)
            assert slope == pytest.approx(float(-above / bessel), rel=1e-10)


def test_on_the_circle_it_is_torchs_von_mises() -> None:
    angle = torch.tensor([0.3, -1.0, 2.5], dtype=torch.float64)
    x_NM = torch.tensor([[0.7, -0.2], [3.0, 4.0], [-20.0, 11.0]], dtype=torch.float64)
    e_NM = torch.stack((angle.cos(), angle.sin()), dim=1)
    kappa_N = x_NM.norm(dim=1)
    ours = log_normaliser(kappa_N, 2) + (x_NM * e_NM).sum(dim=1)
    theirs = torch.distributions.VonMises(torch.atan2(x_NM[:, 1], x_NM[:, 0]), kappa_N).log_prob(angle)
    torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-6)  # torch's Bessel function is a polynomial fit
