"""Moving what makes activations hard to round into the weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from engines.api import Context, Matches, Technique, Trial, certificate, param
from engines.toolbox import folding
from engines.toolbox.calibration import Moments, run
from engines.toolbox.exchanging import exchange
from engines.toolbox.inputs import watched
from engines.toolbox.integer import ACTIVATIONS, StaticInt8Linear
from engines.toolbox.packed import matrices_of
from engines.toolbox.quantisers import Observer, grid


class SmoothQuant(Technique):
    """SmoothQuant

    Xiao et al. (2023), SmoothQuant: Accurate and Efficient Post-Training Quantization for Large Language Models.

    Equations, for a layer W with inputs x, after training:

        s_j = max|x_j|^alpha / max|W_j|^(1 - alpha)                              (1)  over calibration text, and over column j of W
        W x = (W s) (x / s);   1 / s goes into what gives out x                  (2)  exact before rounding
        both W s and x / s in int8, ranges of x / s fixed by calibration         (3)  products as in quantization/static_int8

    alpha = 1/2 makes both as wide: channels of x that are far larger than others no longer set the step of all. Layers that read the same
    outputs share s, with the largest |W_j| of all.
    Symbols: W (E, D), x and s (D).
    Cost: two calibration passes; stored and executed as static_int8.
    Does nothing when: no nn.Linear matches. With no part that can take 1 / s (a norm, a linear layer or an embedding, and nothing else reads
    it) it is static_int8, and says so.
    Parameters: alpha, batches, include, exclude.
    """

    paper: ClassVar[str] = "Xiao et al. (2023), https://arxiv.org/abs/2211.10438"
    replaces: ClassVar[tuple[str, ...]] = ("Linear",)
    after: ClassVar[tuple[str, ...]] = ("pruning/magnitude", "pruning/structured")

    alpha: float = param(0.5, "How much of the activations' width goes into the weights.", symbol="alpha", ge=0, le=1)
    batches: int = param(16, "Training batches that are read for calibration.", ge=1)
    include: tuple[str, ...] = param(("*",), "Patterns over full module names (* matches anything); one must match.")
    exclude: tuple[str, ...] = param((), "Patterns over full module names; none may match.")

    def matches(self, module: nn.Module, text: Sequence[Any] = ()) -> Matches:
        weights, skipped = matrices_of(module, ("Linear",), self.include, self.exclude)
        return Matches(tuple(weights), tuple(f"{each} is skipped." for each in skipped))

    def finish(self, module: nn.Module, ctx: Context) -> tuple[nn.Module, dict[str, Any]]:
        """The module, smoothed, with its Linear children in int8; the record names them."""
        module.eval()
        weights, skipped = matrices_of(module, ("Linear",), self.include, self.exclude)
        texts = ctx.calibration(self.batches) if weights else []
        seen = Moments(products=False)
        with watched(module, list(weights), seen.take):
            run(module, texts)
        skipped += [f"{name} (calibration shows none of its inputs)" for name in weights if name not in seen.rows]
        left = f" Left in float: {', '.join(skipped)}." if skipped else ""
        if not seen.order:
            ctx.effect(f"Nothing was quantised: no nn.Linear matches that calibration reaches.{left}")
            return module, {"modules": []}
        owners = [name.rpartition(".")[0] for name in seen.order]
        found = folding.folds(module, owners, texts[0])
        for fold in found:
            names = [f"{owner}.weight" for owner in fold.consumers]
            folding.apply(module, fold, smoothing(seen.largest[names[0]], [weights[name] for name in names], self.alpha))
        observers: dict[str, Observer] = {}
        with watched(module, seen.order, lambda name, x: observers.setdefault(name, Observer("min_max", ACTIVATIONS)).observe(x)):
            run(module, texts)
        for name, observer in observers.items():
            linear: Any = module.get_submodule(name.rpartition(".")[0])
            exchange(module, name.rpartition(".")[0], StaticInt8Linear.of(linear, *grid(*observer.range(), ACTIVATIONS), per_channel=True))
        size = sum(weights[name].numel() for name in observers)
        ctx.effect(
            f"{size:,} weights in {len(observers)} modules and their inputs became int8; products are integer. {folding.told(owners, found)}{left}",
            modules=len(observers), weights=size, bits=8, smoothed=len(owners) - len(folding.unfolded(owners, found)),
        )  # fmt: skip
        return module, {"modules": owners}

    def restore(self, module: nn.Module, record: Mapping[str, Any]) -> nn.Module:
        """The same structure with room for the weights that a state_dict brings."""
        for name in record["modules"]:
            linear: Any = module.get_submodule(name)
            exchange(module, name, StaticInt8Linear.like(linear, per_channel=True))
        return module


def smoothing(largest_D: Tensor, weights: list[nn.Parameter], alpha: float) -> Tensor:
    """(1), double; inputs or columns that are always zero get no scale."""
    columns_D = torch.stack([weight.detach().double().abs().amax(0) for weight in weights]).amax(0)
    s_D = largest_D.double() ** alpha / columns_D ** (1 - alpha)
    return torch.where((largest_D > 0) & (columns_D > 0), s_D, 1.0)


@certificate("alpha = 1/2 makes each input channel as wide as its column of weights, and their product stays what it was", tolerance=1e-12)
def halves_the_width(trial: Trial) -> float:
    """Largest relative difference of the two widths, and of W x."""
    torch.manual_seed(trial.seed)
    x = torch.randn(64, trial.width, dtype=torch.float64, device=trial.device) * torch.logspace(-2, 2, trial.width, device=trial.device)
    weight = nn.Parameter(torch.randn(trial.vocabulary, trial.width, dtype=torch.float64, device=trial.device))
    s_D = smoothing(x.abs().amax(0), [weight], 0.5)
    smooth, scaled = x / s_D, weight.detach() * s_D
    width = float((smooth.abs().amax(0) / scaled.abs().amax(0) - 1).abs().max())
    product = float((smooth @ scaled.T - x @ weight.T).detach().abs().max() / (x @ weight.T).detach().abs().max())
    return max(width, product)
