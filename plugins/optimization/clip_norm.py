"""Clipping the norm of the gradient."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

import torch

from engines.api import Context, Technique, Trial, certificate, param
from engines.toolbox import trials
from engines.toolbox.optimization import gradient_values, largest_difference, trainable
from engines.toolbox.specimen import Surroundings, backward_of, batches, gradients, specimen

READ_EVERY = 10
"""Updates between two logged norms: reading one makes the host wait for the device, on CUDA for everything queued."""
READ_EVERY_ON_DEVICE = 50
SLACK = 1e-6
"""What torch adds to a norm before it divides by it."""


class ClipNorm(Technique):
    """Clip the norm of the gradient

    Pascanu, Mikolov and Bengio (2013), On the difficulty of training recurrent neural networks.

    Equations, over the gradients of all parameters taken as one vector g:

        n = ||g||_2                                  (1)
        g <- g min(1, c / n)                         (2)

    Symbols: c the largest norm that passes, n the norm before clipping. The direction stays, only the length changes.
    Cost: one pass over the gradients to measure, one to scale. Logs n as `train/gradient_norm` and the share of updates that were clipped.
    Does nothing when: n stays below c at every update (the logged share of clipped updates is then 0).
    Parameters: max_norm c.

    Of sparse row gradients the rows are the vector's parts: equal rows are summed first, so n and (2) are those of the dense gradient.
    In number: torch divides by n + 1e-6, so a clipped gradient is shorter than c by about one part in a million.
    """

    paper: ClassVar[str] = "Pascanu, Mikolov and Bengio (2013), https://arxiv.org/abs/1211.5063"

    max_norm: float = param(0.25, "Largest norm of the gradient that passes unscaled.", symbol="c", gt=0)

    def step(self, update: Callable[[], None], ctx: Context) -> Callable[[], None]:
        """The update on clipped gradients."""
        parameters = trainable(ctx.model)
        every = READ_EVERY if ctx.device.type == "cpu" else READ_EVERY_ON_DEVICE
        clipped: list[torch.Tensor] = []

        def clip_and_update() -> None:
            norm = clip(parameters, self.max_norm)
            clipped.append(norm > self.max_norm)
            if ctx.step % every == 0:
                ctx.log("train/gradient_norm", float(norm))
                ctx.log("clipped", float(torch.stack(clipped).float().mean()), "share of updates")
                clipped.clear()
            update()

        return clip_and_update


def clip(parameters: list[torch.nn.Parameter], max_norm: float) -> torch.Tensor:
    """Scale the gradients in place where their norm is above max_norm; returns the norm before."""
    if not any(p.grad is not None and p.grad.is_sparse for p in parameters):
        return torch.nn.utils.clip_grad_norm_(parameters, max_norm)  # (1), (2)
    values = gradient_values(parameters)
    norm = torch.nn.utils.get_total_norm(values)  # (1)
    factor = (max_norm / (norm + SLACK)).clamp(max=1.0)
    for each in values:
        each.mul_(factor.to(each.device))  # (2)
    return norm


@certificate("A gradient longer than c keeps its direction and gets the length c; a shorter one stays bit-equal", tolerance=1e-5)
def direction_and_length(trial: Trial) -> float:
    """Largest relative deviation from equation (2), for a c below and a c above the norm."""
    module = specimen(trial)
    backward_of(module)(batches(trial, 1)[0], None)
    free = gradients(module).clone()
    norm = float(free.norm())
    error = 0.0
    for c in (0.5 * norm, 2.0 * norm):
        module.zero_grad()
        backward_of(module)(batches(trial, 1)[0], None)
        ClipNorm(max_norm=c).step(lambda: None, Surroundings(module))()
        expected = free * min(1.0, c / norm)
        error = max(error, largest_difference(gradients(module), expected) / norm)
    return error


@certificate("The norm and the clipped gradient of sparse rows, repeated ones included, are those of the dense gradient", tolerance=1e-6)
def sparse_equals_dense(trial: Trial) -> float:
    """Largest relative difference of the norm and the gradients of a table that is read with repetitions, beside a dense layer."""
    with trials.seeded(trial):
        ids_N = torch.randint(max(1, trial.vocabulary // 3), (trial.batch * trial.length,))
        table, layer = torch.nn.Embedding(trial.vocabulary, trial.width), torch.nn.Linear(trial.width, 3)
        found = []
        for sparse in (False, True):
            table.sparse = sparse
            module = torch.nn.Sequential(table, layer)
            module.zero_grad()
            module(ids_N).square().sum().backward()
            free = torch.nn.utils.get_total_norm(gradient_values(module.parameters()))
            context = Surroundings(module)
            ClipNorm(max_norm=0.5 * float(free)).step(lambda: None, context)()
            dense = [p.grad.to_dense() if p.grad is not None else torch.zeros_like(p) for p in module.parameters()]
            found.append((torch.tensor(context.logged[0][1]), torch.cat([g.flatten() for g in dense])))
        return max(trials.relative_error(sparse, dense) for dense, sparse in zip(*found, strict=True))
