"""Floating-point operations of operators that torch's counter passes over in silence, and how much of a nominal count a kernel skips.

One multiply-add is two operations; element-wise work is not counted, as is usual. A formula gets the operator's arguments and `out_val`, its
result, and says the nominal count: what the operator's definition asks for, zeros and masked pairs included. `skipped` says how many of
those the kernel does not execute.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from typing import Any

import torch

import engines.toolbox.row_products  # noqa: F401  defines operators that stand below

with suppress(ImportError):  # torch from 2.13 on, which defines the operator of `linear_cross_entropy` when it is first called
    importlib.import_module("torch.nn.modules.linear_cross_entropy")

Formula = Callable[..., int]


def _packet(path: str) -> Any | None:
    """An operator, or None where this build of torch has it not."""
    namespace, _, name = path.rpartition(".")
    return getattr(getattr(torch.ops, namespace), name, None)


def _raw(formula: Formula) -> Formula:
    """Have torch's counter hand over tensors, not only their shapes."""
    formula._get_raw = True  # type: ignore[attr-defined]
    return formula


# --- Products -----------------------------------------------------------------------------------------------------------------------------


def _product(position: int) -> Formula:
    """Every number of the result is a sum over the last dimension of the argument at `position`."""

    def formula(*args: Any, out_val: Any, **kwargs: Any) -> int:
        return 2 * out_val.numel() * args[position].shape[-1]

    return _raw(formula)


@_raw
def _grouped_mm(a: Any, b: Any, *args: Any, out_val: Any, **kwargs: Any) -> int:
    """Rows of a (M, K) in groups, each times its own matrix of b (G, K, N). Two matrices: the groups cut the sum, so each term occurs once."""
    if a.dim() == 2 and b.dim() == 2:
        return 2 * a.numel() * b.shape[-1]
    return 2 * out_val.numel() * a.shape[-1]


@_raw
def _sum_of_products(added: Any, a: Any, b: Any, *args: Any, out_val: Any, **kwargs: Any) -> int:
    """a (B, M, K) times b (B, K, N), summed over B."""
    return 2 * a.numel() * b.shape[-1]


@_raw
def _row_products(a: Any, b: Any, *args: Any, out_val: Any, **kwargs: Any) -> int:
    """Row p of a (P, D) times row p of b."""
    return 2 * a.numel()


@_raw
def _row_products_backward(g: Any, a: Any, b: Any, *args: Any, out_val: Any, **kwargs: Any) -> int:
    """As of a matrix product: as much again for each factor."""
    return 4 * a.numel()


@_raw
def _convolution(x: Any, weight: Any, *args: Any, out_val: Any, **kwargs: Any) -> int:
    """weight (E, D / groups, *kernel): every output is a sum over all of it but its first dimension."""
    return 2 * out_val.numel() * math.prod(weight.shape[1:])


@_raw
def _chunked_cross_entropy(x: Any, weight: Any, *args: Any, out_val: Any, **kwargs: Any) -> int:
    """Scores of x (N, D) under weight (V, D), and in the same call the gradient of each of the two that wants one (arguments 10 and 11)."""
    return 2 * x.numel() * weight.shape[0] * (1 + bool(args[10]) + bool(args[11]))


@_raw
def _packed_linear(x: Any, *args: Any, out_val: Any, **kwargs: Any) -> int:
    return 2 * x.numel() * out_val.shape[-1]


# --- Recurrent layers ----------------------------------------------------------------------------------------------------------------------


def _recurrent(weights: Iterable[Any], rows: int) -> int:
    """Each matrix (gates H, D or H) is multiplied once with each of the rows = T B inputs or states."""
    return sum(2 * rows * weight.numel() for weight in weights if weight.dim() == 2)


@_raw
def _mkldnn_rnn(x: Any, weight_ih: Any, weight_hh: Any, *args: Any, out_val: Any, **kwargs: Any) -> int:
    return _recurrent((weight_ih, weight_hh), math.prod(x.shape[:-1]))


@_raw
def _rnn_of_list(x: Any, weights: Any, *args: Any, out_val: Any, **kwargs: Any) -> int:
    return _recurrent(weights, math.prod(x.shape[:-1]))


@_raw
def _lstm_mps(x: Any, hx: Any, weights: Any, *args: Any, out_val: Any, **kwargs: Any) -> int:
    return _recurrent(weights, math.prod(x.shape[:-1]))


