"""Large batches in several small passes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import torch

from engines.api import Context, Numerics, Technique, Trial, certificate, param
from engines.toolbox.batches import Batch, detach, merge_states, split_state
from engines.toolbox.specimen import Surroundings, backward_of, batches, gradients, specimen
from engines.toolbox.trials import relative_error


class GradientAccumulation(Technique):
    """Gradient accumulation

    The sum rule; named and scaled to very large batches by Ott, Edunov, Grangier and Auli (2018), Scaling Neural Machine Translation.

    Equations, for a batch of B rows cut into n parts of its rows, with summed loss l_i and C_i targets in part i:

        C = sum_i C_i                                            (1)
        g = sum_i grad(l_i) / C  =  grad(sum_i l_i / C)          (2)

    Dividing each part by its own count instead, and averaging, would weigh the tokens of small parts more: a known mistake wherever parts
    differ in size. The carried state is split and merged with the rows.
    Symbols: B `training.batch`, n micro-batches, C targets of the whole batch.
    Cost: activations of B / n rows instead of B; n smaller passes instead of a large one, so slower where the machine was not full.
    Does nothing when: n = 1 (or B = 1).
    Parameters: micro_batches n.

    Equal to the large batch up to rounding, except where rows of a batch see each other (batch statistics, expert capacity) or noise is
    drawn (dropout).
    """

    paper: ClassVar[str] = "Ott, Edunov, Grangier and Auli (2018), Scaling Neural Machine Translation, https://arxiv.org/abs/1806.00187"
    numerics: ClassVar[Numerics] = "close"

    micro_batches: int = param(2, "Parts into which the rows of a batch are cut, at most as many as there are rows.", symbol="n", ge=1)

    def gradient(self, forward_backward: Callable[..., Any], ctx: Context) -> Callable[..., Any]:
        """Forward and backward, part by part."""
        stated = False

        def accumulate(batch: Batch, state: Any, count: int | None = None, scale: float | torch.Tensor = 1.0) -> Any:
            nonlocal stated
            rows = batch.inputs_BT.shape[0]
            n = min(self.micro_batches, rows)
            if not stated:
                stated = True
                ctx.effect(f"{rows} rows a batch in {n} passes of {-(-rows // n)} rows." + (" Nothing is split." if n == 1 else ""), passes=n)
            if n == 1:
                return forward_backward(batch, state, count=count, scale=scale)
            total = batch.tokens if count is None else count  # (1)
            results = [
                forward_backward(part, before, count=total, scale=scale)  # (2)
                for part, before in zip(batch.split(n), split_state(state, n), strict=True)
            ]
            losses, counts, states, extras = zip(*results, strict=True)
            return torch.stack(losses).sum(), sum(counts), merge_states(states), _merged(extras, [c / sum(counts) for c in counts])

        return accumulate


def _merged(extras: tuple[dict[str, Any], ...], shares: list[float]) -> dict[str, Any]:
    """What the engine logs: the auxiliary loss as the mean over targets, loads summed. Hidden states are dropped, or no memory were saved."""
    merged: dict[str, Any] = {}
    if extras[0].get("auxiliary") is not None:
        merged["auxiliary"] = torch.stack([own["auxiliary"].detach() * share for own, share in zip(extras, shares, strict=True)]).sum()
    if extras[0].get("load"):
        merged["load"] = {name: torch.stack([own["load"][name] for own in extras]).sum(0) for name in extras[0]["load"]}
    return merged


@certificate("The gradient equals that of the large batch, also for parts of unequal size", tolerance=1e-5)
def equals_large_batch(trial: Trial) -> float:
    """Largest relative difference of gradients and carried states over two segments of 5 rows in 1, 2, 3 and 5 parts."""
    segments = batches(trial, 2, rows=5)

    def run(n: int) -> tuple[torch.Tensor, torch.Tensor]:
        module = specimen(trial)
        state: Any = None
        from_parts = GradientAccumulation(micro_batches=n).gradient(backward_of(module), Surroundings(module))
        for batch in segments:
            _, _, state, _ = from_parts(batch, state)
            state = detach(state)
        return gradients(module), state[0][0]

    expected, expected_state = run(1)
    error = 0.0
    for n in (2, 3, 5):
        ours, ours_state = run(n)
        error = max(error, relative_error(ours, expected), relative_error(ours_state, expected_state))
    return error
