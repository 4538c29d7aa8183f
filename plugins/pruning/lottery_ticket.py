"""Pruning by training again and again from the same early weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, ClassVar, Literal

import torch
from torch import nn

from engines.api import Context, Trial, certificate, param
from engines.toolbox.pruning import overall, smallest, sparsity_after, zero
from engines.toolbox.pruning_technique import Pruning, Removed, Weights
from engines.toolbox.specimen import Surroundings, specimen


class LotteryTicket(Pruning):
    """Lottery ticket

    Frankle and Carbin (2019), The Lottery Ticket Hypothesis; rewinding to step k > 0: Frankle, Dziugaite, Roy and Carbin (2020), Linear Mode
    Connectivity and the Lottery Ticket Hypothesis.

    Equations, for rounds j = 1 ... n after training from theta_k has given theta:

        s_j = 1 - (1 - s)^(j / n)                                           (1)  each round removes the same share of what is left
        removed_j = the round(s_j N) smallest |theta|, removed_(j-1) first  (2)  masks are nested
        theta <- theta_k where kept, 0 where removed                        (3)  every kept weight has the very bits of theta_k
        train theta to the end of the budget, as from step k                (4)

    (4) is the rest of the original training: the same optimiser state, schedule, order of data, random numbers and carried state as at step
    k, so with s = 0 it ends in the same weights, bit for bit. What a recipe does on validation figures is not repeated.
    Controls, the last (4) anew after the same search: "reinitialised" trains the same mask from step 0 with the initial values of each matched
    matrix shuffled (same distribution, other ticket); "random_mask" trains theta_k with as many weights of each matrix removed at random. A
    ticket is worth its search where it beats both.
    Symbols: s sparsity, n rounds, k rewind_step, N weights of a matrix (scope layer) or of all (global).
    Cost: n further trainings (from step k), counted in the price; a copy of weights and optimiser state in memory.
    Does nothing when: s = 0 (it still trains again), or no weight matches (it then says so). Speed and size stay as they were in dense kernels.
    Parameters: sparsity s, layer_sparsity, types, include, exclude, scope, rounds n, rewind_step k, control.
    """

    paper: ClassVar[str] = (
        "Frankle and Carbin (2019), https://arxiv.org/abs/1803.03635; Frankle, Dziugaite, Roy and Carbin (2020), https://arxiv.org/abs/1912.05671"
    )

    scope: Literal["layer", "global"] = param("layer", "Rank weights within each matrix, or all together.")
    rounds: int = param(5, "Number of trainings after the first.", symbol="n", ge=1)
    rewind_step: int = param(0, "Updates after which the weights are those that training returns to.", unit="steps", symbol="k", ge=0)
    control: Literal["none", "reinitialised", "random_mask"] = param("none", "What the last training is, to tell whether the ticket matters.")

    def step(self, update: Callable[[], None], ctx: Context) -> Callable[[], None]:
        """The masked update; and the moment to return to is kept."""
        ctx.snapshot(self.rewind_step)
        if self.control == "reinitialised":
            ctx.snapshot(0)
        return super().step(update, ctx)

    def finish(self, module: nn.Module, ctx: Context) -> tuple[nn.Module, dict[str, Any]]:
        """All rounds. The structure stays, so nothing needs restoring."""
        weights = self.matched(module)
        if not weights:
            return module, self.nothing(ctx)
        removed: Removed = {}
        for j in range(1, self.rounds + 1):
            now = self.sparsities(weights, partial(sparsity_after, j / self.rounds))  # (1)
            removed = self._cut(weights, now, removed)  # (2)
            last = j == self.rounds
            ctx.rewind(0 if last and self.control == "reinitialised" else self.rewind_step)  # (3)
            if last:
                removed = self._controlled(weights, removed, ctx)
            ctx.state["removed"] = removed
            zero(weights, removed)
            ctx.train()  # (4)
            ctx.log("sparsity", overall(weights, now), "share of the matched weights")
        return module, self.told(module, weights, ctx, rounds=self.rounds, rewind_step=self.rewind_step)

    def _cut(self, weights: Weights, sparsity: Mapping[str, float], gone: Removed) -> Removed:
        if not self.cuts:
            return {}
        size = {name: weight.detach().abs() for name, weight in weights.items()}
        return smallest({name: s.masked_fill(gone[name], -1.0) if name in gone else s for name, s in size.items()}, sparsity, self.scope)

    @torch.no_grad()
    def _controlled(self, weights: Weights, removed: Removed, ctx: Context) -> Removed:
        """The weights and mask of the last training."""
        generator = torch.Generator().manual_seed(ctx.seed)  # of the CPU, so that every device draws the same

        def shuffled(tensor: torch.Tensor) -> torch.Tensor:
            return tensor.flatten()[torch.randperm(tensor.numel(), generator=generator).to(tensor.device)].view_as(tensor)

        if self.control == "reinitialised":
            for weight in weights.values():
                weight.copy_(shuffled(weight))
        return {name: shuffled(gone) for name, gone in removed.items()} if self.control == "random_mask" else removed


class _Drift(Surroundings):
    """A context whose training moves every weight at random, through the technique's own step; what each training began with is kept."""

    def __init__(self, module: nn.Module, technique: LotteryTicket) -> None:
        super().__init__(module)
        self.starts: list[dict[str, torch.Tensor]] = []
        self.masks: list[Removed] = []
        self.generator = torch.Generator().manual_seed(3)
        self.update = technique.step(self.drift, self)

    def drift(self) -> None:
        with torch.no_grad():
            for parameter in self.model.parameters():
                parameter.add_(torch.randn(parameter.shape, generator=self.generator).to(parameter))

    def train(self, *, tokens: int | None = None, lr_scale: float = 1.0) -> None:
        self.starts.append({name: tensor.clone() for name, tensor in self.model.state_dict().items()})
        self.masks.append(self.state["removed"])
        self.update()