def quantized_gates(gates: int, args: tuple[Any, ...]) -> list[int]:
    """Numbers in the packed matrices of each layer and direction of quantized_lstm (4 gates) or quantized_gru (3)."""
    x, hx, _, _, layers, _, _, bidirectional = args[:8]
    hidden, directions = (hx[0] if gates == 4 else hx).shape[-1], 2 if bidirectional else 1
    inputs = [x.shape[-1] if layer == 0 else hidden * directions for layer in range(layers)]
    return [gates * hidden * (width + hidden) for width in inputs for _ in range(directions)]


def _quantized_rnn(gates: int) -> Formula:
    def formula(*args: Any, out_val: Any, **kwargs: Any) -> int:
        return 2 * args[0].shape[0] * args[0].shape[1] * sum(quantized_gates(gates, args))

    return _raw(formula)


def _twice(forward: Formula) -> Formula:
    """The backward pass of a product: the gradient of each of its two factors is another."""
    return _raw(lambda *args, **kwargs: 2 * forward(*args, **kwargs))


# --- Attention ----------------------------------------------------------------------------------------------------------------------------


@_raw
def _attention(q: Any, k: Any, v: Any, *args: Any, out_val: Any, **kwargs: Any) -> int:
    """(B, H, T, D) against (B, H, S, D): scores, and the weighted sum of values."""
    batch, heads, length, width = q.shape
    return 2 * batch * heads * length * k.shape[-2] * (width + v.shape[-1])


@_raw
def _attention_backward(grad: Any, q: Any, k: Any, v: Any, *args: Any, out_val: Any, **kwargs: Any) -> int:
    """Five products against the forward's two: scores again, and the gradients of v, of the weights, of q and of k."""
    return _attention(q, k, v, out_val=None) * 5 // 2


# --- Fourier transforms --------------------------------------------------------------------------------------------------------------------


def _fourier(numbers: int, length: int, complex: bool) -> int:
    """Radix 2: log2 N stages of N / 2 butterflies, each a complex product (6) and two sums (4), so 5 N log2 N a transform of N numbers; half
    of it where one side is real (the convention of FFTW's benchmarks)."""
    return round((5.0 if complex else 2.5) * numbers * math.log2(max(length, 1)))


@_raw
def _fft_c2c(x: Any, dim: Any, *args: Any, out_val: Any, **kwargs: Any) -> int:
    return _fourier(x.numel(), math.prod(x.shape[d] for d in dim), complex=True)


@_raw
def _fft_r2c(x: Any, dim: Any, *args: Any, out_val: Any, **kwargs: Any) -> int:
    return _fourier(x.numel(), math.prod(x.shape[d] for d in dim), complex=False)


@_raw
def _fft_c2r(x: Any, dim: Any, *args: Any, out_val: Any, **kwargs: Any) -> int:
    return _fourier(out_val.numel(), math.prod(out_val.shape[d] for d in dim), complex=False)


_BY_NAME: dict[str, Formula] = {
    **dict.fromkeys(
        ("aten._int_mm", "aten.mv", "aten.dot", "aten.vdot", "aten._weight_int4pack_mm", "aten._weight_int4pack_mm_for_cpu",
         "aten._weight_int8pack_mm", "aten._dyn_quant_matmul_4bit", "aten._scaled_mm_v2", "aten.mkldnn_linear", "mkl._mkl_linear",
         "mkldnn._linear_pointwise", "aten._sparse_mm", "aten._sparse_sparse_matmul", "aten._sparse_mm_reduce_impl"),
        _product(0),
    ),
    **dict.fromkeys(
        ("aten.addmv", "aten.addmv_", "aten.addmm_", "aten.baddbmm_", "aten._addmm_activation", "aten._sparse_addmm",
         "aten.sparse_sampled_addmm", "aten.sspaddmm"),
        _product(1),
    ),
    **dict.fromkeys(("aten._grouped_mm", "aten._scaled_grouped_mm", "aten._scaled_grouped_mm_v2"), _grouped_mm),
    **dict.fromkeys(("aten.addbmm", "aten.addbmm_"), _sum_of_products),
    "torch_nn._linear_cross_entropy_batch_chunked": _chunked_cross_entropy,
    "workbench.row_products": _row_products,
    "workbench.row_products_backward": _row_products_backward,
    **dict.fromkeys(
        ("aten.mkldnn_convolution", "aten.cudnn_convolution_relu", "aten.cudnn_convolution_add_relu", "aten.miopen_convolution",
         "aten.miopen_convolution_relu", "aten._conv_depthwise2d", "aten.conv_depthwise3d", "aten.slow_conv_dilated2d",
         "aten.slow_conv_dilated3d", "aten.slow_conv3d_forward", "aten._nnpack_spatial_convolution", "mkldnn._convolution_pointwise"),
        _convolution,
    ),
    **dict.fromkeys(
        ("quantized.linear", "quantized.linear_relu", "quantized.linear_dynamic", "quantized.linear_relu_dynamic",
         "quantized.linear_dynamic_fp16", "quantized.linear_relu_dynamic_fp16"),
        _packed_linear,
    ),
    "aten.mkldnn_rnn_layer": _mkldnn_rnn,
    "aten.mkldnn_rnn_layer_backward": _twice(_mkldnn_rnn),
    **dict.fromkeys(("aten._cudnn_rnn", "aten.miopen_rnn"), _rnn_of_list),
    **dict.fromkeys(("aten._cudnn_rnn_backward", "aten.miopen_rnn_backward"), _twice(_rnn_of_list)),
    "aten._lstm_mps": _lstm_mps,
    "aten.quantized_lstm": _quantized_rnn(4),
    "aten.quantized_gru": _quantized_rnn(3),
    "aten._scaled_dot_product_flash_attention_for_cpu": _attention,
    "aten._scaled_dot_product_flash_attention_for_cpu_backward": _attention_backward,
    "aten._fft_c2c": _fft_c2c,
    "aten._fft_r2c": _fft_r2c,
    "aten._fft_c2r": _fft_c2r,
}  # fmt: skip

