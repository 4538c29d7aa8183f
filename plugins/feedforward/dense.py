"""The dense feed-forward network of a transformer layer."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from engines.api import Block, Site, Slot, Trial, certificate, param
from engines.toolbox import trials
from engines.toolbox.feedforward import ACTIVATIONS, Activation, FeedForward, hidden_width


class Dense(Block):
    """Dense feed-forward

    Vaswani et al. (2017), Attention is all you need; swiglu: Shazeer (2020), GLU variants improve transformer.

        relu, gelu:  y = W_2 f(W_1 x + b_1) + b_2                           (1)
        swiglu:      y = W_2 (silu(W_3 x) * W_1 x)                          (2)

    x, y (D), W_1 and W_3 (H, D), W_2 (D, H); every token by itself.

    Cost: 4 D H floating point operations a token, 6 D H for swiglu.
    Does nothing when: never.
    Parameters: hidden H (default: 4 D; 8/3 D for swiglu, so that both have about 8 D^2 weights), activation f, dropout on the inner activations.
    """

    paper: ClassVar[str] = "Vaswani et al., Attention is all you need, 2017, https://arxiv.org/abs/1706.03762"
    slot: ClassVar[Slot] = "feedforward"
    residual: ClassVar[bool] = True

    hidden: int | None = param(None, "Inner width; default: 4 times the width, 8/3 times for swiglu.", symbol="H", ge=1, le=65536)
    activation: Activation = param("gelu", "Nonlinearity between the two products.", symbol="f")
    dropout: float = param(0.0, "Share of the inner activations set to zero in training.", ge=0.0, lt=1.0)

    def build(self, site: Site) -> DenseFeedForward:
        return DenseFeedForward(site.width, hidden_width(site.width, self.hidden, self.activation), self.activation, self.dropout)


class DenseFeedForward(nn.Module):
    """(x_BTD) -> (y_BTD, {})."""

    def __init__(self, width: int, hidden: int, activation: Activation, dropout: float) -> None:
        super().__init__()
        self.width = width
        self.network = FeedForward(width, hidden, activation, dropout)

    def forward(self, x_BTD: Tensor) -> tuple[Tensor, dict[str, Any]]:
        return self.network(x_BTD), {}


@certificate("equations (1) and (2) written out, for every activation, gradients included", 1e-5)
def equals_equations(trial: Trial) -> float:
    with trials.seeded(trial):
        worst = 0.0
        for activation in ACTIVATIONS:
            block = Dense(activation=activation).build(trials.site(trial))
            x_BTD = trials.hidden(trial)
            net = block.network
            if net.gate is not None:
                g = x_BTD @ net.gate.weight.T
                y_BTD = (g * torch.sigmoid(g) * (x_BTD @ net.inner.weight.T)) @ net.outer.weight.T  # (2)
            else:
                a = x_BTD @ net.inner.weight.T + net.inner.bias
                f = a * (a > 0) if activation == "relu" else a * 0.5 * (1 + torch.erf(a / 2**0.5))
                y_BTD = f @ net.outer.weight.T + net.outer.bias  # (1)
            worst = max(worst, trials.difference(block(x_BTD)[0], y_BTD, [x_BTD, *block.parameters()]))
        return worst
