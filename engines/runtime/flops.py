"""Floating-point operations of a callable: torch's counter, formulas for what it silently counts as zero, and the names of what nobody knows.

One multiply-add counts as two operations; element-wise work is not counted, as is usual.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

aten = torch.ops.aten


@dataclass(frozen=True)
class Work:
    """Counted operations, and the heavy operators without a formula (name -> calls), which are not in the count."""

    flops: int
    uncounted: dict[str, int]


def count(function: Callable[[], Any]) -> tuple[Work, Any]:
    """Run `function` and count what it does, backward passes inside it included."""
    with counting() as so_far:
        result = function()
    return so_far(), result


@contextmanager
def counting() -> Iterator[Callable[[], Work]]:
    """Count what is done inside; the function that it gives says what was done so far."""
    watch = _Unknown()
    counter = FlopCounterMode(display=False, custom_mapping=_FORMULAS)
    with counter, watch:
        yield lambda: Work(counter.get_total_flops(), dict(watch.calls))


def _gates(shape: Iterable[int], rows: int, *, backward: bool) -> int:
    """One product of `rows` inputs with a weight of this shape; the backward pass makes two."""
    return 2 * rows * math.prod(shape) * (2 if backward else 1)


def _mkldnn_rnn(input_shape: Any, weight_ih: Any, weight_hh: Any, *args: Any, out_shape: Any = None, **kwargs: Any) -> int:
    rows = math.prod(input_shape[:-1])
    return _gates(weight_ih, rows, backward=False) + _gates(weight_hh, rows, backward=False)


def _mkldnn_rnn_backward(input_shape: Any, weight_ih: Any, weight_hh: Any, *args: Any, out_shape: Any = None, **kwargs: Any) -> int:
    rows = math.prod(input_shape[:-1])
    return _gates(weight_ih, rows, backward=True) + _gates(weight_hh, rows, backward=True)


def _cudnn_rnn(input_shape: Any, weights: Any, *args: Any, out_shape: Any = None, **kwargs: Any) -> int:
    rows = math.prod(input_shape[:-1])
    return sum(_gates(shape, rows, backward=False) for shape in weights if len(shape) == 2)


def _cudnn_rnn_backward(input_shape: Any, weights: Any, *args: Any, out_shape: Any = None, **kwargs: Any) -> int:
    return 2 * _cudnn_rnn(input_shape, weights)


def _attention_cpu(query: Any, key: Any, value: Any, *args: Any, out_shape: Any = None, **kwargs: Any) -> int:
    """(B, H, T, D): scores and weighted sum. A causal kernel skips about half of it, which the usual convention ignores, as torch does."""
    batch, heads, length, width = query
    return 2 * batch * heads * length * key[-2] * (width + value[-1])


def _attention_cpu_backward(grad: Any, query: Any, key: Any, value: Any, *args: Any, out_shape: Any = None, **kwargs: Any) -> int:
    """Five products against the forward's two: scores again, and the gradients of v, of the weights, of q and of k."""
    return _attention_cpu(query, key, value) * 5 // 2


def _quantized_linear(x: torch.Tensor, *args: Any, out_val: torch.Tensor, **kwargs: Any) -> int:
    return 2 * x.numel() * out_val.shape[-1]


_quantized_linear._get_raw = True  # type: ignore[attr-defined]


def _quantized_lstm(x: torch.Tensor, hx: Any, params: Any, *args: Any, out_val: Any, **kwargs: Any) -> int:
    """Layer by layer: 4 gates from input and hidden state. Output is (T, B, H), hx[0] is (layers, B, H)."""
    hidden, layers = hx[0].shape[-1], hx[0].shape[0]
    rows = x.shape[0] * x.shape[1]
    return sum(2 * rows * 4 * hidden * ((x.shape[-1] if layer == 0 else hidden) + hidden) for layer in range(layers))


_quantized_lstm._get_raw = True  # type: ignore[attr-defined]


def _packet(namespace: Any, name: str) -> Any | None:
    """An operator, or None where this build of torch has it not."""
    return getattr(namespace, name, None)


_FORMULAS: dict[Any, Any] = {
    packet: formula
    for packet, formula in (
        (_packet(aten, "mkldnn_rnn_layer"), _mkldnn_rnn),
        (_packet(aten, "mkldnn_rnn_layer_backward"), _mkldnn_rnn_backward),
        (_packet(aten, "_cudnn_rnn"), _cudnn_rnn),
        (_packet(aten, "_cudnn_rnn_backward"), _cudnn_rnn_backward),
        (_packet(aten, "_scaled_dot_product_flash_attention_for_cpu"), _attention_cpu),
        (_packet(aten, "_scaled_dot_product_flash_attention_for_cpu_backward"), _attention_cpu_backward),
        (_packet(torch.ops.quantized, "linear_dynamic"), _quantized_linear),
        (_packet(aten, "quantized_lstm"), _quantized_lstm),
    )
    if packet is not None
}

_HEAVY = ("mm", "matmul", "conv", "rnn", "lstm", "gru", "fft", "attention", "linear", "dot", "sparse", "einsum", "mv", "quantized")
_LIGHT = ("prepack", "make_quantized", "_sparse_coo_tensor", "sparse_dim", "to_sparse", "sparse_resize", "comm", "normalize", "linspace")
"""Names that only look heavy: packing of weights, bookkeeping of sparse tensors, exchanges."""


class _Unknown(TorchDispatchMode):
    """Notes operators that look heavy by name and have no formula."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        packet = func._overloadpacket
        name = str(packet)
        short = name.split(".")[-1]
        heavy = any(word in short for word in _HEAVY) and not any(word in short for word in _LIGHT)
        if heavy and packet not in _KNOWN:
            self.calls[name] += 1
        return func(*args, **(kwargs or {}))


def _known() -> set[Any]:
    from torch.utils.flop_counter import flop_registry

    return set(flop_registry) | set(_FORMULAS)


_KNOWN = _known()
