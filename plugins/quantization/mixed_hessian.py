"""Bits by layer, from the curvature of the loss."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import torch
from pydantic import field_validator, model_validator
from torch import Tensor, nn
from torch.func import functional_call

from engines.api import Context, Trial, certificate, param
from engines.toolbox.allocation import allocate
from engines.toolbox.curvature import Curvature, twice_differentiable
from engines.toolbox.optimization import largest_difference
from engines.toolbox.packed import StoredMatrix
from engines.toolbox.packing import GridPacking, bits_for, grid_matrices, once_each
from engines.toolbox.quantisers import Scheme, quantise
from engines.toolbox.specimen import Surroundings, batches, specimen


class MixedHessian(GridPacking):
    """Mixed precision by the Hessian

    Dong et al. (2019), HAWQ (eigenvalue); Dong et al. (2020), HAWQ-V2 (trace, and the choice of all widths at once); for language models Shen
    et al. (2020), Q-BERT.

    Equations, for the matrices W_l of n_l weights, H_l the block of the Hessian of the mean training loss a token that belongs to W_l:

        trace:       O_l = tr(H_l) / n_l,   tr(H_l) ~ mean of v^T H_l v,  v of signs         (1)  Hutchinson; HAWQ-V2
        eigenvalue:  O_l = |v^T H_l v| at the end of v <- H_l v / |H_l v|                    (2)  the curvature of the worst direction; HAWQ
        cost_l(b) = O_l |W^_l(b) - W_l|^2 / 2                                                (3)  W^_l(b): rounded to b bits, as weight_only
        minimise sum_l cost_l(b_l) with sum_l n_l b_l <= bits * sum_l n_l, b_l in choices    (4)  exactly, by dynamic programming

    Symbols: the grids as in quantization/weight_only. `bits` is the mean of (4), of codes; scales take the same at any width. layer_bits are
    given, not chosen, and count in (4): the entry of a sensitivity measurement can be pasted here.
    Cost: products H v, each about two backward passes on the calibration batches: samples of them for (1), up to iterations for each matrix
    for (2); the graph of the first derivatives is kept meanwhile. (4) takes milliseconds. Stored and executed as weight_only.
    Does nothing when: no module matches (it then says so). With one width in choices it is weight_only.
    Parameters: bits, choices, sensitivity, batches, samples, iterations, and those of weight_only.

    (3) is what rounding adds to the loss of a model at a minimum, to second order, if errors of weights do not depend on one another (trace),
    or a bound on it (eigenvalue). A trace below its standard error counts as that: noise is no reason for fewer bits. Where a function of the
    model hides its second derivative, products are differences of gradients (it then says so).
    """

    paper: ClassVar[str] = (
        "Dong et al. (2019), https://arxiv.org/abs/1905.03696; Dong et al. (2020), https://arxiv.org/abs/1911.03852; "
        "Shen et al. (2020), https://arxiv.org/abs/1909.05840"
    )

    bits: float = param(4.0, "Bits of a weight on average over all that is packed, at most.", unit="bits", symbol="b", ge=2, le=8)  # type: ignore[assignment]  # a mean
    choices: tuple[int, ...] = param((2, 3, 4, 6, 8), "Widths that a matrix may get.", unit="bits")
    sensitivity: Literal["trace", "eigenvalue"] = param("trace", "What of the Hessian tells how much a matrix matters.")
    batches: int = param(2, "Training batches that the Hessian is taken on.", ge=1)
    samples: int = param(32, "Vectors of (1).", ge=2)
    iterations: int = param(20, "Iterations of (2), at most.", ge=1)

    @field_validator("choices")
    @classmethod
    def _widths(cls, choices: tuple[int, ...]) -> tuple[int, ...]:
        if not choices:
            raise ValueError("choices is empty: name widths of 2 to 8 bits, as in [2, 4, 8].")
        for width in choices:
            if not 2 <= width <= 8:
                raise ValueError(f"choices names {width} bits: codes have 2 to 8.")
        return tuple(sorted(set(choices)))

    @model_validator(mode="after")
    def _affordable(self) -> MixedHessian:
        if self.bits < self.choices[0]:
            raise ValueError(f"bits = {self.bits:g} is less than the smallest of choices = {list(self.choices)}: no mix has so few.")
        return self

    def grid(self, bits: int) -> Scheme:
        """The grid of a width."""
        return Scheme(bits, self.symmetric, self.granularity, self.group_size, self.range, self.half_scales)

    def compress(self, module: nn.Module, weights: Mapping[str, nn.Parameter], ctx: Context) -> tuple[dict[str, StoredMatrix], str]:
        """(1) to (4), each weight once."""
        first = once_each(weights)
        own = {name: weights[name] for name in dict.fromkeys(first.values())}
        given = {name: width for name in own if (width := bits_for(name, self.layer_bits, 0))}
        free = [name for name in own if name not in given]
        matter, said = self._matter(module, {name: own[name] for name in free}, ctx)
        widths, kept = self.mix(own, given, matter)
        made = {name: quantise(own[name], self.grid(widths[name])) for name in own}
        told = ", ".join(f"{name} {widths[name]}" + (f" ({matter[name]:.3g})" if name in matter else " (given)") for name in own)
        measure = "trace of the Hessian a weight" if self.sensitivity == "trace" else "largest eigenvalue of the Hessian"
        sentences = [f"Bits of each matrix ({measure}): {told}.", said]
        if not kept:
            sentences.append(f"layer_bits alone leave no room for a mean of {self.bits:g}: all other matrices got {self.choices[0]} bits.")
        elif free:
            sentences.append(self._against_one_width(own, free, widths, matter))
        return grid_matrices({name: made[tied] for name, tied in first.items()}), " ".join(part for part in sentences if part)

    def mix(self, own: Mapping[str, Tensor], given: Mapping[str, int], matter: Mapping[str, float]) -> tuple[dict[str, int], bool]:
        """(4): (bits of each matrix, whether the mean is kept). matter: (1) or (2) of those that are not given."""
        free = list(matter)
        budget = int(self.bits * sum(weight.numel() for weight in own.values()) + 1e-6)
        budget -= sum(own[name].numel() * width for name, width in given.items())
        options = [[(own[name].numel() * width, self.cost(own[name], matter[name], width)) for width in self.choices] for name in free]
        places = allocate(options, budget)
        chosen = places or [0] * len(free)
        return {**given, **{name: self.choices[place] for name, place in zip(free, chosen, strict=True)}}, places is not None

    def cost(self, weight: Tensor, matter: float, bits: int) -> float:
        """(3)."""
        weight = weight.detach().float().flatten(1)
        return matter * float((quantise(weight, self.grid(bits)).dense() - weight).double().square().sum()) / 2

    def _matter(self, module: nn.Module, own: dict[str, nn.Parameter], ctx: Context) -> tuple[dict[str, float], str]:
        """(1), no less than its standard error, or (2) of each matrix, and what is to be said of it."""
        if not own:
            return {}, ""
        curvature = Curvature(module, own, ctx.calibration(self.batches))
        said = []
        if self.sensitivity == "trace":
            traces = curvature.traces(curvature.reached, self.samples)
            found = {name: max(traces[name]) / own[name].numel() if name in traces else 0.0 for name in own}
            if unsure := [name for name, (mean, error) in traces.items() if error > abs(mean) / 2]:
                said.append(f"Traces with a standard error of more than half of themselves (take more samples): {', '.join(unsure)}.")
        else:
            found = {name: abs(curvature.eigenvalue(name, self.iterations)) if name in curvature.reached else 0.0 for name in own}
        if not curvature.exact:
            said.append("Products with the Hessian are differences of gradients: the model has no second derivative that could be trusted.")
        if not any(found.values()):
            said.append("No matrix has a curvature above zero here: widths follow the squared rounding error alone.")
            return dict.fromkeys(found, 1.0), " ".join(said)
        if unseen := [name for name in own if name not in curvature.reached]:
            said.append(f"The loss does not depend on: {', '.join(unseen)}.")
        return found, " ".join(said)

    def _against_one_width(self, own: Mapping[str, Tensor], free: list[str], widths: Mapping[str, int], matter: Mapping[str, float]) -> str:
        """What (3) foretells of the mix, and of the widest single width that is no larger."""
        mixed = sum(self.cost(own[name], matter[name], widths[name]) for name in free)
        one = max(width for width in self.choices if width <= self.bits)
        same = sum(self.cost(own[name], matter[name], one) for name in free)
        return f"Foretold to add {mixed:.3g} nats to the loss of a target; {one} bits everywhere {same:.3g}."


@certificate("The largest eigenvalue and the trace of a layer's block are those of the exact Hessian, which autograd writes out", tolerance=1e-3)
def is_the_hessian(trial: Trial) -> float:
    """Relative error of the eigenvalue; infinite where the trace is off by more than five of its standard deviations."""
    single = Trial(trial.batch, trial.length, trial.width, trial.vocabulary, trial.device, "float32", trial.seed)
    module, data, name = specimen(single).double().eval(), batches(single, 1), "layers.1.feedforward.linear.weight"
    weight = module.get_parameter(name)
    with twice_differentiable(module):

        def loss(candidate: Tensor) -> Tensor:
            loss_sum, count, _, _ = functional_call(module, {name: candidate}, (data[0], None))
            mean: Tensor = loss_sum / count
            return mean

        H = torch.autograd.functional.hessian(loss, weight.detach()).reshape(weight.numel(), -1)
    values = torch.linalg.eigvalsh(H)
    exact = float(values[values.abs().argmax()])
    curvature, samples = Curvature(module, {name: weight}, data, trial.seed), 64
    trace, _ = curvature.traces([name], samples)[name]
    deviation = float((2 * (H.square().sum() - H.diagonal().square().sum()) / samples).sqrt())  # Hutchinson's, with signs
    if not curvature.exact or abs(trace - float(H.trace())) > 5 * deviation:
        return float("inf")
    return abs(curvature.eigenvalue(name, 2000, 1e-9) - exact) / abs(exact)


@certificate("The mix costs what the cheapest of all mixes within the budget costs, each tried", tolerance=1e-9)
def is_cheapest(trial: Trial) -> float:
    """Largest relative excess over brute force; infinite where a budget is not kept."""
    generator = torch.Generator().manual_seed(trial.seed)
    worst = 0.0
    for _ in range(30):
        sizes, costs = torch.randint(1, 30, (5, 4), generator=generator).tolist(), torch.rand(5, 4, generator=generator).tolist()
        options = [list(zip(*own, strict=True)) for own in zip(sizes, costs, strict=True)]
        budget = int(torch.randint(10, 100, (1,), generator=generator))
        mixes = [mix for mix in itertools.product(*options) if sum(size for size, _ in mix) <= budget]
        places = allocate(options, budget)
        if (places is None) != (not mixes):
            return float("inf")
        if places is None:
            continue
        chosen = [own[place] for own, place in zip(options, places, strict=True)]
        if sum(size for size, _ in chosen) > budget:
            return float("inf")
        best = min(sum(cost for _, cost in mix) for mix in mixes)
        worst = max(worst, sum(cost for _, cost in chosen) / best - 1)
    return worst


@certificate("With one width it is rounding to nearest, packed and restored as such", tolerance=1e-6)
def one_width_is_nearest(trial: Trial) -> float:
    """Largest difference of a rounded matrix, and of hidden states of the packed and the restored model."""
    single = Trial(trial.batch, trial.length, trial.width, trial.vocabulary, trial.device, "float32", trial.seed)
    technique = MixedHessian(bits=3, choices=(3,), group_size=5, samples=2, batches=1)
    module: Any = specimen(single).eval()
    before = {name: weight.detach().clone() for name, weight in module.named_parameters()}
    fresh = specimen(single).eval()
    module, record = technique.finish(module, Surroundings(module))
    name = "layers.0.feedforward.linear"
    error = largest_difference(module.get_submodule(name).weight, quantise(before[f"{name}.weight"], technique.grid(3)).dense())
    restored: Any = technique.restore(fresh, record).eval()
    restored.to(trial.device).load_state_dict(module.state_dict())
    ids_BT = batches(single, 1)[0].inputs_BT
    return max(error, largest_difference(module.hidden(ids_BT)[0], restored.hidden(ids_BT)[0]))
