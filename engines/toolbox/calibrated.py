"""What training text says of each weight: gradients of the loss, and the inputs that the weight is multiplied with.

Everything is computed in evaluation mode, without autocast, beside training: neither its gradients, its random numbers nor its modes change.
Shapes: N rows of input (tokens), I inputs and O outputs of a matrix (O, I).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from engines.toolbox.batches import detach, split_state
from engines.toolbox.inputs import Taker, watched
from engines.toolbox.precise import at_least_float32


@contextmanager
def _aside(module: nn.Module) -> Iterator[None]:
    device = next(module.parameters()).device
    training = module.training
    module.eval()
    try:
        # cuDNN has no backward pass of recurrent layers in evaluation mode.
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []), torch.backends.cudnn.flags(enabled=False):
            yield
    finally:
        module.train(training)


def mean_gradients(module: nn.Module, weights: Mapping[str, nn.Parameter], batches: Sequence[Any]) -> dict[str, Tensor]:
    """The gradient of the mean loss a token over these batches, state carried from one to the next; zero for weights that it does not reach."""
    total = {name: torch.zeros_like(weight) for name, weight in weights.items()}
    tokens, state = 0, None
    with _aside(module):
        for batch in batches:
            loss_sum, count, state, _ = module(batch, state)
            _add(total, torch.autograd.grad(loss_sum, list(weights.values()), allow_unused=True), lambda gradient: gradient)
            tokens, state = tokens + count, detach(state)
    return {name: gradient / max(1, tokens) for name, gradient in total.items()}


def squared_gradients(module: nn.Module, weights: Mapping[str, nn.Parameter], batches: Sequence[Any]) -> dict[str, Tensor]:
    """The sum over examples of their squared gradients, over the number of tokens: the diagonal of the empirical Fisher matrix a token.

    An example is one row of a batch, whose gradient is the sum over its tokens. One backward pass a row: squaring a batch's gradient would
    measure the square of the mean instead, which vanishes at a minimum.
    """
    total = {name: torch.zeros_like(weight) for name, weight in weights.items()}
    tokens, state = 0, None
    with _aside(module):
        for batch in batches:
            rows = batch.inputs_BT.shape[0]
            states = [None] * rows if state is None else split_state(state, rows)
            for row, carried in zip(batch.split(rows), states, strict=True):
                loss_sum, count, _, _ = module(row, carried)
                _add(total, torch.autograd.grad(loss_sum, list(weights.values()), allow_unused=True), torch.square)
                tokens += count
            with torch.no_grad():
                _, _, state, _ = module(batch, state)
    return {name: square / max(1, tokens) for name, square in total.items()}


def _add(total: Mapping[str, Tensor], gradients: Sequence[Tensor | None], of: Callable[[Tensor], Tensor]) -> None:
    for sum_, gradient in zip(total.values(), gradients, strict=True):
        if gradient is not None:
            sum_ += of(gradient.to_dense() if gradient.is_sparse else gradient)


def visit_inputs(module: nn.Module, weights: Mapping[str, nn.Parameter], batches: Sequence[Any], visit: Taker) -> None:
    """Show `visit` what each of these weights is multiplied with.

    Weights whose inputs no call shows are not visited (engines.toolbox.inputs), nor those of layers whose weight is used without calling them.
    """
    with watched(module, list(weights), visit), _aside(module), torch.no_grad():
        state = None
        for batch in batches:
            _, _, state, _ = module(batch, state)


def input_norms(module: nn.Module, weights: Mapping[str, nn.Parameter], batches: Sequence[Any]) -> dict[str, Tensor]:
    """||x_j||_2 of each input over all rows of the batches, (I,)."""
    squares: dict[str, Tensor] = {}

    def add(name: str, x_NI: Tensor) -> None:
        square = at_least_float32(x_NI).square().sum(dim=0)
        squares[name] = squares[name] + square if name in squares else square

    visit_inputs(module, weights, batches, add)
    return {name: square.sqrt() for name, square in squares.items()}


def input_moments(module: nn.Module, weights: Mapping[str, nn.Parameter], batches: Sequence[Any]) -> dict[str, Tensor]:
    """E[x x^T] over all rows of the batches, (I, I)."""
    sums: dict[str, Tensor] = {}
    rows: dict[str, int] = {}

    def add(name: str, x_NI: Tensor) -> None:
        x_NI = at_least_float32(x_NI)
        moment = x_NI.T @ x_NI
        sums[name] = sums[name] + moment if name in sums else moment
        rows[name] = rows.get(name, 0) + len(x_NI)

    visit_inputs(module, weights, batches, add)
    return {name: total / rows[name] for name, total in sums.items()}
