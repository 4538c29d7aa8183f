"""What modules multiply their matrices with, as each call of theirs shows it.

Linear: its input. Convolutions: the patches that the kernel slides over, so that they too are rows times a matrix, `weight.flatten(1)`. LSTM and
GRU: the input for the first layer, and for the last layer's recurrent matrix the hidden state one step before; what goes on between the
layers of one such module no call shows.

Shapes: N rows, D columns of a matrix (of a convolution: channels times places of its kernel).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Taker = Callable[[str, Tensor], None]
"""(full parameter name, rows that its matrix is multiplied with, (N, D))."""
Convolution = (nn.Conv1d, nn.Conv2d)


def first_input(args: Sequence[Any], named: Mapping[str, Any]) -> Tensor | None:
    """What a module of torch is called on, by place or as `input`; None where that is no plain tensor."""
    x = args[0] if args else named.get("input")
    return x if isinstance(x, Tensor) else None


@contextmanager
def watched(module: nn.Module, names: Sequence[str], take: Taker) -> Iterator[None]:
    """Inside, every call of the modules that own these matrices hands the rows they are multiplied with to `take`."""
    owners: dict[str, list[str]] = {}
    for name in names:
        owners.setdefault(name.rpartition(".")[0], []).append(name)
    handles = [
        module.get_submodule(owner).register_forward_hook(partial(_show, own, take), with_kwargs=True) for owner, own in owners.items()
    ]  # fmt: skip
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _show(names: Sequence[str], take: Taker, child: nn.Module, args: Any, named: Any, output: Any) -> None:
    for name in names:
        found = rows(child, name.rpartition(".")[2], args, named, output)
        if found is not None:
            take(name, found)


def rows(child: nn.Module, own: str, args: Sequence[Any], named: Mapping[str, Any], output: Any) -> Tensor | None:
    """The rows (N, D) that the matrix `own` of a module met in one call; None where the call does not show them."""
    x = first_input(args, named)
    if x is None:
        return None
    x = x.detach()
    if isinstance(child, nn.Linear):
        return x.reshape(-1, x.shape[-1])
    if isinstance(child, Convolution):
        return patches(child, x) if child.groups == 1 and x.dim() == child.weight.dim() else None
    if isinstance(child, nn.RNNBase) and x.dim() == 3:
        if own == "weight_ih_l0":
            return x.reshape(-1, x.shape[-1])
        if own == f"weight_hh_l{child.num_layers - 1}" and not child.bidirectional:
            return _hidden_before(child, args[1] if len(args) > 1 else named.get("hx"), output[0].detach())
    return None


def patches(conv: Any, x: Tensor) -> Tensor:
    """The windows of x (B, C, ...) under the kernel at each of its places, (N, C times places of the kernel)."""
    mode = "constant" if conv.padding_mode == "zeros" else conv.padding_mode
    x = F.pad(x, conv._reversed_padding_repeated_twice, mode=mode)
    one = x.dim() == 3
    kernel, dilation, stride = ((1, *each) if one else each for each in (conv.kernel_size, conv.dilation, conv.stride))
    found_BDL = F.unfold(x.unsqueeze(2) if one else x, kernel, dilation, 0, stride)
    return found_BDL.transpose(1, 2).flatten(0, 1)


def _hidden_before(child: nn.RNNBase, given: Any, y: Tensor) -> Tensor:
    """The hidden state of the last layer that each step began with, (N, H)."""
    y_BTH = y if child.batch_first else y.transpose(0, 1)
    h_LBH = given[0] if isinstance(given, tuple) else given
    first_BH = torch.zeros_like(y_BTH[:, 0]) if h_LBH is None else h_LBH[-1].detach()
    return torch.cat([first_BH[:, None], y_BTH[:, :-1]], dim=1).flatten(0, 1)


def readers(module: nn.Module, names: Sequence[str], run: Callable[[], None]) -> list[list[str]]:
    """The matrices in the order in which `run` first calls them, those that it does not call at the end. Those that follow one another and read the
    very same tensor, each in one call alone, stand together: what one of them is changed to moves nothing that the others read."""
    calls: dict[str, list[tuple[Tensor, int]]] = {}
    order: list[str] = []

    def note(name: str, child: nn.Module, args: Any, named: Any) -> None:
        if name not in calls:
            order.append(name)
        x = first_input(args, named)
        # The tensor itself is held, so that no other can take its place in memory.
        calls.setdefault(name, []).extend([] if x is None else [(x, x._version)])

    alone = [name for name in names if not isinstance(module.get_submodule(name.rpartition(".")[0]), nn.RNNBase)]
    handles = [module.get_submodule(name.rpartition(".")[0]).register_forward_pre_hook(partial(note, name), with_kwargs=True) for name in names]
    try:
        run()
    finally:
        for handle in handles:
            handle.remove()
    groups: list[list[str]] = []
    for name in [*order, *(name for name in names if name not in calls)]:
        before = groups[-1][0] if groups else ""
        mine, theirs = calls.get(name, []), calls.get(before, [])
        same = len(mine) == len(theirs) == 1 and mine[0][0] is theirs[0][0] and mine[0][1] == theirs[0][1]
        if same and name in alone and before in alone:
            groups[-1].append(name)
        else:
            groups.append([name])
    return groups
