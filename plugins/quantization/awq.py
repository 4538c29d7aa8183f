"""Rounding that spares the inputs that matter."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from engines.api import Context, Trial, certificate, param
from engines.toolbox import folding
from engines.toolbox.calibration import Moments, output_error, run
from engines.toolbox.inputs import watched
from engines.toolbox.optimization import largest_difference
from engines.toolbox.packed import StoredMatrix
from engines.toolbox.packing import GridPacking, grid_matrices, once_each
from engines.toolbox.quantisers import Scheme, quantise
from engines.toolbox.specimen import batches, specimen

SHARES = 20
"""Exponents that are tried, from 0 to 1."""


class AWQ(GridPacking):
    """AWQ

    Lin et al. (2024), AWQ: Activation-aware Weight Quantization for On-Device LLM Compression and Acceleration.

    Equations, for a layer W with inputs x, after training:

        s_j = (mean |x_j|) ^ alpha, made to have a geometric mean of extremes of 1                (1)
        W x = (W s) (x / s);   W s is rounded, 1 / s goes into what gives out x                   (2)  exact before rounding
        alpha = argmin over 0, 1/20 ... 1 of E |W x - ((W s)^ / s) x|^2                            (3)  ^ as in quantization/weight_only

    A weight whose input is large is scaled up, so that its share of a group's step gets smaller. Layers that read the same outputs share one
    s, and (3) adds up their errors. 1 / s goes into a norm, a linear layer or an embedding, wherever the model demonstrably stays what it
    was; other layers are rounded as they are.
    Symbols: W (E, D), x and s (D).
    Cost: a calibration pass, and 20 roundings a matrix; stored and executed as weight_only.
    Does nothing when: no module matches. With no part that can take 1 / s it is weight_only, and says so.
    Parameters: those of weight_only, batches.
    """

    paper: ClassVar[str] = "Lin et al. (2024), https://arxiv.org/abs/2306.00978"

    batches: int = param(16, "Training batches that are read for calibration.", ge=1)

    def prepare(self, module: nn.Module, weights: Mapping[str, nn.Parameter], ctx: Context) -> str:
        """(1) to (3) for each group of layers that one part feeds: the model, scaled and the same."""
        texts = ctx.calibration(self.batches)
        owners = [owner for owner in dict.fromkeys(name.rpartition(".")[0] for name in weights) if folding.takes(module.get_submodule(owner))]
        seen = Moments(products=True)
        with watched(module, list(weights), seen.take):
            run(module, texts)
        found = folding.folds(module, owners, texts[0]) if texts else []
        gains = []
        for fold in found:
            names = [name for owner in fold.consumers for name in (f"{owner}.weight", f"{owner}.weight_ih_l0") if name in seen.rows]
            group = [(weights[name].detach(), seen.hessian(name), self.scheme(name)) for name in names]
            s_D, before, after = search(group, seen.size[names[0]] / seen.rows[names[0]])
            folding.apply(module, fold, s_D)
            gains.append(f"{', '.join(names)} {after:.2%} ({before:.2%})")
        said = folding.told(owners, found)
        if gains:
            said += f" Error of what layers give out on calibration text, and without scales: {'; '.join(gains)}."
        return said

    def compress(self, module: nn.Module, weights: Mapping[str, nn.Parameter], ctx: Context) -> tuple[dict[str, StoredMatrix], str]:
        """Rounding to nearest, each weight once."""
        first = once_each(weights)
        made = {name: quantise(weights[name], self.scheme(name)) for name in dict.fromkeys(first.values())}
        return grid_matrices({name: made[own] for name, own in first.items()}), ""


def search(group: list[tuple[Tensor, Tensor, Scheme]], size_D: Tensor) -> tuple[Tensor, float, float]:
    """(s of the best alpha, relative error with alpha = 0, with the best): (1) and (3) over layers (W, H, scheme) that share their inputs."""
    best, plain = (float("inf"), torch.ones_like(size_D)), 0.0
    for step in range(SHARES + 1):
        s_D = size_D.clamp(min=1e-8) ** (step / SHARES)
        s_D = s_D / (s_D.max() * s_D.min()).sqrt()  # (1)
        errors = [output_error(quantise(W * s_D.to(W), scheme).dense() / s_D.float() - W, W, H) ** 2 for W, H, scheme in group]
        error = (sum(errors) / len(errors)) ** 0.5
        plain = error if step == 0 else plain
        if error < best[0]:
            best = error, s_D
    return best[1], plain, best[0]


@certificate("Before rounding, scales that a norm, an embedding or a linear layer takes leave the model what it was", tolerance=1e-12)
def folding_is_exact(trial: Trial) -> float:
    """Largest difference of log p, relative, in double precision; infinite where nothing could be folded."""
    double = Trial(trial.batch, trial.length, trial.width, trial.vocabulary, trial.device, "float64", trial.seed)
    module: Any = specimen(double).eval()
    plain, batch = copy.deepcopy(module), batches(double, 1)[0]
    names = [name for name, child in module.named_modules() if isinstance(child, nn.Linear | nn.LSTM)]
    found = folding.folds(module, names, batch)
    if len(found) < 2:
        return float("inf")
    for fold in found:
        folding.apply(module, fold, torch.logspace(-1, 1, fold.width, dtype=torch.float64, device=trial.device))
    ours, theirs = (model.head.log_prob(model.hidden(batch.inputs_BT)[0].flatten(0, 1)) for model in (module, plain))
    return largest_difference(ours, theirs) / float(theirs.detach().abs().max())


@certificate("The chosen scales never leave a layer with a larger error than none", tolerance=0.0)
def never_worse(trial: Trial) -> float:
    """By how much the error with scales is the larger one; infinite where a few large inputs gain nothing."""
    torch.manual_seed(trial.seed)
    x = torch.randn(256, trial.width, device=trial.device)
    x[:, :2] *= 30
    weight, H = torch.randn(trial.vocabulary, trial.width, device=trial.device), 2 * x.T.double() @ x.double() / 256
    _, plain, ours = search([(weight, H, Scheme(3, False, "channel"))], x.abs().double().mean(0))
    return ours - plain if ours < 0.9 * plain else float("inf")
