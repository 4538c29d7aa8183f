"""DropConnect on recurrent weights."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import nn

from engines.api import Context, Technique, Trial, certificate, param
from engines.toolbox.optimization import largest_difference
from engines.toolbox.specimen import Surroundings, backward_of, batches, gradients, specimen
from engines.toolbox.substitution import substitute


class WeightDrop(Technique):
    """Weight drop

    Merity, Keskar and Socher (2018), Regularizing and Optimizing LSTM Language Models, section 2; DropConnect: Wan et al. (2013).

    Equations, for each matched weight W and each call of its module in training:

        M_ij ~ Bernoulli(1 - p)                                       (1)  one mask for all T steps of the segment
        W~ = W * M / (1 - p)                                          (2)  what the module computes with; gradients reach W through it

    Symbols: p share that is dropped, W by default the recurrent matrices U (4H, H) of every nn.LSTM.
    Dropping hidden units anew at each step would erase the memory that an LSTM is for; (1) drops connections, for a whole segment.
    Cost: one random number, one product and one copy a matched weight and segment, whatever its length; on CUDA the fused LSTM also copies
    its weights, which then do not lie in one block.
    Does nothing when: p = 0, or no weight matches.
    Parameters: p, weights (a pattern over parameter names).
    """

    paper: ClassVar[str] = (
        "Merity, Keskar and Socher (2018), Regularizing and Optimizing LSTM Language Models, https://arxiv.org/abs/1708.02182; "
        "Wan, Zeiler, Zhang, LeCun and Fergus (2013), https://proceedings.mlr.press/v28/wan13.html"
    )

    p: float = param(0.5, "Share of the connections dropped in each segment.", symbol="p", ge=0, lt=1)
    weights: str = param("*weight_hh_l*", "Which weights: a pattern over full parameter names, * matches anything.")

    def model(self, module: nn.Module, ctx: Context) -> nn.Module:
        """The same module; matched weights are exchanged around each call in training."""
        found = 0
        for prefix, child in module.named_modules():
            names = [name for name, _ in child.named_parameters(recurse=False) if fnmatchcase(f"{prefix}.{name}".lstrip("."), self.weights)]
            if names and self.p > 0:
                found += sum(getattr(child, name).numel() for name in names)
                substitute(child, names, Drop(self.p))
        ctx.effect(
            f"{self.p:.0%} of {found:,} weights are dropped in each segment of training."
            if found
            else ("Nothing is dropped: p is 0." if self.p == 0 else f'Nothing is dropped: no weight of the model matches "{self.weights}".'),
            weights=found,
        )
        return module


class Drop:
    """Equations (1) and (2), in training only. A class, not a closure, so that modules carrying it can be copied."""

    def __init__(self, p: float) -> None:
        self.p = p

    def __call__(self, module: nn.Module, weight: torch.Tensor) -> torch.Tensor:
        return F.dropout(weight, self.p) if module.training else weight


@certificate("The first step of a text is untouched (h_0 = 0 has no recurrent input), later ones are not, evaluation is bit-equal", tolerance=1e-6)
def first_step_is_untouched(trial: Trial) -> float:
    """Largest difference at the first step and in evaluation; infinite where later steps do not differ."""
    plain, dropped = specimen(trial, layers=1), specimen(trial, layers=1)
    WeightDrop(p=0.5).model(dropped, Surroundings(dropped))
    ids_BT = batches(trial, 1)[0].inputs_BT
    expected, ours = plain.hidden(ids_BT, None)[0], dropped.hidden(ids_BT, None)[0]
    if trial.length > 1 and torch.equal(expected[:, 1:], ours[:, 1:]):
        return float("inf")
    evaluated = largest_difference(dropped.eval().hidden(ids_BT, None)[0], plain.eval().hidden(ids_BT, None)[0])
    return max(largest_difference(ours[:, 0], expected[:, 0]), evaluated)


@certificate("The gradient of a weight is that of the masked weight, times the mask over 1 - p", tolerance=1e-5)
def gradient_reaches_the_raw_weight(trial: Trial) -> float:
    """Largest difference to a module that holds the masked weight itself."""
    p, batch = 0.5, batches(trial, 1)[0]
    dropped, masked = specimen(trial, layers=1), specimen(trial, layers=1)
    WeightDrop(p=p).model(dropped, Surroundings(dropped))
    name = "layers.0.mixer.lstm.weight_hh_l0"
    torch.manual_seed(trial.seed)
    factor = F.dropout(torch.ones_like(masked.get_parameter(name)), p)  # M / (1 - p), the draw that the module makes next
    with torch.no_grad():
        masked.get_parameter(name).mul_(factor)
    torch.manual_seed(trial.seed)
    backward_of(dropped)(batch, None)
    backward_of(masked)(batch, None)
    with torch.no_grad():
        masked.get_parameter(name).grad.mul_(factor)  # type: ignore[union-attr]
    return largest_difference(gradients(dropped), gradients(masked))
