"""Counted work against code that is not the counter: stock operators instead of fused ones, products written out, an FFT that counts itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from engines.api import Trial
from engines.runtime.flops import Work, count
from engines.runtime.plan import block
from engines.toolbox import trials


def done(function: Callable[[], Any]) -> Work:
    return count(function)[0]


def multiply_adds(a: torch.Tensor, b: torch.Tensor, only: torch.Tensor | None = None) -> int:
    """Twice the terms of a matrix product, counted one by one; `only`: those with a non-zero factor there."""
    return 2 * sum(
        1 for i in range(a.shape[0]) for j in range(b.shape[1]) for k in range(a.shape[1]) if only is None or only[i, k] != 0
    )


class CellLSTM(nn.Module):
    """An LSTM of linear layers and element-wise operations."""

    def __init__(self, like: nn.LSTM) -> None:
        super().__init__()
        self.like = like

    def forward(self, x_TBD: torch.Tensor) -> torch.Tensor:
        h = c = x_TBD.new_zeros(x_TBD.shape[1], self.like.hidden_size)
        out = []
        for x_BD in x_TBD:
            gates = F.linear(x_BD, self.like.weight_ih_l0, self.like.bias_ih_l0) + F.linear(h, self.like.weight_hh_l0, self.like.bias_hh_l0)
            i, f, g, o = gates.chunk(4, dim=1)
            c = f.sigmoid() * c + i.sigmoid() * g.tanh()
            h = o.sigmoid() * c.tanh()
            out.append(h)
        return torch.stack(out)


def test_a_fused_lstm_counts_as_its_cells_do() -> None:
    lstm = nn.LSTM(8, 5)
    x_TBD = torch.randn(3, 2, 8)
    cells = CellLSTM(lstm)
    torch.testing.assert_close(lstm(x_TBD)[0], cells(x_TBD))
    forward = 2 * 3 * 2 * 4 * 5 * (8 + 5)
    assert done(lambda: lstm(x_TBD)).flops == done(lambda: cells(x_TBD)).flops == forward
    x_TBD.requires_grad_()
    fused = done(lambda: lstm(x_TBD)[0].sum().backward()).flops
    # The state before the first step is a constant: stock operators give it no gradient, the fused kernel computes one.
    assert fused == 3 * forward
    assert done(lambda: cells(x_TBD)[0:].sum().backward()).flops == 3 * forward - 2 * 2 * 4 * 5 * 5


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore:torch.quantize_per_tensor")
@pytest.mark.parametrize(("kind", "gates"), [(nn.LSTM, 4), (nn.GRU, 3)])
def test_a_quantised_recurrent_layer_counts_as_the_float_one(kind: type[nn.Module], gates: int) -> None:
    if "fbgemm" not in torch.backends.quantized.supported_engines and "onednn" not in torch.backends.quantized.supported_engines:
        pytest.skip("this torch has no int8 kernels")
    plain = kind(8, 5, num_layers=2, bidirectional=True).eval()  # type: ignore[call-arg]
    packed = torch.ao.quantization.quantize_dynamic(nn.Sequential(plain), {kind})
    x_TBD = torch.randn(3, 2, 8)
    with torch.no_grad():
        one, other = done(lambda: plain(x_TBD)), done(lambda: packed(x_TBD))
    assert one.flops == other.flops == 2 * 3 * 2 * 2 * gates * 5 * ((8 + 5) + (10 + 5))
    assert other.bytes < one.bytes


@pytest.mark.parametrize("causal", [False, True])
def test_fused_attention_counts_as_its_products_and_skips_what_the_mask_hides(causal: bool) -> None:
    q, k, v = (torch.randn(2, 3, 6, 4, requires_grad=True) for _ in range(3))
    mask = torch.ones(6, 6, dtype=torch.bool).tril() if causal else torch.ones(6, 6, dtype=torch.bool)

    def by_hand() -> torch.Tensor:
        return (q @ k.transpose(-1, -2) / 2).masked_fill(~mask, -torch.inf).softmax(-1) @ v

    def fused() -> torch.Tensor:
        return F.scaled_dot_product_attention(q, k, v, is_causal=causal)

    torch.testing.assert_close(fused(), by_hand())
    forward, plain = done(fused), done(by_hand)
    assert forward.flops == plain.flops == plain.executed_flops
    assert forward.executed_flops == 2 * 2 * 3 * int(mask.sum()) * (4 + 4)
    both, both_plain = done(lambda: fused().sum().backward()), done(lambda: by_hand().sum().backward())
    # The fused backward pass computes the scores once more: five products and not four.
    assert both.flops - forward.flops == (both_plain.flops - plain.flops) * 5 // 4
    assert both.executed_flops == pytest.approx(both.flops * int(mask.sum()) / 36)


@pytest.mark.filterwarnings("ignore:Sparse CSR tensor")
@pytest.mark.parametrize("layout", [torch.sparse_csr, torch.sparse_coo])
def test_sparse_products_execute_what_they_store(layout: torch.layout) -> None:
    torch.manual_seed(0)
    dense = torch.randn(6, 8) * (torch.rand(6, 8) < 0.4)
    sparse, b = dense.to_sparse(layout=layout), torch.randn(8, 5)
    for product in (lambda: sparse @ b, lambda: torch.sparse.mm(sparse, b), lambda: torch.addmm(torch.zeros(6, 5), sparse, b)):
        found, made = count(product)
        torch.testing.assert_close(made, dense @ b)
        assert found.flops == multiply_adds(dense, b)
        assert found.executed_flops == multiply_adds(dense, b, only=dense)
    both = done(lambda: sparse @ dense.T.to_sparse(layout=layout))
    terms = sum(1 for i in range(6) for j in range(6) for k in range(8) if dense[i, k] != 0 and dense[j, k] != 0)
    assert (both.flops, both.executed_flops) == (2 * 6 * 6 * 8, 2 * terms)


def test_integer_and_grouped_products() -> None:
    a, b = torch.ones(32, 16, dtype=torch.int8), torch.ones(16, 8, dtype=torch.int8)
    assert done(lambda: torch._int_mm(a, b)).flops == multiply_adds(a, b)
    rows, matrices = torch.randn(16, 8).bfloat16(), torch.randn(2, 8, 8).bfloat16()
    full = done(lambda: F.grouped_mm(rows, matrices, offs=torch.tensor([4, 16], dtype=torch.int32)))
    assert full.flops == full.executed_flops == done(lambda: rows[:4] @ matrices[0]).flops + done(lambda: rows[4:] @ matrices[1]).flops
    padded = done(lambda: F.grouped_mm(rows, matrices, offs=torch.tensor([4, 12], dtype=torch.int32)))
    assert padded.executed_flops == done(lambda: rows[:12] @ matrices[0]).flops < padded.flops


def test_vectors_batches_and_convolutions() -> None:
    a, b, x = torch.randn(6, 8), torch.randn(8, 5), torch.randn(8)
    assert done(lambda: a @ x).flops == 2 * 6 * 8
    assert done(lambda: torch.dot(x, x)).flops == 2 * 8
    batches = torch.randn(3, 6, 8), torch.randn(3, 8, 5)
    assert done(lambda: torch.baddbmm(torch.zeros(3, 6, 5), *batches)).flops == 3 * multiply_adds(a, b)
    assert done(lambda: torch.addbmm(torch.zeros(6, 5), *batches)).flops == 3 * multiply_adds(a, b)
    convolution, signal = nn.Conv1d(4, 6, 3, groups=2), torch.randn(2, 4, 10)
    assert done(lambda: convolution(signal)).flops == 2 * (2 * 6 * 8) * (2 * 3)
    with torch.inference_mode():
        inferred = done(lambda: F.linear(a, b.T))
    assert (inferred.flops, inferred.uncounted) == (multiply_adds(a, b), {})


def test_sums_in_place_count_as_those_that_make_a_new_tensor() -> None:
    a, b, x = torch.randn(6, 8), torch.randn(8, 5), torch.randn(8)
    batches = torch.randn(3, 6, 8), torch.randn(3, 8, 5)
    for made, found in (
        (lambda: torch.addmm(torch.zeros(6, 5), a, b), lambda: torch.zeros(6, 5).addmm_(a, b)),
        (lambda: torch.addmv(torch.zeros(6), a, x), lambda: torch.zeros(6).addmv_(a, x)),
        (lambda: torch.baddbmm(torch.zeros(3, 6, 5), *batches), lambda: torch.zeros(3, 6, 5).baddbmm_(*batches)),
        (lambda: torch.addbmm(torch.zeros(6, 5), *batches), lambda: torch.zeros(6, 5).addbmm_(*batches)),
    ):
        assert done(found).flops == done(made).flops > 0
        assert done(found).uncounted == {}


@pytest.mark.parametrize("kernel", ["own", "torch"])
@pytest.mark.parametrize("frozen", [False, True])
def test_a_loss_in_chunks_does_the_operations_of_the_full_softmax(kernel: str, frozen: bool) -> None:
    if kernel == "torch" and not hasattr(F, "linear_cross_entropy"):
        pytest.skip(f"torch {torch.__version__} has no linear_cross_entropy")
    target_N = torch.randint(50, (20,))
    works = []
    for head in ({"id": "softmax/full"}, {"id": "softmax/chunked", "chunk": 8, "kernel": kernel}):
        module: Any = block(head).build(trials.site(Trial(width=6, vocabulary=50)))
        module.requires_grad_(not frozen)
        hidden_ND = torch.randn(20, 6, requires_grad=True)
        works.append(done(lambda module=module, hidden_ND=hidden_ND: module.loss(hidden_ND, target_N).backward()))
    full, chunked = works
    assert chunked.flops == full.flops == (2 if frozen else 3) * 2 * 20 * 50 * 6
    assert chunked.uncounted == {}


def radix_2(x: list[complex], tally: list[int]) -> list[complex]:
    """Cooley and Tukey's transform, which notes its real operations: a complex product is 6, a complex sum 2."""
    if len(x) == 1:
        return x
    even, odd = radix_2(x[::2], tally), radix_2(x[1::2], tally)
    turned = []
    for k, value in enumerate(odd):
        turned.append(value * complex(torch.exp(torch.tensor(-2j * torch.pi * k / len(x), dtype=torch.complex128))))
        tally[0] += 6 + 2 + 2
    return [e + t for e, t in zip(even, turned, strict=True)] + [e - t for e, t in zip(even, turned, strict=True)]