@certificate("Every round begins with the bits of theta_k where a weight is kept and 0 elsewhere; counts are exact; masks nest", tolerance=0.0)
def rounds_begin_at_theta_k(trial: Trial) -> float:
    """Number of violations over three rounds."""
    module, technique = specimen(trial), LotteryTicket(sparsity=0.488, rounds=3)
    theta_k = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    context = _Drift(module, technique)
    context.drift()
    technique.finish(module, context)
    wrong: int = abs(len(context.starts) - 3)
    before: Removed = {}
    for j, (start, removed) in enumerate(zip(context.starts, context.masks, strict=True), start=1):
        for name, tensor in start.items():
            gone = removed.get(name, torch.zeros_like(tensor, dtype=torch.bool))
            wrong += int((tensor != theta_k[name].masked_fill(gone, 0.0)).sum())
            if name in removed:
                wrong += abs(int(gone.sum()) - round(float(sparsity_after(j / 3, 0.488)) * gone.numel()))
            if name in before:
                wrong += int((before[name] & ~gone).sum())
        before = removed
    return float(wrong)


@certificate("Controls keep every matrix's number of removed weights; the random mask keeps theta_k, the other shuffles theta_0", tolerance=0.0)
def controls_keep_counts(trial: Trial) -> float:
    """Number of violations in the last round."""
    wrong, lasts = 0, {}
    theta_0 = dict(specimen(trial).state_dict())
    for control in ("none", "random_mask", "reinitialised"):
        module, technique = specimen(trial), LotteryTicket(sparsity=0.6, rounds=2, control=control)
        context = _Drift(module, technique)
        context.drift()
        technique.finish(module, context)
        lasts[control] = context.starts[-1], context.masks[-1]
    for name, gone in lasts["none"][1].items():
        start, mask = lasts["random_mask"][0][name], lasts["random_mask"][1][name]
        wrong += int(torch.equal(mask, gone)) + abs(int(mask.sum()) - int(gone.sum()))
        wrong += int((start != theta_0[name].masked_fill(mask, 0.0)).sum())
        start, mask = lasts["reinitialised"][0][name], lasts["reinitialised"][1][name]
        wrong += int((mask != gone).sum()) + int(torch.equal(start, theta_0[name].masked_fill(gone, 0.0)))
        wrong += int((~torch.isin(start[~gone], theta_0[name])).sum())
    return float(wrong)
