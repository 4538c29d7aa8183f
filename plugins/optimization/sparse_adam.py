"""Adam that moves only the rows which a step touched."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, ClassVar

import torch

from engines.api import Context, Technique, Trial, certificate, param
from engines.toolbox import trials
from engines.toolbox.optimization import largest_difference, scope, trainable
from engines.toolbox.row_adam import RowAdam
from engines.toolbox.specimen import Surroundings

if TYPE_CHECKING:
    from torch import nn


class SparseAdam(Technique):
    """Sparse Adam, with lazy moments of rows

    Kingma and Ba (2015), Adam: A Method for Stochastic Optimization, on rows, as torch.optim.SparseAdam has it. A matrix that hands out sparse
    row gradients (embeddings/lookup and sampled heads with sparse = true) is moved where it was used, and nowhere else:

        R = rows of theta with a gradient at update t                              (1)
        for r in R:  theta_r <- theta_r - eta m(t) lambda theta_r                  (2)  lazy decay, once each time a row is used
        for r in R:  u_r <- beta1 u_r + (1 - beta1) g_r                            (3)
                     v_r <- beta2 v_r + (1 - beta2) g_r^2                          (4)
                     theta_r <- theta_r - eta m(t) (sqrt(1 - beta2^t) / (1 - beta1^t)) u_r / (sqrt(v_r) + eps)      (5)

    Every other tensor (dense gradients: the LSTM, biases, dense heads) is moved by Adam, with decoupled decay, as optimization/adam does it.
    Symbols: eta learning rate, m(t) the multiplier of the schedule, beta1, beta2 memories of the moments, lambda weight decay, t updates of
    the whole matrix, g gradient of the mean loss, equal rows of a batch summed.

    What is lazy: the momentum of a row stands still until the row occurs again, instead of decaying and moving it on at every step; a rare row
    is decayed less often by lambda than a frequent one; t counts the updates of the matrix, not of the row. So it is another optimiser than
    Adam on the same problem, and equal to it where every row occurs in every batch (but for eps, which Adam adds after its sqrt is corrected).

    Cost: ten elementwise operations on |R| rows instead of all V; memory of two numbers a weight, as Adam.
    Does nothing when: no gradient is sparse. Then it is Adam, and says so.
    Parameters: lr eta, beta1, beta2, eps, weight_decay lambda.
    """

    paper: ClassVar[str] = (
        "Kingma and Ba (2015), Adam, https://arxiv.org/abs/1412.6980; torch.optim.SparseAdam, "
        "https://docs.pytorch.org/docs/stable/generated/torch.optim.SparseAdam.html"
    )
    group: ClassVar[str] = "optimizer"

    lr: float = param(1e-3, "Learning rate.", symbol="eta", gt=0)
    beta1: float = param(0.9, "Memory of the first moment.", symbol="beta1", ge=0, lt=1)
    beta2: float = param(0.999, "Memory of the second moment.", symbol="beta2", ge=0, lt=1)
    eps: float = param(1e-8, "Keeps the step finite where gradients vanish.", symbol="eps", gt=0)
    weight_decay: float = param(
        0.0, "Decoupled pull towards zero: of matrices with dense gradients at every step, of a row when it is used; vectors are spared.",
        symbol="lambda", ge=0,
    )  # fmt: skip

    def optimizer(self, factory: object, ctx: Context) -> Callable[[nn.Module], torch.optim.Optimizer]:
        """A factory that replaces the one it gets: an optimiser has no use for another."""

        def build(module: nn.Module) -> torch.optim.Optimizer:
            parameters = trainable(module)  # a tied weight stands here once
            ctx.effect(scope("SparseAdam", parameters, memory=2))
            return RowAdam(
                parameters, lr=self.lr, betas=(self.beta1, self.beta2), eps=self.eps, weight_decay=self.weight_decay,
                told=lambda rows: ctx.effect(_found(rows, parameters)),
            )  # fmt: skip

        return build


def _found(rows: list[torch.Tensor], parameters: list[nn.Parameter]) -> str:
    if not rows:
        return "No gradient is sparse, so this is Adam: set sparse = true on the embedding or a sampled head, or use optimization/adam."
    moved, all_ = (sum(p.numel() for p in each) for each in (rows, parameters))
    return f"{len(rows)} of {len(parameters)} tensors, with {moved:,} of {all_:,} parameters, are moved row by row; the others by Adam."


TINY = 1e-12
"""An eps that moves nothing."""


def _training(trial: Trial, build: Callable[[nn.Module], torch.optim.Optimizer], ids: list[torch.Tensor]) -> torch.Tensor:
    """A table with sparse rows, fitted to zero on the rows that each update reads; returns its weight."""
    with trials.seeded(trial):
        table = torch.nn.Embedding(trial.vocabulary, trial.width, sparse=True)
    optimizer = build(table)
    for read in ids:
        optimizer.zero_grad()
        table(read.to(trial.device)).pow(2).sum().backward()
        optimizer.step()
    return table.weight.detach()


@certificate("Three updates that read other rows each equal equations (1) to (5) written out", tolerance=1e-6)
def three_updates(trial: Trial) -> float:
    """Largest difference to the equations, over all rows: untouched ones must stay as they are."""
    eta, beta1, beta2, eps, decay = 0.1, 0.8, 0.9, 1e-6, 0.01
    ids = [torch.tensor([0, 2, 2]), torch.tensor([1, 2]), torch.tensor([0, 0, trial.vocabulary - 1])]
    technique = SparseAdam(lr=eta, beta1=beta1, beta2=beta2, eps=eps, weight_decay=decay)
    ours = _training(trial, lambda table: technique.optimizer(None, Surroundings(table))(table), ids)
    with trials.seeded(trial):
        theta = torch.nn.Embedding(trial.vocabulary, trial.width).weight.detach()
        u, v = torch.zeros_like(theta), torch.zeros_like(theta)
        for t, read in enumerate(ids, 1):
            rows, times = read.to(trial.device).unique(return_counts=True)  # (1)
            g = 2 * theta[rows] * times[:, None]  # equal rows of a batch are summed
            theta[rows] *= 1 - eta * decay  # (2)
            u[rows] = beta1 * u[rows] + (1 - beta1) * g  # (3)
            v[rows] = beta2 * v[rows] + (1 - beta2) * g.square()  # (4)
            theta[rows] -= eta * (1 - beta2**t) ** 0.5 / (1 - beta1**t) * u[rows] / (v[rows].sqrt() + eps)  # (5)
    return largest_difference(ours, theta)


@certificate("Where every row occurs in every batch it equals Adam with decoupled decay", tolerance=1e-6)
def equals_adam(trial: Trial) -> float:
    """Largest difference to torch's AdamW on the same table, whose gradients are dense there."""
    every = [torch.arange(trial.vocabulary)] * 3
    technique = SparseAdam(lr=0.1, eps=TINY, weight_decay=0.01)
    ours = _training(trial, lambda table: technique.optimizer(None, Surroundings(table))(table), every)

    def dense(table: nn.Module) -> torch.optim.Optimizer:
        table.sparse = False  # type: ignore[assignment]
        return torch.optim.AdamW(table.parameters(), lr=0.1, eps=TINY, weight_decay=0.01)

    return largest_difference(ours, _training(trial, dense, every))
