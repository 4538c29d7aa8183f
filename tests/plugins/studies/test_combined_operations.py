"""Combined operations: the LSTM step against torch's own cell, and what is concluded."""

from __future__ import annotations

import pytest
import torch

from plugins.studies.combined_operations import STEPS, WHOLE, CombinedOperations, gate_by_gate, gates_stacked, side_by_side
from tests.plugins.studies.figures import every, figures


@pytest.mark.parametrize("way", [gate_by_gate, gates_stacked, side_by_side])
def test_every_step_is_that_of_torchs_lstm_cell(way):
    """The cell's state follows from the four gates, in torch's order: input, forget, cell, output."""
    generator = torch.Generator().manual_seed(0)
    w, u = (torch.randn(4, 5, 5, generator=generator) for _ in range(2))
    x, h, c = (torch.randn(3, 5, generator=generator) for _ in range(3))
    cell = torch.nn.LSTMCell(5, 5, bias=False)
    with torch.no_grad():
        cell.weight_ih.copy_(w.flatten(0, 1))
        cell.weight_hh.copy_(u.flatten(0, 1))
    i, f, g, o = way(w, u, x, h)().chunk(4, dim=1)
    state = f.sigmoid() * c + i.sigmoid() * g.tanh()
    hidden, expected = cell(x, (h, c))
    torch.testing.assert_close(state, expected)
    torch.testing.assert_close(o.sigmoid() * state.tanh(), hidden)


@pytest.mark.parametrize(("gain", "outcome"), [(3.0, "met"), (0.5, "refuted"), (1.0, "refuted"), (1.02, "not decided")])
def test_the_expectation_follows_from_the_figures(gain, outcome):
    study = CombinedOperations()
    steps = dict(zip(STEPS, (9e-6, 3e-6, 1e-6), strict=True))
    known = every(study, lambda curve, x: steps[curve] if x is None else 1e-3 / gain if curve == WHOLE else 1e-3)
    found = study.conclude(figures(list(study.groups(None)), known))
    assert found.outcome == outcome
    assert any(sentence.startswith("LSTM step. All steps together: ") for sentence in found.findings)


def test_one_word_does_not_decide():
    study = CombinedOperations(words=[1])
    assert study.conclude(figures(list(study.groups(None)), every(study, lambda curve, x: 1e-3))).outcome == "not decided"
