"""The assembled language model: embedding, layers of mixer and feed-forward, head.

Shapes: B rows, T tokens, D width, N = B*T. Module names, which patterns and finished models refer to: `embedding`, `layers.<i>.mixer`,
`layers.<i>.mixer_norm`, `layers.<i>.feedforward`, `layers.<i>.feedforward_norm`, `final_norm`, `head`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import nn

from engines.api import Block, Site, Text
from engines.toolbox.entry import TrainingEntry

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
        self.causal = bool(getattr(mixer, "causal", True))
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

    def forward(
        self, x_BTD: torch.Tensor, state: Any = None, present_BT: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, Any, dict[str, Any]]:
        """Returns (z_BTE, the mixer's state, the feed-forward's extras).

        present_BT: where rows are padded behind their end, True where there is a token. A causal mixer sees no padding from a token, so only
        the others are told.
        """
        given = (state,) if self.causal or present_BT is None else (state, present_BT)
        y_BTE, state = self.mixer(self.mixer_norm(x_BTD), *given)
        if self.residual:
            y_BTE = x_BTD + y_BTE
        if self.feedforward is None or self.feedforward_norm is None:
            return y_BTE, state, {}
        into_BTE = self.feedforward_norm(y_BTE)
        if present_BT is not None and self.training:
            # Padding would take places that experts have for tokens, and count in their balance.
            z_1NE, extras = self.feedforward(into_BTE[present_BT][None])
            z_BTE = torch.zeros_like(y_BTE, dtype=z_1NE.dtype)
            z_BTE[present_BT] = z_1NE[0]
        else:
            z_BTE, extras = self.feedforward(into_BTE)
        return (y_BTE + z_BTE if self.feedforward_residual else z_BTE), state, extras


class LanguageModel(TrainingEntry):
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
        return self.through(self.embedding(ids_BT), state)

    def through(
        self, x_BTD: torch.Tensor, state: Any = None, present_BT: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, Any, dict[str, Any]]:
        """`hidden` from the vectors of the tokens on. present_BT: as of `Layer`."""
        states = (None,) * len(self.layers) if state is None else state
        extras: dict[str, Any] = {}
        after = []
        for i, (layer, before) in enumerate(zip(self.layers, states, strict=True)):
            x_BTD, carried, own = layer(x_BTD, before, present_BT)
            after.append(carried)
            if own.get("auxiliary") is not None:
                extras["auxiliary"] = extras.get("auxiliary", 0.0) + own["auxiliary"]
            if own.get("load") is not None:
                extras.setdefault("load", {})[f"layers.{i}.feedforward"] = own["load"]
        return self.final_norm(x_BTD), tuple(after), extras


@dataclass(frozen=True)
class Parts:
    """What stands below a head. site: where the head is built."""

    embedding: nn.Module
    layers: list[Layer]
    final_norm: nn.Module
    site: Site


def below_head(
    model: Mapping[str, Any], blocks: Callable[[Mapping[str, Any]], Block], text: Text, length: int, *, whole_texts: bool = False
) -> Parts:
    """Build embedding and layers of `model` = {"embedding", "layers", ...}. whole_texts: whether tokens may see those after them.

    Raises ValueError with a sentence where parts do not fit.
    """
    embedding = blocks(model["embedding"]).build(Site(width=0, vocabulary=text.vocabulary, length=length))
    site = Site(width=int(getattr(embedding, "width", 0)), vocabulary=text.vocabulary, length=length, embedding=embedding)
    if site.width < 1:
        raise ValueError(f"{model['embedding']['id']} does not say its width: an embedding must have the attribute `width`.")
    layers: list[Layer] = []
    norm: Norm = "none"
    for table in model["layers"]:
        for _ in range(int(table.get("repeat") or 1)):
            site = replace(site, position=len(layers))
            layer = _layer(table, blocks, site, whole_texts=whole_texts)
            if layer.residual or layer.feedforward_residual:
                norm = table.get("norm") or "layer"
            layers.append(layer)
            site = replace(site, width=layer.width)
    return Parts(embedding, layers, make_norm(norm, site.width), site)


def _layer(table: Mapping[str, Any], blocks: Callable[[Mapping[str, Any]], Block], site: Site, *, whole_texts: bool) -> Layer:
    mixer = blocks(table["mixer"])
    if not (mixer.causal or whole_texts):
        raise ValueError(
            f"Layer {site.position + 1} ({table['mixer']['id']}) lets a token see the tokens after it, so it cannot predict them: use a causal "
            "mixer, such as attention/full."
        )
    wanted, norm = table.get("residual"), table.get("norm")
    built = mixer.build(site)
    inner = blocks(table["feedforward"]) if table.get("feedforward") else None
    try:
        return Layer(
            built,
            inner.build(replace(site, width=int(getattr(built, "width", site.width)))) if inner else None,
            width=site.width,
            residual=mixer.residual if wanted is None else wanted,
            feedforward_residual=inner is not None and (inner.residual if wanted is None else wanted),
            norm=norm or "layer",
            always_norm=norm is not None,
        )
    except ValueError as error:
        raise ValueError(f"Layer {site.position + 1} ({table['mixer']['id']}): {error}") from error
