"""The sign of the gradient instead of the gradient."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from engines.api import Context, Technique, Trial, certificate, param
from engines.toolbox.specimen import Surroundings, backward_of, batches, specimen


class SignGradient(Technique):
    """Sign of the gradient

    Bernstein, Wang, Azizzadenesheli and Anandkumar (2018), signSGD: Compressed Optimisation for Non-Convex Problems.

    Equations, for the gradient g of one parameter with n elements:

        m = sum_i |g_i| / n                     (1)
        g_i <- sign(g_i)           plain        (2)
        g_i <- m sign(g_i)         scaled       (3)

    Symbols: m the mean size of an element. One bit an element says everything that the optimizer sees (and m, where scaled).
    Cost: one pass over the gradients. With optimization/sgd each weight moves by the learning rate, or not at all.
    Does nothing when: every element of a gradient already has the size m (scaled).
    """

    paper: ClassVar[str] = "Bernstein, Wang, Azizzadenesheli and Anandkumar (2018), https://arxiv.org/abs/1802.04434"
    requires: ClassVar[tuple[str, ...]] = ("optimizer",)
    after: ClassVar[tuple[str, ...]] = ("optimization/clip_norm",)

    scaled: bool = param(False, "Keep the mean size of each gradient.")

    def step(self, update: Callable[[], None], ctx: Context) -> Callable[[], None]:
        """The update on signs."""
        parameters = [parameter for parameter in ctx.model.parameters() if parameter.requires_grad]
        ctx.effect(f"{len(parameters)} gradients are replaced by their signs{' times their mean size' if self.scaled else ''}.")

        def signed_update() -> None:
            for parameter in parameters:
                if parameter.grad is not None:
                    size = parameter.grad.abs().mean() if self.scaled else 1.0  # (1)
                    parameter.grad.sign_().mul_(size)  # (2), (3)
            update()

        return signed_update


@certificate("Scaled, the gradient keeps its sum of absolute values", tolerance=1e-6)
def keeps_its_size(trial: Trial) -> float:
    """Largest relative change of sum_i |g_i| over the parameters without zeros in their gradients."""
    module = specimen(trial)
    backward_of(module)(batches(trial, 1)[0], None)
    before = {name: p.grad.clone() for name, p in module.named_parameters() if p.grad is not None and bool((p.grad != 0).all())}
    SignGradient(scaled=True).step(lambda: None, Surroundings(module))()
    after = dict(module.named_parameters())
    return max(abs(float(after[name].grad.abs().sum() / grad.abs().sum()) - 1) for name, grad in before.items())  # type: ignore[union-attr]