def test_fourier_transforms_count_as_radix_2_does() -> None:
    x = torch.randn(16, dtype=torch.complex128)
    tally = [0]
    torch.testing.assert_close(torch.tensor(radix_2(x.tolist(), tally), dtype=torch.complex128), torch.fft.fft(x))
    assert done(lambda: torch.fft.fft(x)).flops == tally[0]
    real = torch.randn(3, 16)
    assert done(lambda: torch.fft.rfft(real)).flops == 3 * tally[0] / 2
    assert done(lambda: torch.fft.irfft(torch.fft.rfft(real))).flops == 3 * tally[0]


def test_heavy_operators_without_a_formula_are_named_and_light_ones_are_not() -> None:
    x = torch.randn(30, 4)
    assert done(lambda: torch.linalg.svd(x)).uncounted == {"aten._linalg_svd": 1}
    assert done(lambda: torch.cdist(x, x)).uncounted == {"aten._euclidean_dist": 1}
    light = done(lambda: (F.interpolate(x[None, None], scale_factor=2, mode="bilinear"), F.layer_norm(x, (4,)), x.to_sparse(), x.norm()))
    assert light.uncounted == {}


def test_bytes_are_inputs_once_and_outputs_once() -> None:
    x, row = torch.randn(6, 8), torch.randn(8)
    assert done(lambda: x + row).bytes == 4 * (48 + 8 + 48)
    assert done(lambda: x * x).bytes == 4 * (48 + 48)
    assert done(lambda: x.add_(1)).bytes == 4 * (48 + 48)
    assert done(lambda: x.zero_()).bytes == 4 * 48
    assert done(lambda: (x.T, x[2:], x.view(8, 6), torch.empty(99), x.expand(5, 6, 8))).bytes == 0
    assert done(lambda: x.half()).bytes == 48 * (4 + 2)
    assert done(lambda: row.expand(6, 8) + 1).bytes == 4 * (8 + 48)
    assert done(lambda: x @ x.T).bytes == 4 * (48 + 48 + 36)


def test_bytes_of_what_picks_and_places_rows_are_those_of_the_rows() -> None:
    table, ids = torch.randn(1000, 8), torch.tensor([3, 5])
    assert done(lambda: F.embedding(ids, table)).bytes == 16 + 2 * (2 * 8 * 4)
    assert done(lambda: table[ids]).bytes == 16 + 2 * (2 * 8 * 4)
    added = torch.ones(2, 8)
    assert done(lambda: table.index_add_(0, ids, added)).bytes == 16 + 3 * (2 * 8 * 4)


def test_bytes_of_an_update_read_gradient_and_state() -> None:
    weight = nn.Parameter(torch.randn(50))
    weight.grad = torch.randn(50)
    for foreach in (False, True):
        update = torch.optim.SGD([weight], lr=0.1, foreach=foreach)
        assert done(update.step).bytes == 4 * (50 + 50 + 50)
