"""Pruning what moves towards zero."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Literal, Self

import torch
from pydantic import model_validator
from torch import nn

from engines.api import Context, Trial, certificate, param
from engines.toolbox.optimization import largest_difference
from engines.toolbox.pruning import cubic
from engines.toolbox.pruning_technique import Pruning
from engines.toolbox.specimen import Surroundings, backward_of, batches, specimen
from engines.toolbox.straight_through import Gate, gated, gates, ungate


class Movement(Pruning):
    """Movement pruning

    Sanh, Wolf and Rush (2020), Movement Pruning: Adaptive Sparsity by Fine-Tuning.

    Equations, for each matched matrix W with scores S of the same shape, S = 0 at the start:

        W' = W * M(S)                                                       (1)  what the module computes with
        hard: M = 1 for the round(v n) largest S of the matrix              (2)  v share that is kept
        soft: M = 1 where sigmoid(S) > tau                                  (3)  at least 0.5% of each matrix is kept
        dL/dW = dL/dW' * M,    dL/dS = dL/dW' * W                           (4)  straight through (2), (3): at removed entries too
        soft: L + lambda mean sigmoid(S)                                    (5)  what pushes scores down
        v = s' + (1 - s') (1 - (p - b) / (e - b))^3,  s' = 1 - s            (6)  all is kept before b; soft: tau and lambda grow alike

    By (4) descent gives S = -eta_S sum_t (dL/dW') W: a score grows while its weight moves away from zero and falls while it shrinks, whatever
    its size; a removed weight can return, since its score goes on. At S = 0 all scores tie, so b > 0 gives them time to differ.
    soft: how many go is decided by lambda and tau, not by s; sigmoid(S) < tau needs scores that had the steps to get there.
    Symbols: s sparsity, p spent share of the budget, b and e where cutting begins and ends, n weights of the matrix.
    Scores are moved by the recipe's optimizer with a learning rate of their own, eta_S, without decay, under the recipe's schedule.
    Cost: a copy of each matched matrix with its gradient and optimizer state while training; one selection (hard) and two products a matrix and
    forward pass. Afterwards nothing: scores are dropped, zeros stay.
    Does nothing when: s = 0 (hard), or no weight matches (it then says so). Speed and size stay as they were in dense kernels and files.
    Parameters: sparsity s, layer_sparsity, types, include, exclude, threshold, tau, penalty lambda, score_lr eta_S, begin b, end e.
    """

    paper: ClassVar[str] = "Sanh, Wolf and Rush (2020), https://arxiv.org/abs/2005.07683"
    conflicts: ClassVar[Mapping[str, str]] = {
        f"pruning/{name}": "Both decide which weights are zero: keep one of them."
        for name in ("magnitude", "random", "gradient", "activation", "obd", "obs")
    }

    threshold: Literal["hard", "soft"] = param("hard", "Keep a given share of each matrix, or all scores above a threshold.")
    tau: float = param(0.1, "soft: threshold of sigmoid(S) at the end.", symbol="tau", gt=0, lt=0.5)
    penalty: float = param(1.0, "soft: weight of the mean of sigmoid(S) at the end.", symbol="lambda", ge=0)
    score_lr: float = param(1e-2, "Learning rate of the scores.", symbol="eta_S", gt=0)
    begin: float = param(0.1, "Spent share of the budget until which all is kept.", unit="share", symbol="b", ge=0, le=1)
    end: float = param(0.7, "Spent share of the budget from which the final share is kept.", unit="share", symbol="e", ge=0, le=1)

    @model_validator(mode="after")
    def _begins_before_it_ends(self) -> Self:
        if self.begin >= self.end:
            raise ValueError(f"begin ({self.begin}) must lie before end ({self.end}): both are shares of the budget.")
        return self

    def model(self, module: nn.Module, ctx: Context) -> nn.Module:
        """The same module; matched weights are masked by their scores around each call."""
        weights = self.matched(module)
        if self.cuts or self.threshold == "soft":
            for name in weights:
                gated(module, name, Gate(self.threshold))
        return module

    def optimizer(self, factory: Callable[[nn.Module], torch.optim.Optimizer] | None, ctx: Context) -> Callable[[nn.Module], torch.optim.Optimizer]:
        """The recipe's optimizer, with the scores in a group of their own."""
        if factory is None:
            raise ValueError("pruning/movement gives its scores to the recipe's optimizer, so it must stand behind it: move it down in techniques.")

        def build(module: nn.Module) -> torch.optim.Optimizer:
            made = factory(module)
            scores = [score for _, _, score in gates(module)]
            own = {id(score) for score in scores}
            for group in made.param_groups:
                group["params"] = [parameter for parameter in group["params"] if id(parameter) not in own]
            made.param_groups[:] = [group for group in made.param_groups if group["params"]]
            if scores:
                made.add_param_group({"params": scores, "lr": self.score_lr, "weight_decay": 0.0})
            return made

        return build

    def loss(self, loss_of: Callable[..., Any], ctx: Context) -> Callable[..., Any]:
        """The loss under the mask that is due, with the penalty of (5)."""
        gated_weights = list(gates(ctx.model))

        def masked(batch: Any, state: Any) -> Any:
            share = self._share(ctx.progress)
            for name, gate, _ in gated_weights:
                gate.kept, gate.tau = 1 - cubic(share, self.sparsity_of(name)), cubic(share, self.tau)  # (6)
            loss_sum, count, state, extras = loss_of(batch, state)
            if self.threshold == "soft" and gated_weights:
                size = sum(score.numel() for _, _, score in gated_weights)
                mean = torch.stack([score.sigmoid().sum() for _, _, score in gated_weights]).sum() / size
                penalty = self.penalty * cubic(share, 1.0) * mean  # (5)
                extras["auxiliary"] = penalty if extras.get("auxiliary") is None else extras["auxiliary"] + penalty
            return loss_sum, count, state, extras

        return masked

    def _share(self, progress: float) -> float:
        return min(1.0, max(0.0, (progress - self.begin) / (self.end - self.begin)))

    def finish(self, module: nn.Module, ctx: Context) -> tuple[nn.Module, dict[str, Any]]:
        """The final mask is applied and the scores are dropped. Names and structure are as before, so nothing needs restoring."""
        for name, gate, _ in gates(module):
            gate.kept, gate.tau = 1 - self.sparsity_of(name), self.tau
        ctx.state["removed"] = ungate(module)
        weights = self.matched(module)
        if not weights:
            return module, self.nothing(ctx)
        return module, self.told(module, weights, ctx)


def _masked(trial: Trial, kept: float) -> tuple[Any, dict[str, nn.Parameter], dict[str, torch.Tensor]]:
    """(a specimen whose scores were drawn, its scores, its masks)."""
    module = specimen(trial)
    technique = Movement(sparsity=1 - kept)
    technique.model(module, Surroundings(module))
    generator = torch.Generator().manual_seed(trial.seed)
    scores, masks = {}, {}
    for name, gate, score in gates(module):
        gate.kept = kept
        with torch.no_grad():
            score.copy_(torch.randn(score.shape, generator=generator))
        scores[name], masks[name] = score, gate.mask(score)
    return module, scores, masks


@certificate("The gradient of a score is (4) by hand: that of the masked weight, times the weight, at removed entries too", tolerance=1e-6)
def gradient_by_hand(trial: Trial) -> float:
    """Largest difference of scores' and weights' gradients to a plain module that holds W' itself; infinite where not round(v n) are kept."""
    module, scores, masks = _masked(trial, 0.3)
    plain, batch = specimen(trial), batches(trial, 1)[0]
    held = {name: plain.get_parameter(name).detach().clone() for name in masks}
    with torch.no_grad():
        for name, mask in masks.items():
            plain.get_parameter(name).mul_(mask)  # (1)
    backward_of(module)(batch, None)
    backward_of(plain)(batch, None)
    worst = 0.0
    for name, mask in masks.items():
        g = plain.get_parameter(name).grad
        if g is None or int(mask.sum()) != round(0.3 * mask.numel()):
            return float("inf")
        pairs = ((scores[name].grad, g * held[name]), (module.get_parameter(name).grad, g * mask))  # (4)
        worst = max([worst, *(largest_difference(ours, theirs) for ours, theirs in pairs)])  # type: ignore[arg-type]
    return worst


@certificate("The gradient of a score is the change of the loss along its mask, by central differences", tolerance=1e-3)
def gradient_by_differences(trial: Trial) -> float:
    """Largest relative difference over eight entries of each mask, kept and removed ones."""
    module, scores, masks = _masked(trial, 0.3)
    batch, plain = batches(trial, 1)[0], specimen(trial)
    backward_of(module)(batch, None)
    step = 1e-5 if trial.dtype == "float64" else 1e-2
    worst = 0.0
    with torch.no_grad():
        raw = {name: plain.get_parameter(name).clone() for name in masks}
        for name, mask in masks.items():
            plain.get_parameter(name).mul_(mask)
        for name, mask in masks.items():
            gradient, weight = scores[name].grad.flatten(), plain.get_parameter(name).view(-1)  # type: ignore[union-attr]
            for place in range(0, mask.numel(), max(1, mask.numel() // 8)):
                losses, value = [], float(weight[place])
                for move in (step, -step):
                    weight[place] = value + move * float(raw[name].view(-1)[place])
                    loss, count, _, extras = plain(batch, None)
                    losses.append(float(loss) / count + float(extras["auxiliary"]))
                weight[place] = value
                slope = (losses[0] - losses[1]) / (2 * step)
                worst = max(worst, abs(slope - float(gradient[place])) / float(gradient.abs().max()))
    return worst


@certificate("While all is kept, loss and gradients of the weights are those without the technique, bit for bit", tolerance=0.0)
def all_kept_is_plain(trial: Trial) -> float:
    """Largest difference."""
    module, plain, batch = specimen(trial), specimen(trial), batches(trial, 1)[0]
    surroundings = Surroundings(module)
    technique = Movement()
    technique.model(module, surroundings)
    loss, *_ = backward_of(technique.loss(module, surroundings))(batch, None)
    expected, *_ = backward_of(plain)(batch, None)
    worst = largest_difference(loss.reshape(1), expected.reshape(1))
    for name, parameter in plain.named_parameters():
        ours = module.get_parameter(name).grad
        worst = max(worst, float("inf") if ours is None or parameter.grad is None else largest_difference(ours, parameter.grad))
    return worst
