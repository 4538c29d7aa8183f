"""What pruning techniques are: which weights, when they go, how they stay away. A criterion is one method on top of it.

    Pruning      which weights may go; what is gone stays zero through every further update; what is said at the end
    ByCriterion  cuts what has the smallest scores: scope, granularity, schedule and moment as parameters
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from fnmatch import fnmatchcase
from functools import partial
from typing import Any, ClassVar, Literal, Self

import torch
from pydantic import field_validator, model_validator
from torch import nn

from engines.api import Context, Matches, Technique, param
from engines.toolbox.pruning import (
    Granularity,
    Prunable,
    Scope,
    cubic,
    overall,
    shared_with,
    smallest,
    sparsity_after,
    sparsity_sentence,
    weights_of,
    zero,
)  # fmt: skip

FINE_TUNE_SHARE = 0.1
"""Tokens of fine-tuning after cuts in a finished model unless told otherwise, as a share of the tokens trained so far."""
ROUNDS = {"one_shot": 1, "iterative": 5, "gradual": 20}
"""Cuts unless told otherwise."""

Weights = dict[str, nn.Parameter]
Removed = dict[str, torch.Tensor]


class Pruning(Technique):
    """A technique that sets weights to zero and keeps them there."""

    sparsity: float = param(0.8, "Share of the matched weights that become zero.", unit="share", symbol="s", ge=0, lt=1)
    layer_sparsity: dict[str, float] = param(
        {}, "Pattern over full parameter names -> sparsity of what matches, in place of `sparsity`. A later match wins.", unit="share"
    )
    types: tuple[Prunable, ...] = param(("Linear", "LSTM", "GRU", "Conv1d", "Conv2d"), "Types of modules whose matrices may be cut.")
    include: tuple[str, ...] = param(("*",), "Patterns over full parameter names (* matches anything); one must match.")
    exclude: tuple[str, ...] = param(("head*",), "Patterns over full parameter names; none may match.")

    @field_validator("layer_sparsity")
    @classmethod
    def _shares(cls, layer_sparsity: dict[str, float]) -> dict[str, float]:
        for pattern, sparsity in layer_sparsity.items():
            if not 0 <= sparsity < 1:
                raise ValueError(f'"{pattern}" is given sparsity {sparsity:g}: it is a share of the weights, from 0 to below 1.')
        return layer_sparsity

    @model_validator(mode="after")
    def _one_ranking_has_one_sparsity(self) -> Self:
        if self.layer_sparsity and getattr(self, "scope", "layer") == "global":
            raise ValueError(
                'scope = "global" ranks all matrices together, so they have no sparsity of their own: take scope = "layer" or no layer_sparsity.'
            )
        return self

    def matched(self, module: nn.Module) -> Weights:
        """The matrices that may be cut."""
        return weights_of(module, self.types, self.include, self.exclude)

    def matches(self, module: nn.Module, text: Sequence[Any] = ()) -> Matches:
        weights = self.matched(module)
        shared = tuple(f"{name} is also {other}, which loses the same weights." for name, other in shared_with(module, weights))
        return Matches(tuple(weights), shared)

    def sparsity_of(self, name: str) -> float:
        """What is to be zero of one matrix in the end; the last pattern that matches wins."""
        given = (sparsity for pattern, sparsity in reversed(list(self.layer_sparsity.items())) if fnmatchcase(name, pattern))
        return next(given, self.sparsity)

    def sparsities(self, weights: Weights, of: Callable[[float], float] = lambda final: final) -> dict[str, float]:
        """Of each matrix; of: from the final one to that of the moment."""
        return {name: of(self.sparsity_of(name)) for name in weights}

    @property
    def cuts(self) -> bool:
        """Whether any sparsity is above zero."""
        return max((self.sparsity, *self.layer_sparsity.values())) > 0

    def step(self, update: Callable[[], None], ctx: Context) -> Callable[[], None]:
        """The update, after which removed weights are zero again."""
        weights = self.matched(ctx.model)

        def masked_update() -> None:
            removed = ctx.state.get("removed")
            if removed:
                zero(weights, removed, gradients=True)  # momentum of what is gone would only blow up the norm that clipping sees
            update()
            self.updated(weights, ctx)
            removed = ctx.state.get("removed")
            if removed:
                zero(weights, removed)

        return masked_update

    def updated(self, weights: Weights, ctx: Context) -> None:
        """What is to be done after an update, before removed weights are made zero."""

    def nothing(self, ctx: Context) -> dict[str, Any]:
        """Say that no weight matches; the record of a technique that did nothing."""
        ctx.effect(
            f"Nothing was pruned: 0 weights of type {', '.join(self.types)} match include = {list(self.include)} and exclude = "
            f"{list(self.exclude)}. The model is as it was."
        )
        return {"modules": 0}

    def remark(self, weights: Weights) -> str:
        """What else is to be said of the zeros: nothing, or a sentence behind a blank."""
        return ""

    def told(self, module: nn.Module, weights: Weights, ctx: Context, **figures: float) -> dict[str, Any]:
        """Say what is zero now; the record."""
        sentence, counted = sparsity_sentence(module, weights)
        sentence += self.remark(weights)
        sentence += "".join(f" {name} is also {other}, which lost the same weights." for name, other in shared_with(module, weights))
        left = [name for name in weights if name not in ctx.state.get("removed", {name: None})]
        if left and self.cuts:
            sentence += f" {len(left)} matched matrices were left alone, since their inputs cannot be seen: {', '.join(left[:4])}."
        ctx.effect(sentence, **counted, **figures)
        return {**counted, **figures}


class ByCriterion(Pruning):
    """Pruning of what has the smallest scores. A subclass says what a score is."""

    scope: Scope = param("layer", "Rank weights within each matrix, all matrices together, or within each output row.")
    granularity: Granularity = param("weight", "What goes at once: weights, blocks, whole output rows, or two of each four weights in a row (2:4).")
    block: tuple[int, int] = param((4, 4), "granularity = block: rows and columns of a block.")
    mode: Literal["one_shot", "iterative", "gradual"] = param(
        "one_shot", "Cut once; in rounds of cutting and fine-tuning; or by a cubic schedule while training goes on."
    )
    when: Literal["before", "during", "after"] | None = param(
        None, "Before, during or after training; default: during (gradual), after (the others)."
    )
    fine_tune_tokens: int | None = param(
        None, "Tokens trained on after cuts in the trained model, all rounds together; default: a tenth of those before.", unit="tokens", ge=0
    )
    fine_tune_lr: float = param(0.1, "Learning rate of the fine-tuning, as a share of the optimizer's.", unit="share", gt=0)
    begin: float = param(0.2, "during: spent share of the budget at the first cut.", unit="share", symbol="b", ge=0, le=1)
    end: float = param(0.8, "gradual: spent share of the budget at the last cut.", unit="share", symbol="e", ge=0, le=1)
    rounds: int | None = param(None, "Number of cuts; default: 20 (gradual), 5 (iterative).", symbol="k", ge=1)

    after: ClassVar[tuple[str, ...]] = ()

    @model_validator(mode="after")
    def _schedules_fit(self) -> Self:
        if self.begin >= self.end:
            raise ValueError(f"begin ({self.begin}) must lie before end ({self.end}): both are shares of the budget.")
        allowed = {"one_shot": ("before", "during", "after"), "iterative": ("after",), "gradual": ("during",)}[self.mode]
        if self.when is not None and self.when not in allowed:
            raise ValueError(f'mode = "{self.mode}" cuts {" or ".join(allowed)} training, not {self.when}: choose another mode, or leave out when.')
        if self.granularity == "row" and self.scope == "row":
            raise ValueError('granularity = "row" and scope = "row" leave one thing to rank in each row: choose scope = "layer" or "global".')
        if self.granularity == "2:4" and self.layer_sparsity:
            raise ValueError('granularity = "2:4" removes half of every matrix: leave layer_sparsity out, and exclude what is to stay whole.')
        if self.granularity == "2:4" and (self.sparsity != 0.5 or self.mode != "one_shot"):
            raise ValueError(
                f'granularity = "2:4" removes two of each four weights at once, and here sparsity = {self.sparsity:g} and mode = "{self.mode}": set '
                'sparsity = 0.5 and mode = "one_shot".'
            )
        if min(self.block) < 1:
            raise ValueError(f"block is {list(self.block)}: both sides must be at least 1.")
        return self

    def scores(self, weights: Weights, module: nn.Module, ctx: Context) -> dict[str, torch.Tensor]:
        """What each weight is worth, shaped as the weight: the smallest go."""
        raise NotImplementedError(f"{type(self).__name__} does not define scores(weights, module, ctx).")

    def cut(self, weights: Weights, sparsity: Mapping[str, float], module: nn.Module, ctx: Context) -> Removed:
        """Which weights are gone at these sparsities, those that went before among them. Kept in the technique's state, so that a resumed run
        keeps its zeros."""
        removed: Removed = {}
        if any(share > 0 for share in sparsity.values()):
            removed = self.chosen(weights, sparsity, module, ctx)
        ctx.state["removed"] = removed
        zero(weights, removed)
        return removed

    def chosen(self, weights: Weights, sparsity: Mapping[str, float], module: nn.Module, ctx: Context) -> Removed:
        """The smallest scores. What is gone scores lowest, whatever the criterion says of a zero."""
        gone = ctx.state.get("removed", {})
        scores = self.scores(weights, module, ctx)
        scores = {name: score.masked_fill(gone[name].to(score.device), -torch.inf) if name in gone else score for name, score in scores.items()}
        return smallest(scores, sparsity, self.scope, self.granularity, self.block)

    def remark(self, weights: Weights) -> str:
        """Of 2:4: who multiplies it, and which rows end in numbers that stay."""
        if self.granularity != "2:4":
            return ""
        odd = [name for name, weight in weights.items() if weight.flatten(1).shape[1] % 4]
        ends = f" Rows of {', '.join(odd[:4])} are no multiple of four: their last weights stay." if odd else ""
        return f" Only GPUs of CUDA capability 8.0 on multiply two of four, and here they are multiplied as dense.{ends}"

    # --- when -------------------------------------------------------------------------------------------------------------------------------

    @property
    def moment(self) -> str:
        return self.when or ("during" if self.mode == "gradual" else "after")

    def gradient(self, backward: Callable[..., Any], ctx: Context) -> Callable[..., Any]:
        """when = before: the cut precedes the first forward pass."""
        if self.moment != "before":
            return backward
        weights = self.matched(ctx.model)

        def cut_first(*args: Any, **options: Any) -> Any:
            if "removed" not in ctx.state:
                self.cut(weights, self.sparsities(weights), ctx.model, ctx)
            return backward(*args, **options)

        return cut_first

    def updated(self, weights: Weights, ctx: Context) -> None:
        """when = during: the cuts that are due; s_t = s (1 - (1 - j/k)^3) after j of k."""
        due = self._due(ctx.progress) if self.moment == "during" else 0
        if due > ctx.state.get("round", 0):
            ctx.state["round"] = due
            sparsity = self.sparsities(weights, partial(cubic, due / self._rounds))
            ctx.log("sparsity", overall(weights, sparsity), "share of the matched weights")
            self.cut(weights, sparsity, ctx.model, ctx)

    @property
    def _rounds(self) -> int:
        return 1 if self.mode == "one_shot" else self.rounds or ROUNDS[self.mode]

    def _due(self, progress: float) -> int:
        """How many of the k cuts are due."""
        if self.mode == "one_shot":
            return int(progress >= self.begin)
        return int(self._rounds * min(1.0, max(0.0, (progress - self.begin) / (self.end - self.begin))) + 1e-9)

    def finish(self, module: nn.Module, ctx: Context) -> tuple[nn.Module, dict[str, Any]]:
        """The cuts in the trained model, each followed by its share of the fine-tuning; or what is left to cut. The structure stays, so
        nothing needs restoring."""
        weights = self.matched(module)
        if not weights:
            return module, self.nothing(ctx)
        before = sum(int((weight == 0).sum()) for weight in weights.values())
        done = {"after": 0, "before": self._rounds if "removed" in ctx.state else 0, "during": ctx.state.get("round", 0)}[self.moment]
        tokens = self.fine_tune_tokens
        if tokens is None:
            tokens = round(FINE_TUNE_SHARE * ctx.tokens) if self.moment == "after" and self.cuts else 0
        # Rounds with fine-tuning between them; what training did not reach is cut at once.
        rounds = range(1, self._rounds + 1) if self.moment == "after" else [self._rounds] if done < self._rounds else []
        for j in rounds:
            now = self.sparsities(weights) if j == self._rounds else self.sparsities(weights, partial(sparsity_after, j / self._rounds))
            self.cut(weights, now, module, ctx)
            if part := tokens * j // len(rounds) - tokens * (j - 1) // len(rounds) if self.moment == "after" else 0:
                ctx.train(tokens=part, lr_scale=self.fine_tune_lr)
        zero(weights, ctx.state.get("removed", {}))
        if self.moment != "after" and tokens:
            ctx.train(tokens=tokens, lr_scale=self.fine_tune_lr)
        return module, self.told(module, weights, ctx, zero_before=before, fine_tune_tokens=tokens)
