"""Weights of three values, trained as such under a teacher."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from engines.api import Context, Trial, certificate, param
from engines.toolbox.distillation import TEACHER, check_pair, taught
from engines.toolbox.optimization import largest_difference
from engines.toolbox.packed import StoredMatrix, matrices_of
from engines.toolbox.packing import Packing, grid_matrices, once_each
from engines.toolbox.quantisers import Granularity, Quantised, Scheme, blocks, spread, stored
from engines.toolbox.specimen import Surroundings, backward_of, batches, gradients, specimen
from engines.toolbox.substitution import substitute

Threshold = Literal["twn", "exact"]


class TernaryDistilled(Packing):
    """Ternary weights with distillation

    Zhang et al. (2020), TernaryBERT: Distillation-aware Ultra-low Bit BERT; threshold and scale: Li and Liu (2016), Ternary Weight Networks.

    Equations, for the n weights w that share a scale (a matrix, a row, or a group along a row), anew from w at each call:

        w^ = a sign(w) [|w| > d],   a = mean of |w| over |w| > d                                       (1)  the best scale for a threshold
        twn:    d = 0.7 mean |w|                                                                       (2)  about the best for a normal w
        exact:  the k largest |w| stay, k = argmax (sum of them)^2 / k                                 (3)  least |w - w^|^2 of all
        backward: dL/dw = dL/dw^                                                                       (4)  straight through
        L = (1 - alpha) sum CE(target) + alpha T^2 sum_N KL(p || q)                                    (5)  soft labels of the teacher p

    The optimiser moves w, in float. At the end w^ is packed: the model that is judged is the one that was trained.
    Symbols: T temperature, alpha weight of the teacher. In TernaryBERT the teacher is the same network in float, and the student begins as it
    (initialise); hidden states and attention are added by distillation/layerwise, activations stay in float here.
    Cost: a pass over w more at each call in training ((3) sorts), and a forward pass of the teacher, whose training counts as part of the
    variant's price. Stored 2 bits a weight and 32 a scale; a call unpacks the weights first.
    Does nothing when: no module matches (it then says so; the teacher still teaches).
    Parameters: teacher, initialise, weight alpha, temperature T, threshold, granularity, group_size, types, include, exclude, keep_unpacked.
    """

    paper: ClassVar[str] = "Zhang et al. (2020), https://arxiv.org/abs/2009.12812; Li and Liu (2016), https://arxiv.org/abs/1605.04711"

    teacher: str = param(help=TEACHER, reference="model")
    initialise: bool = param(True, "Begin with the weights of the teacher, which must be the same network; off: with the student's own.")
    weight: float = param(0.5, "Share of the loss that follows the teacher instead of the text.", symbol="alpha", ge=0, le=1)
    temperature: float = param(1.0, "Higher: smoother distributions, more weight on improbable words.", symbol="T", gt=0)
    threshold: Threshold = param("twn", "Which weights become zero: those below 0.7 of the mean size, or as many as leave the least squared error.")
    granularity: Granularity = param("channel", "What shares a scale: the matrix, a row (output channel), or a group along a row.")
    group_size: int = param(64, "Members of a group, along the inputs.", ge=1)

    def scheme(self) -> Scheme:
        """Two bits, symmetric: the codes 0, 1 and 2 stand for -a, 0 and a."""
        return Scheme(2, True, self.granularity, self.group_size)

    def model(self, module: nn.Module, ctx: Context) -> nn.Module:
        """The same module, begun as the teacher; matched weights are exchanged around each call by (1)."""
        if self.initialise:
            begin_as(module, ctx.teacher(self.teacher), self.teacher)
            ctx.effect(f'Begins with the weights of "{self.teacher}".')
        for name in matrices_of(module, self.types, self.include, self.exclude)[0]:
            owner, _, own = name.rpartition(".")
            substitute(module.get_submodule(owner), [own], FakeTernary(self.scheme(), self.threshold))
        return module

    def loss(self, loss_of: Callable[..., Any], ctx: Context) -> Callable[..., Any]:
        """(batch, state) -> (loss_sum, count, state, extras) with the loss of (5); state = {"student": ..., "teacher": ...}."""
        if self.weight == 0:
            ctx.effect("weight = 0: no soft labels are read.")
            return loss_of
        teacher = ctx.teacher(self.teacher)
        check_pair("quantization/ternary_distilled", self.teacher, teacher, ctx.model)
        ctx.effect(f'Learns {self.weight:.0%} from the soft labels of "{self.teacher}" at temperature {self.temperature:g}.')
        return taught(loss_of, ctx.model, teacher, self.weight, self.temperature)

    def compress(self, module: nn.Module, weights: Mapping[str, nn.Parameter], ctx: Context) -> tuple[dict[str, StoredMatrix], str]:
        """The three values that training saw."""
        first = once_each(weights)
        made = {name: ternary(weights[name], self.scheme(), self.threshold) for name in dict.fromkeys(first.values())}
        zero = sum(int((each.codes_ED == 1).sum()) for each in made.values()) / sum(each.codes_ED.numel() for each in made.values())
        return grid_matrices({name: made[own] for name, own in first.items()}), f"{zero:.1%} of these weights are zero. Training saw the rounding."


def begin_as(module: nn.Module, teacher: nn.Module, name: str) -> None:
    """Copy the teacher's weights. Raises ValueError with a sentence where it is another network."""
    own, theirs = module.state_dict(), teacher.state_dict()
    unlike = [key for key in {**own, **theirs} if key not in own or key not in theirs or own[key].shape != theirs[key].shape]
    if unlike:
        raise ValueError(
            f'The student cannot begin as its teacher "{name}": {unlike[0]} is not the same in both ({len(unlike)} of {len(own)} tensors differ). '
            "Give both variants the same model, or set initialise = false."
        )
    module.load_state_dict(theirs)


