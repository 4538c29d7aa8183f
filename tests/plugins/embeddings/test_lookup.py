"""The embedding table."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from pydantic import ValidationError

from engines.api import Trial
from engines.toolbox import trials
from plugins.embeddings import lookup
from tests.plugins.checks import TRIALS, assert_holds, certificates


@pytest.mark.parametrize("trial", TRIALS)
@pytest.mark.parametrize("certificate", certificates(lookup))
def test_certificates(certificate: Callable[[Trial], float], trial: Trial) -> None:
    assert_holds(certificate, trial)


def test_rows_begin_with_length_about_one_whatever_the_width() -> None:
    for width in (50, 800):
        with trials.seeded(Trial()):
            table = lookup.Lookup(width=width).build(trials.site(Trial(vocabulary=300)))
        assert table.width == width
        assert table.weight.shape == (300, width)
        assert table.weight.norm(dim=1).mean().item() == pytest.approx(1.0, abs=0.02)


def test_it_is_a_stock_embedding_child_or_itself() -> None:
    table = lookup.Lookup(width=4).build(trials.site(Trial()))
    assert isinstance(table, torch.nn.Embedding)
    assert list(table.state_dict()) == ["weight"]


def test_width_must_be_positive() -> None:
    with pytest.raises(ValidationError, match="greater than or equal to 1"):
        lookup.Lookup(width=0)
