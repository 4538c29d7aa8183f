"""Pruning the smallest weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, Literal, Self

import torch
from pydantic import model_validator
from torch import nn

from engines.api import Context, Technique, Trial, certificate, param
from engines.toolbox.pruning import Prunable, Scope, cubic, smallest, sparsity_sentence, weights_of, zero
from engines.toolbox.specimen import Surroundings, specimen

FINE_TUNE_SHARE = 0.1
"""Tokens of fine-tuning after a one-shot cut unless told otherwise, as a share of the tokens trained so far."""


class Magnitude(Technique):
    """Magnitude pruning

    Han, Pool, Tran and Dally (2015), Learning both Weights and Connections for Efficient Neural Networks; gradual schedule: Zhu and Gupta
    (2017), To prune, or not to prune.

    Equations, for the n weights w of one matrix (scope layer) or of all matched ones together (scope global):

        removed = the round(s n) smallest |w|                               (1)
        w_removed <- 0, now and after every further update                  (2)
        s_t = s (1 - (1 - (p - b) / (e - b))^3)     for b <= p <= e         (3)  gradual: (1) anew in k rounds with a growing s_t

    one_shot: train, cut once by (1), fine-tune under (2). gradual: cut by (3) while training goes on; a weight cut early may not return,
    since |0| is the smallest there is.
    Symbols: s sparsity, p spent share of the budget, b and e where cutting begins and ends, k rounds.
    Cost: one sort of the weights a round, one pass over them a step, one bit of mask a weight (a byte here); fine-tuning is training.
    Does nothing when: s = 0, or no weight matches (it then says so). Speed and size stay as they were in dense kernels and files.
    Parameters: sparsity s, scope, mode, types, include, exclude, fine_tune_tokens, fine_tune_lr, begin b, end e, rounds k.

    Embeddings and everything in the head are spared unless named. Vectors are never cut.
    """

    paper: ClassVar[str] = (
        "Han, Pool, Tran and Dally (2015), https://arxiv.org/abs/1506.02626; Zhu and Gupta (2017), https://arxiv.org/abs/1710.01878"
    )

    sparsity: float = param(0.8, "Share of the matched weights that become zero.", unit="share", symbol="s", ge=0, lt=1)
    scope: Scope = param("layer", "Rank weights within each matrix, or all together.")
    mode: Literal["one_shot", "gradual"] = param("one_shot", "Cut once after training, or in rounds while it goes on.")
    types: tuple[Prunable, ...] = param(("Linear", "LSTM", "GRU", "Conv1d"), "Types of modules whose matrices may be cut.")
    include: tuple[str, ...] = param(("*",), "Patterns over full parameter names (* matches anything); one must match.")
    exclude: tuple[str, ...] = param(("head*",), "Patterns over full parameter names; none may match.")
    fine_tune_tokens: int | None = param(
        None, "Tokens trained on after the cut; default: a tenth of those before it (one_shot), none (gradual).", unit="tokens", ge=0
    )
    fine_tune_lr: float = param(0.1, "Learning rate of the fine-tuning, as a share of the optimizer's.", unit="share", gt=0)
    begin: float = param(0.2, "gradual: spent share of the budget at the first cut.", unit="share", symbol="b", ge=0, le=1)
    end: float = param(0.8, "gradual: spent share of the budget at the last cut.", unit="share", symbol="e", ge=0, le=1)
    rounds: int = param(20, "gradual: number of cuts.", symbol="k", ge=1)

    @model_validator(mode="after")
    def _begins_before_it_ends(self) -> Self:
        if self.begin >= self.end:
            raise ValueError(f"begin ({self.begin}) must lie before end ({self.end}): both are shares of the budget.")
        return self

    def step(self, update: Callable[[], None], ctx: Context) -> Callable[[], None]:
        """The update, after which removed weights are zero again."""
        weights = self._weights(ctx.model)

        def masked_update() -> None:
            removed = ctx.state.get("removed")
            if removed:
                zero(weights, removed, gradients=True)  # momentum of what is gone would only blow up the norm that clipping sees
            update()
            if self.mode == "gradual" and self._round(ctx.progress) > ctx.state.get("round", 0):
                ctx.state["round"] = self._round(ctx.progress)
                sparsity = cubic(ctx.state["round"] / self.rounds, self.sparsity)  # (3)
                ctx.log("sparsity", sparsity, "share of the matched weights")
                removed = self._cut(weights, sparsity, ctx.state)
            if removed:
                zero(weights, removed)  # (2)

        return masked_update

    def finish(self, module: nn.Module, ctx: Context) -> tuple[nn.Module, dict[str, Any]]:
        """The one-shot cut, or what is left to cut; then fine-tuning. The structure stays, so nothing needs restoring."""
        weights = self._weights(module)
        if not weights:
            ctx.effect(
                f"Nothing was pruned: 0 weights of type {', '.join(self.types)} match include = {list(self.include)} and exclude = "
                f"{list(self.exclude)}. The model is as it was."
            )
            return module, {"modules": 0}
        before = {name: int((weight == 0).sum()) for name, weight in weights.items()}
        removed = ctx.state.get("removed", {})
        if self.mode == "one_shot" or ctx.state.get("round", 0) < self.rounds:
            removed = self._cut(weights, self.sparsity, ctx.state)
        zero(weights, removed)  # (2)
        tokens = self.fine_tune_tokens
        if tokens is None:
            tokens = round(FINE_TUNE_SHARE * ctx.tokens) if self.mode == "one_shot" and self.sparsity > 0 else 0
        if tokens:
            ctx.train(tokens=tokens, lr_scale=self.fine_tune_lr)
        sentence, figures = sparsity_sentence(module, weights)
        ctx.effect(sentence, **figures, fine_tune_tokens=tokens)
        return module, {**figures, "zero_before": sum(before.values()), "fine_tune_tokens": tokens}

    def _weights(self, module: nn.Module) -> dict[str, nn.Parameter]:
        return weights_of(module, self.types, self.include, self.exclude)

    def _round(self, progress: float) -> int:
        """How many of the k rounds are due."""
        return int(self.rounds * min(1.0, max(0.0, (progress - self.begin) / (self.end - self.begin))) + 1e-9)

    def _cut(self, weights: dict[str, nn.Parameter], sparsity: float, state: dict[str, Any]) -> dict[str, torch.Tensor]:
        """Equation (1); kept in the technique's state, so that a resumed run keeps its zeros."""
        removed: dict[str, torch.Tensor] = {}
        if weights and sparsity > 0:
            removed = smallest({name: weight.detach().abs() for name, weight in weights.items()}, sparsity, self.scope)
        state["removed"] = removed
        return removed


@certificate("Exactly round(s n) weights become zero, none larger than any that stays; the others keep every bit; s = 0 changes none", tolerance=0.0)
def exact_count(trial: Trial) -> float:
    """Number of violations, over both scopes."""
    violations = 0
    for scope in ("layer", "global"):
        for sparsity in (0.0, 0.37, 0.8):
            module, plain = specimen(trial), specimen(trial)
            technique = Magnitude(sparsity=sparsity, scope=scope, fine_tune_tokens=0)
            technique.finish(module, Surroundings(module))
            groups = list(technique._weights(plain))
            for names in [groups] if scope == "global" else [[name] for name in groups]:
                old = torch.cat([plain.get_parameter(name).detach().flatten() for name in names])
                new = torch.cat([module.get_parameter(name).detach().flatten() for name in names])
                gone = new == 0
                violations += abs(int(gone.sum()) - round(sparsity * len(old))) + int((new != old)[~gone].sum())
                violations += int(bool(gone.any()) and float(old[gone].abs().max()) > float(old[~gone].abs().min()))
    return float(violations)