FORMULAS: dict[Any, Formula] = {packet: formula for name, formula in _BY_NAME.items() if (packet := _packet(name)) is not None}
"""Operator -> formula, for torch's counter."""


# --- What is not executed ------------------------------------------------------------------------------------------------------------------


def skipped_share(func: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> float:
    """Share of the nominal operations that a kernel leaves out: pairs behind a causal mask, products with zeros that a sparse layout does not
    store, rows of a grouped product that belong to no group. 0.0 where nothing is left out.

    Causal kernels work in blocks, so they do a little more than the pairs that count here.
    """
    if "attention" in func.__name__:
        return _behind_the_mask(func, args, kwargs)
    if func.overloadpacket in _GROUPED:
        return _outside_the_groups(args, kwargs)
    if any(isinstance(arg, torch.Tensor) and arg.layout is not torch.strided for arg in args):
        return _not_stored(func, [arg for arg in args if isinstance(arg, torch.Tensor)])
    return 0.0


_GROUPED = {packet for name in ("aten._grouped_mm", "aten._scaled_grouped_mm", "aten._scaled_grouped_mm_v2") if (packet := _packet(name))}


def _behind_the_mask(func: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> float:
    given = {argument.name: value for argument, value in zip(func._schema.arguments, args, strict=False)} | dict(kwargs)
    if not given.get("is_causal"):
        return 0.0
    length, others = given["query"].shape[-2], given["key"].shape[-2]
    seen = sum(min(row + 1, others) for row in range(length))
    return 1.0 - seen / (length * others)


def _outside_the_groups(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> float:
    ends = kwargs.get("offs", next((arg for arg in args[2:] if isinstance(arg, torch.Tensor) and arg.dtype is torch.int32), None))
    if ends is None or ends.is_meta or args[0].dim() != 2:
        return 0.0
    rows = args[0].shape[0] if args[1].dim() == 3 else args[0].shape[1]
    return 1.0 - int(ends[-1]) / rows if rows else 0.0


def _not_stored(func: Any, tensors: list[Any]) -> float:
    """The operands of a product are the last two tensors; the pattern of sampled products is that of the first."""
    if func.overloadpacket is _SAMPLED:
        return 1.0 - _stored(tensors[0]) / max(1, tensors[0].numel())
    a, b = tensors[-2:] if len(tensors) > 1 else (tensors[0], tensors[0])
    sparse = [operand for operand in (a, b) if operand.layout is not torch.strided]
    if len(sparse) == 2:
        terms = (_lines(a, 1) * _lines(b, 0)).sum().item()
        return 1.0 - terms / max(1, a.shape[0] * a.shape[1] * b.shape[-1])
    return 1.0 - _stored(sparse[0]) / max(1, sparse[0].numel()) if sparse else 0.0


_SAMPLED = _packet("aten.sparse_sampled_addmm")


def _stored(tensor: Any) -> int:
    """Numbers that a sparse tensor holds, explicit zeros and whole blocks included."""
    return int((tensor._values() if tensor.layout is torch.sparse_coo else tensor.values()).numel())


def _lines(matrix: Any, dim: int) -> Any:
    """Stored numbers in each row (dim 0) or column (dim 1), int64."""
    pattern = matrix if matrix.layout is torch.sparse_coo else matrix.to_sparse_coo()
    return torch.bincount(pattern._indices()[dim], minlength=matrix.shape[dim])