@torch.no_grad()
def ternary(weight_ED: Tensor, scheme: Scheme, threshold: Threshold) -> Quantised:
    """(1) with (2) or (3). A scale whose weights are all zero is 1."""
    weight_ED = weight_ED.detach().float().flatten(1)
    found = [_levels(block.abs(), threshold) for block in blocks(weight_ED, scheme)]
    scale_RG, least_RG = (torch.cat([pair[i] for pair in found], dim=1) for i in (0, 1))
    kept_ED = weight_ED.abs() >= spread(least_RG, weight_ED.shape[1], scheme)
    return stored(torch.where(kept_ED, weight_ED.sign(), 0.0) + 1, scale_RG, torch.ones_like(scale_RG), scheme)


def _levels(size_RGn: Tensor, threshold: Threshold) -> tuple[Tensor, Tensor]:
    """(a, the least |w| that stays), (R, G)."""
    ordered = size_RGn.sort(dim=-1, descending=True).values
    sums = ordered.double().cumsum(-1)
    count = torch.arange(1, ordered.shape[-1] + 1, device=ordered.device)
    if threshold == "twn":
        kept = (ordered > 0.7 * ordered.mean(-1, keepdim=True)).sum(-1, keepdim=True).clamp(min=1)
    else:
        kept = (sums.square() / count).argmax(-1, keepdim=True) + 1
    scale = (sums.gather(-1, kept - 1) / kept).squeeze(-1).float()
    return torch.where(scale > 0, scale, 1.0), ordered.gather(-1, kept - 1).squeeze(-1)


class FakeTernary:
    """Change for `engines.toolbox.substitution`: the weight as it would be stored now, with the gradient of (4)."""

    def __init__(self, scheme: Scheme, threshold: Threshold) -> None:
        self.scheme, self.threshold = scheme, threshold

    def __call__(self, module: nn.Module, weight: Tensor) -> Tensor:
        rounded = ternary(weight, self.scheme, self.threshold).dense().view_as(weight)
        made: Tensor = _StraightThrough.apply(weight, rounded.to(weight.dtype))
        return made


