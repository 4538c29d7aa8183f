"""Bytes that an operator moves, by a declared model: it reads each tensor input once and writes each output once, at the size of their types.

Views are free, and so is memory that is only reserved. What picks rows (an embedding) reads those rows and not its table; what fills does not
read what was there; numbers that a stride of 0 repeats are read once. Caches are ignored in both directions: nothing stays near the processor
from one operator to the next, and within one operator everything is read once, however often it is used. It is the least traffic of unfused
operators whose data lie in memory.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch

from engines.runtime.formulas import quantized_gates

_FREE = (
    "_unsafe_view", "detach", "detach_", "lift_fresh", "alias", "empty", "empty_like", "empty_strided", "new_empty", "new_empty_strided", "resize_",
    "set_", "_indices", "_values", "indices", "values", "crow_indices", "col_indices", "is_coalesced", "_coalesced_", "unsafe_split",
    "unsafe_split_with_sizes", "unsafe_chunk", "is_same_size", "_has_compatible_shallow_copy_type",
)  # fmt: skip
"""Give a tensor without touching its numbers (what torch marks as a view need not stand here)."""

_SHAPE_ONLY = ("zeros_like", "ones_like", "full_like", "rand_like", "randn_like", "randint_like", "new_zeros", "new_ones", "new_full")
"""Look at their input's shape alone."""

_FILL = (
    "zero_", "fill_", "copy_", "uniform_", "normal_", "bernoulli_", "exponential_", "random_", "geometric_", "cauchy_", "log_normal_",
    "_foreach_copy_", "_foreach_zero_",
)  # fmt: skip
"""Write their first argument without reading it."""

_PICK = ("embedding", "index", "index_select", "gather", "take", "take_along_dim", "_embedding_bag", "nll_loss_forward", "_unsafe_index")
"""Read of their first argument as much as they write."""

_PLACE = (
    "index_add_", "index_copy_", "index_put_", "_index_put_impl_", "scatter_", "scatter_add_", "index_fill_", "index_reduce_", "scatter_reduce_",
)  # fmt: skip
"""Read and write of their first argument as much as they are given to put there."""

_PACKED_BYTES = {
    "quantized::linear": 1, "quantized::linear_relu": 1, "quantized::linear_dynamic": 1, "quantized::linear_relu_dynamic": 1,
    "quantized::linear_dynamic_fp16": 2, "quantized::linear_relu_dynamic_fp16": 2,
}  # fmt: skip
"""Bytes of a number in the packed weight, which is no tensor."""


def moved(func: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any], result: Any) -> int:
    """Bytes read and written by one call of an operator (an overload) with these arguments and this result."""
    name = func.__name__.split(".")[0]
    if func.is_view or name in _FREE:
        return 0
    read: dict[int, int] = {}
    written: dict[int, int] = {}
    given = [*zip(func._schema.arguments, args, strict=False), *((a, kwargs[a.name]) for a in func._schema.arguments if a.name in kwargs)]
    for argument, value in given:
        changed = argument.alias_info is not None and argument.alias_info.is_write
        for tensor in tensors(value):
            read.setdefault(id(tensor), size(tensor))
            if changed:
                written[id(tensor)] = size(tensor)
    for tensor in tensors(result):
        # What was changed in place is given back too: the same object, written once.
        written.setdefault(id(tensor), size(tensor))
    first = next(tensors(args), None)
    if first is not None:
        _correct(name, first, args, read, written)
    return sum(read.values()) + sum(written.values()) + _packed(func, args, result)


def _correct(name: str, first: Any, args: tuple[Any, ...], read: dict[int, int], written: dict[int, int]) -> None:
    """The exceptions of the model, which concern the first tensor."""
    if name in _SHAPE_ONLY:
        read.clear()
    elif name in _FILL:
        for tensor in tensors(args[0]):
            read.pop(id(tensor), None)
    elif name in _PICK:
        read[id(first)] = min(read[id(first)], sum(written.values()))
    elif name in _PLACE:
        others = [tensor for tensor in tensors(args) if tensor is not first]
        put = min(size(first), max((size(tensor) for tensor in others), default=size(first)))
        read[id(first)] = written[id(first)] = put
    elif name == "nll_loss_backward":
        # (grad, scores, target ...): of the scores only their shape is needed.
        read.pop(id(args[1]), None)


def size(tensor: Any) -> int:
    """Bytes of the numbers that a tensor really has: repeated ones once, of a sparse one what it stores and where."""
    if tensor.layout is torch.strided:
        numbers = 1
        for length, stride in zip(tensor.shape, tensor.stride(), strict=True):
            numbers *= length if stride or not length else 1
        return int(numbers * tensor.element_size())
    if tensor.layout is torch.sparse_coo:
        return size(tensor._indices()) + size(tensor._values())
    if tensor.layout in (torch.sparse_csr, torch.sparse_bsr):
        return size(tensor.crow_indices()) + size(tensor.col_indices()) + size(tensor.values())
    if tensor.layout in (torch.sparse_csc, torch.sparse_bsc):
        return size(tensor.ccol_indices()) + size(tensor.row_indices()) + size(tensor.values())
    return int(tensor.numel() * tensor.element_size())


def _packed(func: Any, args: tuple[Any, ...], result: Any) -> int:
    """Weights that a kernel keeps in its own form."""
    name = func._schema.name
    if name in _PACKED_BYTES:
        return int(args[0].shape[-1] * result.shape[-1] * _PACKED_BYTES[name])
    if name in ("aten::quantized_lstm", "aten::quantized_gru"):
        return sum(quantized_gates(4 if name.endswith("lstm") else 3, args))
    return 0


def tensors(value: Any) -> Iterator[Any]:
    """Tensors in nested lists and tuples."""
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from tensors(item)
