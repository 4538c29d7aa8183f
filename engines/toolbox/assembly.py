"""The assembled language model: embedding, layers of mixer and feed-forward, head.

Shapes: B rows, T tokens, D width, N = B*T. Module names, which patterns and finished models refer to: `embedding`, `layers.<i>.mixer`,
`layers.<i>.mixer_norm`, `layers.<i>.feedforward`, `layers.<i>.feedforward_norm`, `final_norm`, `head`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import nn

from engines.toolbox.batches import Batch

Norm = Literal["layer", "rms", "none"]


def make_norm(kind: Norm, width: int) -> nn.Module:
    """layer: (x - mean) / std * g + b; rms: x / sqrt(mean x^2) * g; none: the identity. Over the last dimension, of size `width`."""
    if kind == "layer":
        return nn.LayerNorm(width)
    return nn.RMSNorm(width) if kind == "rms" else nn.Identity()


class Layer(nn.Module):
    """A mixer over time and an optional feed-forward over channels.

        y = mixer(norm(x)) [+ x]        z = feedforward(norm(y)) [+ y]

    residual, feedforward_residual: whether the part adds its input back. norm: what stands before each part that has a residual, or
    before both where `always_norm` is set (the experiment asked for it). Raises ValueError where a residual meets a change of width.
    """

    def __init__(
        self,
        mixer: nn.Module,
        feedforward: nn.Module | None = None,
        *,
        width: int,
        residual: bool = False,
        feedforward_residual: bool = False,
        norm: Norm = "none",
        always_norm: bool = False,
    ) -> None:
        super().__init__()
        self.residual = residual
        self.feedforward_residual = feedforward_residual
        self.mixer_norm = make_norm(norm if residual or always_norm else "none", width)
        self.mixer = mixer
        self.width = int(getattr(mixer, "width", width))
        if residual and self.width != width:
            raise ValueError(
                f"The mixer changes the width from {width} to {self.width}, so its input cannot be added back: "
                f"give it width {width} or set residual = false for this layer."
            )
        self.feedforward = feedforward
        self.feedforward_norm: nn.Module | None = None
        if feedforward is not None:
            out = int(getattr(feedforward, "width", self.width))
            if out != self.width:
                raise ValueError(f"The feed-forward changes the width from {self.width} to {out}: a feed-forward must keep the width.")
            self.feedforward_norm = make_norm(norm if feedforward_residual or always_norm else "none", self.width)

    def forward(self, x_BTD: torch.Tensor, state: Any = None) -> tuple[torch.Tensor, Any, dict[str, Any]]:
        """Returns (z_BTE, the mixer's state, the feed-forward's extras)."""
        y_BTE, state = self.mixer(self.mixer_norm(x_BTD), state)
        if self.residual:
            y_BTE = x_BTD + y_BTE
        if self.feedforward is None or self.feedforward_norm is None:
            return y_BTE, state, {}
        z_BTE, extras = self.feedforward(self.feedforward_norm(y_BTE))
        return (y_BTE + z_BTE if self.feedforward_residual else z_BTE), state, extras


class LanguageModel(nn.Module):
    """p(token | all tokens before it). `forward` is the one training entry; evaluation and generation use `hidden` and the head.

    length: training sequence length, in tokens; evaluation reads segments of it. Weights are initialised by the blocks themselves, under
    the seed of the run; norms begin as the identity (gain 1, offset 0).
    """

    def __init__(
        self, embedding: nn.Module, layers: Sequence[nn.Module], head: nn.Module, final_norm: nn.Module | None = None, *, length: int = 35
    ) -> None:
        super().__init__()
        self.embedding = embedding
        self.layers = nn.ModuleList(layers)
        self.final_norm = nn.Identity() if final_norm is None else final_norm
        self.head: Any = head
        self.length = length

    def hidden(self, ids_BT: torch.Tensor, state: Any = None) -> tuple[torch.Tensor, Any, dict[str, Any]]:
        """x_BTD that the head reads, the states of the layers (a tuple; None at the start), and extras: "auxiliary" (scalar, the sum over
        layers) and "load" ({layer name: counts per expert}) where feed-forwards give them."""
        states = (None,) * len(self.layers) if state is None else state
        extras: dict[str, Any] = {}
        after = []
        x_BTD = self.embedding(ids_BT)
        for i, (layer, before) in enumerate(zip(self.layers, states, strict=True)):
            x_BTD, carried, own = layer(x_BTD, before)
            after.append(carried)
            if own.get("auxiliary") is not None:
                extras["auxiliary"] = extras.get("auxiliary", 0.0) + own["auxiliary"]
            if own.get("load") is not None:
                extras.setdefault("load", {})[f"layers.{i}.feedforward"] = own["load"]
        return self.final_norm(x_BTD), tuple(after), extras

    def forward(self, batch: Batch, state: Any = None) -> tuple[torch.Tensor, int, Any, dict[str, Any]]:
        """(sum of the head's training loss in nats, number of targets, state, extras). extras always holds "hidden_ND" and "target_N".

        A fresh batch starts without state.
        """
        x_BTD, state, extras = self.hidden(batch.inputs_BT, None if batch.fresh else state)
        extras["hidden_ND"] = hidden_ND = x_BTD.flatten(0, 1)
        extras["target_N"] = target_N = batch.targets_BT.flatten()
        return self.head.loss(hidden_ND, target_N), batch.tokens, state, extras
