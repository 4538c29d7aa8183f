"""Grids, ranges and bytes of the linear quantiser, and modules that hold packed codes."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from engines.toolbox.packed import (
    CodebookMatrix,
    GridMatrix,
    PackedConv,
    PackedEmbedding,
    PackedGRU,
    PackedLinear,
    PackedLSTM,
    empty,
    matrices_of,
    stock,
)
from engines.toolbox.quantisers import Observer, Scheme, nearest, pack, packed_bytes, quantise, scales_of, unpack


def test_scales_by_hand() -> None:
    weight = torch.tensor([[-1.0, 0.5, 2.0, 3.0, -7.0]])
    scale, zero = scales_of(weight, Scheme(4, symmetric=False, granularity="group", group=2))
    assert torch.allclose(scale, torch.tensor([[1.5 / 15, 3.0 / 15, 7.0 / 15]]))
    assert zero.tolist() == [[10.0, 0.0, 15.0]]
    scale, zero = scales_of(weight, Scheme(4, granularity="channel"))
    assert torch.allclose(scale, torch.tensor([[1.0]]))
    assert quantise(weight, Scheme(4, granularity="channel")).dense().tolist() == [[-1.0, 0.0, 2.0, 3.0, -7.0]]  # 0.5: half to even


def test_a_short_last_group_has_a_range_of_its_own_and_no_other_weights() -> None:
    weight = torch.tensor([[100.0, 100.0, 100.0, 0.1]])
    found = quantise(weight, Scheme(3, granularity="group", group=3))
    assert found.scale_RG.shape == (1, 2)
    assert torch.allclose(found.dense(), weight)


def test_one_weight_a_group_in_8_bits_loses_nothing() -> None:
    weight = torch.randn(7, 11)
    assert torch.allclose(quantise(weight, Scheme(8, granularity="group", group=1)).dense(), weight, rtol=1e-6)


@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize("symmetric", [False, True])
def test_extreme_weights_stay_numbers(half: bool, symmetric: bool) -> None:
    for weight in (torch.zeros(2, 4), torch.full((2, 4), 1e-30), torch.tensor([[1e30, -1e30], [0.0, 3e-7]])):
        dense = quantise(weight, Scheme(8, symmetric, "channel", half_scales=half)).dense()
        assert dense.isfinite().all()
        if not half:
            assert torch.allclose(dense, weight, rtol=0.01, atol=0)


def test_scales_in_16_bits_are_the_ones_that_codes_were_chosen_for() -> None:
    weight = torch.randn(9, 40)
    found = quantise(weight, Scheme(5, False, "group", 8, half_scales=True))
    assert found.scale_RG.dtype == torch.float16
    s, z = (part.float().repeat_interleave(8, 1) for part in (found.scale_RG, found.zero_RG))
    assert torch.equal(found.codes_ED, nearest(weight, s, z, 31).to(torch.uint8))


def test_the_searched_range_never_errs_more_than_the_whole_and_beats_it_with_an_outlier() -> None:
    weight = torch.randn(4, 2048, generator=torch.Generator().manual_seed(0))
    weight[:, 0] = 6
    errors = {}
    for kind in ("min_max", "mse", "percentile"):
        errors[kind] = (quantise(weight, Scheme(3, granularity="channel", range=kind)).dense() - weight).square().sum(1)  # type: ignore[arg-type]
    assert (errors["mse"] <= errors["min_max"]).all()
    assert errors["mse"].sum() < 0.95 * errors["min_max"].sum()
    assert not torch.equal(errors["percentile"], errors["min_max"])


@pytest.mark.parametrize("bits", range(1, 9))
def test_codes_come_back(bits: int) -> None:
    for columns in (1, 8, 13, 64):
        codes = torch.randint(2**bits, (5, columns), dtype=torch.uint8)
        packed = pack(codes, bits)
        assert packed.shape == (5, packed_bytes(columns, bits)) == (5, -(-columns // 8) * bits)
        assert torch.equal(unpack(packed, bits, columns), codes)


def test_observers() -> None:
    scheme = Scheme(8, symmetric=False, granularity="tensor")
    data = [torch.randn(1000, generator=torch.Generator().manual_seed(i)) for i in range(5)]
    data[2][0] = 50.0
    ranges = {}
    for kind in ("min_max", "moving_average", "percentile", "mse"):
        observer = Observer(kind, Scheme(4, False, "tensor") if kind == "mse" else scheme)  # type: ignore[arg-type]
        for x in data:
            observer.observe(x)
        ranges[kind] = [float(end) for end in observer.range()]
    assert ranges["min_max"] == [min(float(x.min()) for x in data), 50.0]
    expected = float(data[0].max())
    for x in data[1:]:
        expected += 0.1 * (float(x.max()) - expected)
    assert ranges["moving_average"][1] == pytest.approx(expected)
    assert 2.5 < ranges["percentile"][1] < 5
    assert ranges["mse"][1] < 45
    with pytest.raises(ValueError, match="before it saw any values"):
        Observer("min_max", scheme).range()


def grid_of(weight: torch.Tensor, **options) -> GridMatrix:
    return GridMatrix.of(quantise(weight, Scheme(**{"bits": 3, "group": 5, "symmetric": False, **options})))


@pytest.mark.parametrize("options", [{}, {"symmetric": True}, {"granularity": "tensor"}, {"granularity": "channel", "half_scales": True}])
def test_rows_are_those_of_the_whole(options: dict) -> None:
    matrix = grid_of(torch.randn(10, 13), **options)
    ids = torch.tensor([[3, 3], [9, 0]])
    assert torch.equal(matrix.some(ids), matrix.dense()[ids])
    matrix.kept = True
    matrix.dense()
    assert torch.equal(matrix.some(ids), matrix.dense()[ids])
    other = empty(matrix.description())
    other.load_state_dict(matrix.state_dict())
    assert torch.equal(other.dense(), matrix.dense())


def test_a_codebook() -> None:
    codes, values = torch.randint(5, (4, 9)), torch.randn(5)
    matrix = CodebookMatrix.of(codes, values, 3)
    assert torch.equal(matrix.dense(), values[codes])
    assert matrix.bytes() == 4 * 2 * 3 + 5 * 4
    again = empty(matrix.description())
    again.load_state_dict(matrix.state_dict())
    assert torch.equal(again.dense(), matrix.dense())


@pytest.mark.parametrize("options", [{}, {"bidirectional": True, "num_layers": 2}, {"proj_size": 3}, {"bias": False, "batch_first": False}])
def test_an_lstm_computes_as_torchs_own_with_the_same_weights(options: dict) -> None:
    lstm = nn.LSTM(6, 5, **{"batch_first": True, **options}).eval()
    matrices = {name: grid_of(p) for name, p in lstm.named_parameters() if p.ndim > 1}
    packed = PackedLSTM(lstm, matrices)
    with torch.no_grad():
        for name, matrix in matrices.items():
            lstm.get_parameter(name).copy_(matrix.dense())
    x = torch.randn(4, 4, 6)
    (ours, state), (theirs, expected) = packed(x), lstm(x)
    assert torch.equal(ours, theirs)
    assert all(torch.equal(*pair) for pair in zip(packed(x, state)[1], lstm(x, expected)[1], strict=True))
    assert torch.equal(copy.deepcopy(packed)(x)[0], ours)


@pytest.mark.parametrize("options", [{}, {"bidirectional": True, "num_layers": 2}, {"bias": False, "batch_first": False}])
def test_a_gru_computes_as_torchs_own_with_the_same_weights(options: dict) -> None:
    gru = nn.GRU(6, 5, **{"batch_first": True, **options}).eval()
    matrices = {name: grid_of(p) for name, p in gru.named_parameters() if p.ndim > 1}
    packed = PackedGRU(gru, matrices)
    with torch.no_grad():
        for name, matrix in matrices.items():
            gru.get_parameter(name).copy_(matrix.dense())
    x = torch.randn(4, 4, 6)
    with torch.no_grad():
        (ours, state), (theirs, expected) = packed(x), gru(x)
        # To rounding: kernels add up in an order of their own where matrices lie otherwise in memory.
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-6)
        torch.testing.assert_close(packed(x, hx=state)[0], gru(x, expected)[0], rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("conv", "shape"),
    [
        (nn.Conv1d(6, 4, 3, padding="same", dilation=2), (2, 6, 9)),
        (nn.Conv1d(6, 4, 3, padding=1, padding_mode="circular", bias=False), (2, 6, 9)),
        (nn.Conv2d(6, 4, (2, 3), stride=2, groups=2), (2, 6, 5, 7)),
    ],
)
def test_a_convolution_computes_as_torchs_own_with_the_same_weights(conv: nn.Module, shape: tuple[int, ...]) -> None:
    packed = PackedConv(conv, {"weight": grid_of(conv.weight)})
    with torch.no_grad():
        conv.weight.copy_(packed.weight)
    x = torch.randn(shape)
    assert torch.equal(packed(input=x), conv(x))
    assert packed.matrix.bytes() < conv.weight.numel() * 4


def test_what_is_kept_unpacked_follows_new_codes() -> None:
    linear = nn.Linear(6, 4)
    packed = PackedLinear(linear, {"weight": grid_of(linear.weight)})
    packed.matrix.kept = True
    x = torch.randn(2, 6)
    first = packed(x)
    assert torch.equal(packed(x), first)
    with torch.no_grad():
        linear.weight.neg_()
    packed.matrix.load_state_dict(grid_of(linear.weight).state_dict())
    assert not torch.equal(packed(x), first)


def test_only_what_computes_as_torchs_own_modules_is_found() -> None:
    class Doubled(nn.Linear):
        def forward(self, x):
            return 2 * super().forward(x)

    class Table(nn.Embedding):
        width = 3

    model = nn.ModuleDict({"plain": nn.Linear(3, 3), "doubled": Doubled(3, 3), "table": Table(4, 3), "clipped": nn.Embedding(4, 3, max_norm=1.0)})
    found, skipped = matrices_of(model, ("Linear", "Embedding"), ("*",), ())
    assert list(found) == ["plain.weight", "table.weight"]
    assert [each.split()[0] for each in skipped] == ["doubled", "clipped"]
    assert stock(model["table"]) is nn.Embedding
    assert PackedEmbedding(model["table"], {"weight": grid_of(model["table"].weight)})(torch.tensor([[0, 3]])).shape == (1, 2, 3)


@pytest.mark.gpu
def test_packed_modules_on_a_gpu() -> None:
    linear = nn.Linear(64, 32)
    packed = PackedLinear(linear, {"weight": grid_of(linear.weight)})
    x = torch.randn(3, 64)
    expected = packed(x)
    assert torch.allclose(packed.to("cuda")(x.cuda()).cpu(), expected, atol=1e-5)
    on_gpu = quantise(linear.weight.cuda(), Scheme(3, False, "group", 5))
    assert torch.equal(on_gpu.codes_ED.cpu(), quantise(linear.weight, Scheme(3, False, "group", 5)).codes_ED)
    lstm = nn.LSTM(6, 5, batch_first=True)
    form = PackedLSTM(lstm, {name: grid_of(p) for name, p in lstm.named_parameters() if p.ndim > 1})
    y = torch.randn(2, 3, 6)
    before = form(y)[0]
    assert torch.allclose(form.cuda()(y.cuda())[0].cpu(), before, atol=2e-3)  # cuDNN multiplies recurrent layers in TF32 unless told otherwise