class _StraightThrough(torch.autograd.Function):
    """The second tensor forward, the gradient to the first backward."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor, rounded: Tensor) -> Tensor:
        return rounded

    @staticmethod
    def backward(ctx: Any, *gradient: Tensor) -> tuple[Tensor, None]:
        return gradient[0], None


@certificate("exact leaves the least squared error of all 3^7 ternary rows at their best scales; twn is (2), and no better", tolerance=1e-5)
def is_least(trial: Trial) -> float:
    """Largest relative excess over brute force; infinite where twn is below it, or is not (1) at its threshold."""
    torch.manual_seed(trial.seed)
    rows, worst = torch.randn(6, 7), 0.0
    signs = torch.tensor(list(itertools.product((-1.0, 0.0, 1.0), repeat=7)))
    signs = signs[signs.abs().sum(1) > 0]
    scheme = Scheme(2, True, "channel")
    exact, twn = (ternary(rows, scheme, threshold).dense() for threshold in ("exact", "twn"))
    for row, own, near in zip(rows, exact, twn, strict=True):
        scale = (signs @ row / signs.square().sum(1)).clamp(min=0)
        best = float((row - scale[:, None] * signs).square().sum(1).min())
        kept = row.abs() > 0.7 * row.abs().mean()
        by_hand = torch.where(kept, row.sign() * row[kept].abs().mean(), 0.0)
        if largest_difference(near, by_hand) > 1e-6 or float((row - near).square().sum()) < best * (1 - 1e-5):
            return float("inf")
        worst = max(worst, float((row - own).square().sum()) / best - 1)
    return worst


@certificate("The gradient of a weight is that of the ternary weight", tolerance=1e-5)
def passes_straight_through(trial: Trial) -> float:
    """Largest difference to a module that holds the ternary weights, relative."""
    technique, batch = TernaryDistilled(teacher="t", initialise=False, granularity="group", group_size=5), batches(trial, 1)[0]
    trained, rounded = specimen(trial), specimen(trial)
    technique.model(trained, Surroundings(trained))
    for name in matrices_of(rounded, technique.types, ("*",), ())[0]:
        weight = rounded.get_parameter(name)
        weight.data.copy_(ternary(weight, technique.scheme(), technique.threshold).dense())
    backward_of(trained)(batch, None)
    backward_of(rounded)(batch, None)
    return largest_difference(gradients(trained), gradients(rounded)) / float(gradients(rounded).abs().max())


@certificate("The packed and the restored model compute what training computed, in two bits a weight", tolerance=1e-6)
def packs_what_was_trained(trial: Trial) -> float:
    """Largest difference of hidden states, in float32; infinite where codes take more than two bits, or the student did not begin as asked."""
    single = Trial(trial.batch, trial.length, trial.width, trial.vocabulary, trial.device, "float32", trial.seed)
    technique = TernaryDistilled(teacher="t", threshold="exact")
    module: Any = specimen(single).eval()
    surroundings = Surroundings(module)
    surroundings.teachers["t"] = specimen(Trial(trial.batch, trial.length, trial.width, trial.vocabulary, trial.device, "float32", trial.seed + 1))
    technique.model(module, surroundings)
    if any(not torch.equal(p, q) for p, q in zip(module.parameters(), surroundings.teachers["t"].parameters(), strict=True)):
        return float("inf")
    fresh, ids_BT = copy.deepcopy(specimen(single)), batches(single, 1)[0].inputs_BT
    expected = module.hidden(ids_BT)[0]
    finished: Any
    finished, record = technique.finish(module, surroundings)
    restored: Any = technique.restore(fresh, record).eval()
    restored.to(trial.device).load_state_dict(finished.state_dict())
    if surroundings.effects[-1][1]["code_bits"] != 2:
        return float("inf")
    return max(largest_difference(each.hidden(ids_BT)[0], expected) for each in (finished, restored))
