"""Stochastic gradient descent with momentum."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, ClassVar, Self

import torch
from pydantic import model_validator

from engines.api import Context, Technique, Trial, certificate, param
from engines.toolbox.optimization import dense_only, largest_difference, scope, trainable
from engines.toolbox.specimen import Surroundings

if TYPE_CHECKING:
    from torch import nn


class Sgd(Technique):
    """Stochastic gradient descent

    Robbins and Monro (1951), A Stochastic Approximation Method; momentum as in Sutskever et al. (2013), On the importance of
    initialization and momentum in deep learning.

    Equations, for each parameter theta with gradient g of the mean loss of the batch:

        g <- g + lambda theta                        (1)  weight decay, added to the gradient
        v <- mu v + g                                (2)  velocity
        g <- g + mu v   (Nesterov)   or   v          (3)
        theta <- theta - eta m(t) g                  (4)

    Symbols: eta learning rate, m(t) the multiplier of the schedule (1 without one), mu momentum, lambda weight decay.
    Cost: one addition a weight and step; memory of one velocity a weight where mu > 0, none otherwise.
    Sparse row gradients move the rows that have one and no other; momentum and weight decay, which move every row, refuse them.
    Does nothing when: the learning rate is so small that theta does not move in its number format.
    Parameters: lr eta, momentum mu, nesterov, weight_decay lambda.
    """

    paper: ClassVar[str] = (
        "Robbins and Monro (1951), A Stochastic Approximation Method, https://doi.org/10.1214/aoms/1177729586; "
        "Sutskever, Martens, Dahl and Hinton (2013), https://proceedings.mlr.press/v28/sutskever13.html"
    )
    group: ClassVar[str] = "optimizer"

    lr: float = param(1.0, "Learning rate.", symbol="eta", gt=0)
    momentum: float = param(0.0, "Share of the last velocity that is kept.", symbol="mu", ge=0, lt=1)
    nesterov: bool = param(False, "Look ahead along the velocity (needs momentum).")
    weight_decay: float = param(0.0, "Pull towards zero, added to the gradient.", symbol="lambda", ge=0)

    @model_validator(mode="after")
    def _nesterov_needs_momentum(self) -> Self:
        if self.nesterov and self.momentum == 0:
            raise ValueError("nesterov = true has no meaning without momentum: set momentum (0.9 is usual) or nesterov = false.")
        return self

    def optimizer(self, factory: object, ctx: Context) -> Callable[[nn.Module], torch.optim.Optimizer]:
        """A factory that replaces the one it gets: an optimiser has no use for another."""

        def build(module: nn.Module) -> torch.optim.Optimizer:
            parameters = trainable(module)  # a tied weight stands here once, so that (4) does not move it twice
            ctx.effect(scope("SGD", parameters, memory=1 if self.momentum else 0))
            made = torch.optim.SGD(parameters, lr=self.lr, momentum=self.momentum, nesterov=self.nesterov, weight_decay=self.weight_decay)
            if not self.momentum and not self.weight_decay:
                return made  # (4) alone takes sparse row gradients as they are
            return dense_only(made, module, "optimization/sgd with momentum or weight decay needs dense gradients")

        return build


@certificate("Three updates equal equations (1) to (4) written out", tolerance=1e-6)
def three_updates(trial: Trial) -> float:
    """Largest difference between the optimiser and the equations on a linear least-squares problem."""
    eta, mu, decay = 0.1, 0.9, 0.01
    torch.manual_seed(trial.seed)
    options = {"device": trial.device, "dtype": getattr(torch, trial.dtype)}
    layer = torch.nn.Linear(trial.width, 1, bias=False, **options)
    theta, velocity = layer.weight.detach().clone(), torch.zeros_like(layer.weight)
    technique = Sgd(lr=eta, momentum=mu, nesterov=True, weight_decay=decay)
    optimizer = technique.optimizer(None, Surroundings(layer))(layer)
    for _ in range(3):
        x_ND = torch.randn(trial.batch * trial.length, trial.width, **options)
        optimizer.zero_grad()
        layer(x_ND).square().mean().backward()
        optimizer.step()
        g = 2 * (x_ND @ theta.T).T @ x_ND / len(x_ND) + decay * theta  # gradient of the mean square, then (1)
        velocity = mu * velocity + g  # (2)
        theta = theta - eta * (g + mu * velocity)  # (3), (4)
    return largest_difference(layer.weight, theta)

