"""The assembled model: what goes where, what comes out, what is refused."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from engines.toolbox.assembly import LanguageModel, Layer, make_norm
from engines.toolbox.batches import Batch


class Adding(nn.Module):
    """A mixer whose state counts calls, y = x + number of calls before."""

    def __init__(self, width: int = 4) -> None:
        super().__init__()
        self.width = width

    def forward(self, x_BTD: torch.Tensor, state: Any) -> tuple[torch.Tensor, Any]:
        seen = torch.zeros(len(x_BTD), 1) if state is None else state
        return x_BTD + seen[:, :, None], seen + 1


class Loaded(nn.Module):
    """A feed-forward that gives extras."""

    def forward(self, x_BTD: torch.Tensor) -> tuple[torch.Tensor, dict[str, Any]]:
        return 2 * x_BTD, {"auxiliary": torch.tensor(0.5), "load": torch.tensor([1, 2])}


class Head(nn.Module):
    def loss(self, hidden_ND: torch.Tensor, target_N: torch.Tensor) -> torch.Tensor:
        return hidden_ND.sum()


def model(*layers: Layer) -> LanguageModel:
    torch.manual_seed(0)
    return LanguageModel(nn.Embedding(10, 4), layers, Head())


def batch(fresh: bool = False) -> Batch:
    ids = torch.arange(6).view(2, 3)
    return Batch(ids, ids + 1, fresh)


def test_forward_gives_sum_count_state_and_extras() -> None:
    made = model(Layer(Adding(), Loaded(), width=4), Layer(Adding(), Loaded(), width=4))
    loss, count, state, extras = made(batch(), None)
    assert count == 6
    assert torch.allclose(loss, (4 * made.embedding(batch().inputs_BT)).sum())
    assert [float(part.sum()) for part in state] == [2.0, 2.0]
    assert extras["hidden_ND"].shape == (6, 4)
    assert torch.equal(extras["target_N"], batch().targets_BT.flatten())
    assert float(extras["auxiliary"]) == 1.0
    assert set(extras["load"]) == {"layers.0.feedforward", "layers.1.feedforward"}


def test_state_is_carried_and_a_fresh_batch_drops_it() -> None:
    made = model(Layer(Adding(), width=4))
    _, _, state, _ = made(batch(), None)
    started = made(batch(), None)[0]
    assert made(batch(), state)[0] > started
    assert torch.equal(made(batch(fresh=True), state)[0], started)


def test_residual_adds_the_input_back_after_norming_first() -> None:
    layer = Layer(Adding(), width=4, residual=True, norm="layer")
    x = torch.randn(2, 3, 4)
    expected = x + nn.functional.layer_norm(x, (4,))
    assert torch.allclose(layer(x, None)[0], expected, atol=1e-6)
    assert isinstance(Layer(Adding(), width=4, norm="layer").mixer_norm, nn.Identity)
    assert isinstance(Layer(Adding(), width=4, norm="rms", always_norm=True).mixer_norm, nn.RMSNorm)
    assert isinstance(make_norm("none", 4), nn.Identity)


def test_widths_that_do_not_fit_are_refused_with_a_sentence() -> None:
    with pytest.raises(ValueError, match=r"changes the width from 4 to 6.*residual = false"):
        Layer(Adding(6), width=4, residual=True)
    with pytest.raises(ValueError, match="feed-forward changes the width from 4 to 8"):
        Layer(Adding(), Adding(8), width=4)
