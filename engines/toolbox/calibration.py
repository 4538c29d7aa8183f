"""What a module multiplies with on calibration batches: second moments and sizes of its inputs, by matrix.

Shapes: N rows (tokens), D inputs of a matrix.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

Taker = Callable[[str, Tensor], None]
"""(full parameter name, rows that its matrix is multiplied with, (N, D))."""


def run(module: nn.Module, batches: Sequence[Any]) -> None:
    """Each batch through the model's one entry, in evaluation mode, without gradients; carried states as in training."""
    state = None
    with torch.no_grad():
        for batch in batches:
            _, _, state, _ = module(batch, state)


@contextmanager
def watched(module: nn.Module, names: Sequence[str], take: Taker) -> Iterator[None]:
    """Inside, every call of the modules that own these matrices hands the rows they are multiplied with to `take`."""
    handles = []
    for owner in dict.fromkeys(name.rpartition(".")[0] for name in names):
        child = module.get_submodule(owner)
        own = [name.rpartition(".")[2] for name in names if name.rpartition(".")[0] == owner]
        hook = _of_lstm(owner, own, take) if isinstance(child, nn.LSTM) else _of_linear(owner, own, take)
        handles.append(child.register_forward_hook(hook))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _of_linear(owner: str, own: Sequence[str], take: Taker) -> Any:
    def hook(child: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        for name in own:
            take(f"{owner}.{name}", args[0].detach().flatten(0, -2))

    return hook


def _of_lstm(owner: str, own: Sequence[str], take: Taker) -> Any:
    """The first layer reads the input; a recurrent matrix reads h of the step before, which only the last layer's output shows."""

    def hook(child: nn.LSTM, args: tuple[Any, ...], output: Any) -> None:
        x, state = args[0].detach(), args[1] if len(args) > 1 else None
        if "weight_ih_l0" in own:
            take(f"{owner}.weight_ih_l0", x.flatten(0, -2))
        last = f"weight_hh_l{child.num_layers - 1}"
        if last in own and not child.bidirectional:
            y = output[0].detach()
            y = y if child.batch_first else y.transpose(0, 1)
            first = torch.zeros_like(y[:, 0]) if state is None else state[0][-1].detach()
            take(f"{owner}.{last}", torch.cat([first[:, None], y[:, :-1]], dim=1).flatten(0, 1))

    return hook


class Moments:
    """Sums over all rows seen: x x^T (D, D) in double, |x| (D), max |x| (D), and their number."""

    def __init__(self, *, products: bool) -> None:
        self.products = products
        self.xx: dict[str, Tensor] = {}
        self.size: dict[str, Tensor] = {}
        self.largest: dict[str, Tensor] = {}
        self.rows: dict[str, int] = {}
        self.order: list[str] = []
        """Matrices in the order of their first call."""

    def take(self, name: str, rows_ND: Tensor) -> None:
        x = rows_ND.double()
        if name not in self.rows:
            self.order.append(name)
        self.rows[name] = self.rows.get(name, 0) + len(x)
        found = [(self.size, x.abs().sum(0)), *([(self.xx, x.T @ x)] if self.products else [])]
        for sums, fresh in found:
            sums[name] = sums[name] + fresh if name in sums else fresh
        top = x.abs().amax(0)
        self.largest[name] = torch.maximum(self.largest[name], top) if name in self.largest else top

    def hessian(self, name: str) -> Tensor:
        """H = 2 mean of x x^T, that of |W x - W^ x|^2 in each row of W, (D, D)."""
        return 2 * self.xx[name] / self.rows[name]


def output_error(error_ED: Tensor, weight_ED: Tensor, H_DD: Tensor) -> float:
    """|error x| over |W x|, root mean square over the calibration rows: the relative error of what a layer gives out."""
    H = H_DD.double()
    wrong, whole = (float(((part.double() @ H) * part.double()).sum()) for part in (error_ED, weight_ED))
    return (max(wrong, 0.0) / whole) ** 0.5 if whole > 0 else 0.0
