"""How much each unit of a network matters: by its weights, by what it adds to what reads it, by what the loss would be without it.

Shapes: B rows, T tokens, N = B T, U units, K numbers a unit, E outputs of the reading matrices.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from engines.toolbox.inputs import Convolution, first_input, patches
from engines.toolbox.slicing import Part, Slab

Criterion = Literal["magnitude", "activation", "gradient"]


class Mean:
    """A running mean."""

    def __init__(self) -> None:
        self.total: Any = 0.0
        self.count: Any = 0

    def add(self, total: Tensor, count: Any) -> None:
        self.total, self.count = self.total + total, self.count + count

    @property
    def value(self) -> Any:
        return self.total / self.count


@dataclass(frozen=True)
class Tap:
    """A module that is listened to. side: its first input or its first output. see: gets the values, and the gradient where it was asked for."""

    module: str
    side: Literal["input", "output"]
    see: Callable[[Tensor, Tensor | None], None]


def unit_scores(model: nn.Module, parts: Sequence[Part], criterion: Criterion, batches: Sequence[Any]) -> dict[str, Tensor]:
    """One number a unit, (U,), float64 on the CPU, of every part. batches: text, read in evaluation mode (magnitude needs none)."""
    if criterion == "magnitude":
        return {part.name: _squares(model, part) for part in parts}
    means = {part.name: Mean() for part in parts}
    see = _first_order if criterion == "gradient" else _second_moments
    taps = [Tap(*part.tap, see(part, means[part.name], model.get_submodule(part.tap[0]))) for part in parts]
    _read(model, taps, batches, gradients=criterion == "gradient")
    for part in parts:
        if not means[part.name].count:
            raise ValueError(f"{part.tap[0]} was not called on the calibration text, so its units cannot be ranked: exclude {part.name}.")
    return {part.name: means[part.name].value.cpu() if criterion == "gradient" else _added(model, part, means[part.name].value) for part in parts}


def layer_scores(model: Any, layers: Sequence[int], criterion: Criterion, batches: Sequence[Any]) -> dict[int, float]:
    """One number a layer that adds to its input: the squares of its weights; E |z - x|^2 / E |x|^2; or the mean over rows of |(z - x)^T dL/dz|."""
    if criterion == "magnitude":
        return {i: sum(float(p.detach().double().square().sum()) for p in model.layers[i].parameters()) for i in layers}
    means = {i: Mean() for i in layers}
    inputs: dict[int, Tensor] = {}

    def see(i: int) -> Callable[[Tensor, Tensor | None], None]:
        def seen(z: Tensor, gradient: Tensor | None) -> None:
            change = z.detach().double() - inputs[i].double()
            if gradient is None:
                means[i].add(change.square().sum(), inputs[i].double().square().sum())
            else:
                means[i].add((change * gradient.double()).flatten(1).sum(1).abs().sum(), len(change))

        return seen

    hooks = [model.layers[i].register_forward_pre_hook(lambda module, args, i=i: inputs.update({i: args[0].detach()})) for i in layers]
    try:
        _read(model, [Tap(f"layers.{i}", "output", see(i)) for i in layers], batches, gradients=criterion == "gradient")
    finally:
        for hook in hooks:
            hook.remove()
    return {i: float(means[i].value) for i in layers}


def _squares(model: nn.Module, part: Part) -> Tensor:
    """Sum of the squares of all weights that a unit is made of."""
    held = [(slab.of(model), slab) for slab in part.slabs if isinstance(slab.of(model), nn.Parameter)]
    return torch.stack([_by_unit(weight, slab, part.units).square().sum((1, 2)).cpu() for weight, slab in held]).sum(0)


def _by_unit(weight: Tensor, slab: Slab, units: int) -> Tensor:
    """The numbers of one parameter that belong to each unit, (U, blocks K, others)."""
    rows = weight.detach().double()
    # A kernel reads a channel at each of its places: these are the numbers of the unit.
    rows = (rows.flatten(1) if slab.reads and rows.dim() > 2 else rows).movedim(slab.dim, 0)
    split = rows.reshape(slab.blocks, units, len(rows) // (slab.blocks * units), -1)
    return split.transpose(0, 1).flatten(1, 2)


def _second_moments(part: Part, mean: Mean, reader: nn.Module) -> Callable[[Tensor, Tensor | None], None]:
    """E a_u a_u^T over all tokens (of a convolution that reads them: over all places of its kernel), (U, K, K)."""

    def see(values: Tensor, gradient: Tensor | None) -> None:
        values = patches(reader, values.detach()) if isinstance(reader, Convolution) else values.detach()
        a_UNK = values.double().reshape(-1, part.units, values.shape[-1] // part.units).transpose(0, 1)
        mean.add(a_UNK.transpose(1, 2) @ a_UNK, a_UNK.shape[1])

    return see


def _added(model: nn.Module, part: Part, moments_UKK: Tensor) -> Tensor:
    """E |W_u a_u|^2 = tr(W_u^T W_u E a_u a_u^T): what a unit adds to its readers, so what its removal alone would change in them."""
    w_UKE = torch.cat([_by_unit(slab.of(model), slab, part.units) for slab in part.slabs if slab.reads], dim=2)
    return ((w_UKE @ w_UKE.transpose(1, 2)) * moments_UKK).sum((1, 2)).cpu()


def _first_order(part: Part, mean: Mean, reader: nn.Module) -> Callable[[Tensor, Tensor | None], None]:
    """Mean over rows of |sum over the row's tokens of a_u^T dL/da_u|: how the row's loss would change without the unit, to first order."""

    def see(values: Tensor, gradient: Tensor | None) -> None:
        assert gradient is not None
        product = values.detach().double() * gradient.double()
        if isinstance(reader, Convolution):
            product = product.movedim(1, -1)
        product = product.reshape(len(values), -1, part.units, product.shape[-1] // part.units)
        mean.add(product.sum((1, 3)).abs().sum(0), len(values))

    return see


def _read(model: nn.Module, taps: Sequence[Tap], batches: Sequence[Any], *, gradients: bool) -> None:
    """Run the model over the text and show each tap its values."""
    caught: list[tuple[Tap, Tensor]] = []

    def listen(tap: Tap) -> Callable[..., None]:
        def catch(module: nn.Module, args: Any, named: Any, output: Any = None) -> None:
            values = first_input(args, named) if tap.side == "input" else output[0] if isinstance(output, tuple) else output
            if values is not None:
                caught.append((tap, values))

        return catch

    handles = []
    for tap in taps:
        module = model.get_submodule(tap.module)
        register: Any = module.register_forward_pre_hook if tap.side == "input" else module.register_forward_hook
        handles.append(register(listen(tap), with_kwargs=True))
    try:
        with evaluated(model, gradients=gradients):
            for batch in batches:
                loss = model(batch, None)[0]
                wanted = [values for _, values in caught]
                found = torch.autograd.grad(loss, wanted, allow_unused=True) if gradients and wanted else [None] * len(wanted)
                for (tap, values), gradient in zip(caught, found, strict=True):
                    if gradient is not None or not gradients:
                        tap.see(values, gradient)
                caught.clear()
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def evaluated(model: nn.Module, *, gradients: bool) -> Iterator[None]:
    """Evaluation mode inside, with gradients or without; cuDNN's LSTM has none in this mode, so it is left aside for them."""
    training = model.training
    model.eval()
    try:
        with torch.set_grad_enabled(gradients), torch.backends.cudnn.flags(enabled=torch.backends.cudnn.enabled and not gradients):
            yield
    finally:
        model.train(training)
