"""Recomputing activations instead of keeping them."""

from __future__ import annotations

from fnmatch import fnmatchcase
from types import MethodType
from typing import Any, ClassVar

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from engines.api import Context, Numerics, Technique, Trial, certificate, param
from engines.toolbox.optimization import largest_difference
from engines.toolbox.specimen import Surroundings, backward_of, batches, gradients, specimen


class GradientCheckpointing(Technique):
    """Gradient checkpointing

    Chen, Xu, Zhang and Guestrin (2016), Training Deep Nets with Sublinear Memory Cost.

    Equations, for layers x_(i+1) = f_i(x_i), i = 0 .. L-1, of which every n-th is checkpointed:

        forward:   keep x_i; of the inside of f_i keep nothing            (1)
        backward:  run f_i on x_i again, then backpropagate through it    (2)

    Symbols: L layers, n distance of the checkpointed ones (1: every layer).
    Cost: one more forward pass of each checkpointed layer, up to a third more time; memory of the inside of one layer at a time, of the
    inputs x_i (B T D numbers each), and of what layers between the checkpointed ones keep.
    Does nothing when: no gradients are asked for (evaluation), or no module matches. Saves nothing where a layer keeps little besides
    its input, or where embedding and head make the peak.
    Parameters: every n, modules (patterns that say what a layer is; for models of your own).

    Dropout repeats the same draw, so gradients are those without checkpointing. A layer that counts its own calls counts twice.
    """

    paper: ClassVar[str] = "Chen, Xu, Zhang and Guestrin (2016), Training Deep Nets with Sublinear Memory Cost, https://arxiv.org/abs/1604.06174"
    numerics: ClassVar[Numerics] = "same"

    every: int = param(1, "Checkpoint every n-th layer, the first included.", unit="layers", symbol="n", ge=1)
    modules: tuple[str, ...] = param(
        ("layers.*",), "What a layer is: patterns over full module names (* matches anything). Modules inside a matching one are part of it."
    )

    def model(self, module: nn.Module, ctx: Context) -> nn.Module:
        """The same module; the chosen layers' `forward` is replaced on the instance, so that names of weights stay."""
        layers = self._layers(module)
        chosen = layers[:: self.every]
        for layer in chosen:
            # Bound methods, not closures: a copy of the module then runs the copy's weights.
            layer._kept_forward = layer.forward
            layer.forward = MethodType(_recomputed, layer)
        inside = sum(p.numel() for layer in chosen for p in layer.parameters())
        ctx.effect(
            f"{len(chosen)} of {len(layers)} layers ({inside:,} parameters) are computed again in the backward pass."
            + ("" if chosen else f" Nothing was checkpointed: no module of the model matches {', '.join(self.modules)}."),
            checkpointed=len(chosen),
            layers=len(layers),
        )
        return module

    def _layers(self, module: nn.Module) -> list[Any]:
        """Matching modules, the outermost ones, in the order of the model."""
        names: list[str] = []
        for name, _ in module.named_modules():
            if any(fnmatchcase(name, pattern) for pattern in self.modules) and not any(name.startswith(f"{outer}.") for outer in names):
                names.append(name)
        return [module.get_submodule(name) for name in names]


def _recomputed(layer: Any, *args: Any, **kwargs: Any) -> Any:
    """(1) and (2). Non-reentrant, since the reentrant form loses the gradients of losses that leave the layer in a dictionary."""
    if not torch.is_grad_enabled():
        return layer._kept_forward(*args, **kwargs)
    return checkpoint(layer._kept_forward, *args, use_reentrant=False, **kwargs)


@certificate("Loss and gradients are bit-equal to those without checkpointing, with dropout, auxiliary losses and carried state", tolerance=0.0)
def gradients_are_equal(trial: Trial) -> float:
    """Largest difference over two segments, for n = 1 and n = 2."""
    segments = batches(trial, 2)

    def run(every: int | None) -> torch.Tensor:
        module, state = specimen(trial, layers=3, dropout=0.3), None
        if every is not None:
            GradientCheckpointing(every=every).model(module, Surroundings(module))
        torch.manual_seed(trial.seed)
        losses = []
        for batch in segments:
            loss, _, state, _ = backward_of(module)(batch, state)
            state = tuple(tuple(part.detach() for part in layer) for layer in state)
            losses.append(loss)
        return torch.cat([torch.stack(losses), gradients(module)])

    expected = run(None)
    return max(largest_difference(run(1), expected), largest_difference(run(2), expected))
