"""Adam and AdamW."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar

import torch

from engines.api import Context, Technique, Trial, certificate, param
from engines.toolbox.optimization import decay_groups, dense_only, largest_difference, scope, trainable
from engines.toolbox.specimen import Surroundings

if TYPE_CHECKING:
    from torch import nn


class Adam(Technique):
    """Adam, with decoupled weight decay (AdamW)

    Kingma and Ba (2015), Adam: A Method for Stochastic Optimization; Loshchilov and Hutter (2019), Decoupled Weight Decay Regularization;
    AMSGrad: Reddi, Kale and Kumar (2018).

    Equations, for each parameter theta with gradient g of the mean loss of the batch at update t:

        theta <- theta - eta m(t) lambda theta            (1)  decoupled decay; coupled decay instead adds lambda theta to g
        u <- beta1 u + (1 - beta1) g                      (2)  first moment
        v <- beta2 v + (1 - beta2) g^2                    (3)  second moment
        u^ = u / (1 - beta1^t),  v^ = v / (1 - beta2^t)   (4)  both start at zero: undo that bias (AMSGrad: the largest v so far)
        theta <- theta - eta m(t) u^ / (sqrt(v^) + eps)   (5)

    Symbols: eta learning rate, m(t) the multiplier of the schedule (1 without one), beta1 and beta2 the moments' memories, lambda weight decay.
    Cost: about ten elementwise operations and two numbers of memory a weight (three with AMSGrad). Dense: the moments of every row of an
    embedding decay at every step, whether its word occurred or not (optimization/sparse_adam moves the rows that occurred).
    Does nothing when: the learning rate is so small that theta does not move in its number format.
    Parameters: lr eta, beta1, beta2, eps, weight_decay lambda, decoupled (1) or coupled, amsgrad.

    Decoupled decay leaves vectors (biases, gains) alone; coupled decay, as in the first paper, takes everything.
    """

    paper: ClassVar[str] = (
        "Kingma and Ba (2015), Adam, https://arxiv.org/abs/1412.6980; "
        "Loshchilov and Hutter (2019), Decoupled Weight Decay Regularization, https://arxiv.org/abs/1711.05101"
    )
    group: ClassVar[str] = "optimizer"

    lr: float = param(1e-3, "Learning rate.", symbol="eta", gt=0)
    beta1: float = param(0.9, "Memory of the first moment.", symbol="beta1", ge=0, lt=1)
    beta2: float = param(0.999, "Memory of the second moment.", symbol="beta2", ge=0, lt=1)
    eps: float = param(1e-8, "Keeps the step finite where gradients vanish.", symbol="eps", gt=0)
    weight_decay: float = param(0.0, "Pull towards zero.", symbol="lambda", ge=0)
    decoupled: bool = param(True, "Decay the weights themselves (AdamW) instead of adding the decay to the gradient (Adam).")
    amsgrad: bool = param(False, "Divide by the largest second moment so far.")

    def optimizer(self, factory: object, ctx: Context) -> Callable[[nn.Module], torch.optim.Optimizer]:
        """A factory that replaces the one it gets: an optimiser has no use for another."""
        options: dict[str, Any] = {"lr": self.lr, "betas": (self.beta1, self.beta2), "eps": self.eps, "amsgrad": self.amsgrad}

        def build(module: nn.Module) -> torch.optim.Optimizer:
            parameters = trainable(module)  # a tied weight stands here once
            name = "AdamW" if self.decoupled and self.weight_decay else "Adam"
            ctx.effect(scope(name, parameters, memory=3 if self.amsgrad else 2))
            if self.decoupled and self.weight_decay:
                made: torch.optim.Optimizer = torch.optim.AdamW(decay_groups(parameters, self.weight_decay), **options)
            else:
                made = torch.optim.Adam(parameters, weight_decay=self.weight_decay, **options)
            return dense_only(made, module, "optimization/adam needs dense gradients")

        return build


@certificate("Three updates equal equations (1) to (5) written out", tolerance=1e-6)
def three_updates(trial: Trial) -> float:
    """Largest difference between the optimiser and the equations on a linear least-squares problem."""
    eta, beta1, beta2, eps, decay = 0.1, 0.8, 0.9, 1e-6, 0.01
    torch.manual_seed(trial.seed)
    options: dict[str, Any] = {"device": trial.device, "dtype": getattr(torch, trial.dtype)}
    layer = torch.nn.Linear(trial.width, 1, bias=False, **options)
    theta = layer.weight.detach().clone()
    u, v = torch.zeros_like(theta), torch.zeros_like(theta)
    technique = Adam(lr=eta, beta1=beta1, beta2=beta2, eps=eps, weight_decay=decay)
    optimizer = technique.optimizer(None, Surroundings(layer))(layer)
    for t in range(1, 4):
        x_ND = torch.randn(trial.batch * trial.length, trial.width, **options)
        optimizer.zero_grad()
        layer(x_ND).square().mean().backward()
        optimizer.step()
        g = 2 * (x_ND @ theta.T).T @ x_ND / len(x_ND)  # gradient of the mean square
        theta = theta - eta * decay * theta  # (1)
        u = beta1 * u + (1 - beta1) * g  # (2)
        v = beta2 * v + (1 - beta2) * g.square()  # (3)
        u_hat, v_hat = u / (1 - beta1**t), v / (1 - beta2**t)  # (4)
        theta = theta - eta * u_hat / (v_hat.sqrt() + eps)  # (5)
    return largest_difference(layer.weight, theta)
