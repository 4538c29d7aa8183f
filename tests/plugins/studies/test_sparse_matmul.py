"""Sparse products: patterns, equal values, the break-even density from figures that are known, what this machine lacks."""

from __future__ import annotations

import math

import pytest
import torch
from pydantic import ValidationError

from engines.api import Estimate
from engines.runtime.outcome import result
from engines.toolbox import sparse
from engines.toolbox.studies import break_even
from plugins.studies import sparse_matmul
from plugins.studies.sparse_matmul import SparseMatmul, equals_dense
from tests.plugins.checks import TRIALS, assert_holds
from tests.plugins.studies.figures import every, figures


@pytest.mark.parametrize("trial", TRIALS)
def test_certificate(trial):
    assert_holds(equals_dense, trial)


@pytest.mark.parametrize(("density", "numbers", "blocks"), [(0.1, 410, 2), (0.5, 2048, 8), (0.0001, 1, 1), (1.0, 4096, 16)])
def test_so_many_numbers_or_whole_blocks_are_stored(density, numbers, blocks):
    _, w_OI = sparse.operands(density, 64, 2, "csr", 16, torch.float32)
    assert int((w_OI != 0).sum()) == len(sparse.as_format(w_OI, "csr", 16).values()) == numbers
    _, w_OI = sparse.operands(density, 64, 2, "bsr", 16, torch.float32)
    assert tuple(sparse.as_format(w_OI, "bsr", 16).values().shape) == (blocks, 16, 16)


def test_sizes_that_do_not_fit_are_refused():
    for wrong, sentence in (
        ({"densities": [0.1, 1.5]}, "above 0 and at most 1, not 1.5"), ({"batches": [0]}, "at least 1 row, not 0"),
        ({"widths": [40]}, "of 16, .* not 40"), ({"batches": []}, "must each name at least one"),
    ):  # fmt: skip
        with pytest.raises(ValidationError, match=sentence):
            SparseMatmul(**wrong)


def seconds(curve, density):
    """Dense: 100 us. CSR: as fast at d = 0.2 for one row, at 0.05 for 8, nowhere for 64. BSR twice as good everywhere."""
    if curve.startswith("dense"):
        return 100e-6
    even = {"1": 0.2, "8": 0.05, "64": 0.0005}[curve.split("batch ")[1].split(",")[0]]
    return 100e-6 * density / even / (2 if curve.startswith("BSR") else 1)


def test_the_break_even_table_is_that_of_the_figures():
    study = SparseMatmul(widths=[256], device="cpu")
    groups = list(study.groups(None))
    measured = figures(groups, every(study, seconds))
    found = study.conclude(measured)
    even = {(each.format, each.batch): each for each in found.break_even}
    for format, scale in (("CSR", 1), ("BSR 16 x 16", 2)):
        for batch, density in ((1, 0.2), (8, 0.05)):
            each = even[format, batch]
            assert each.density == pytest.approx(scale * density, rel=0.01)
            assert each.low <= each.density <= each.high
            assert (each.device, each.threads, each.width, each.smallest, each.largest) == ("cpu", 1, 256, 0.01, 0.5)
        assert even[format, 64].density is None
        assert not even[format, 64].always
    assert found.outcome == "refuted"
    assert "batch 8" in found.reason
    assert "batch 64" in found.reason
    assert "batch 1," not in found.reason
    assert len(found.findings) == 6
    assert "as fast as dense with 20.1% of the weights left [20.0% to 20.1%]" in found.findings[0]
    assert "faster than dense at no density measured" in found.findings[2]
    kept = result(study, "Sparse", [], [], measured)["break_even"]
    assert [each["density"] for each in kept] == [each.density for each in found.break_even]


def test_where_a_ratio_comes_down_to_one():
    def at(*values):
        return [(x, Estimate(value, value / 1.1, value * 1.1, 9)) for x, value in zip((0.01, 0.1, 1.0), values, strict=True)]

    even, low, high, always = break_even(at(4.0, 2.0, 0.5))
    assert even == pytest.approx(10**-0.5)
    assert low == pytest.approx(0.1 * 10 ** (math.log(2 / 1.1) / math.log(4)))
    assert high == pytest.approx(0.1 * 10 ** (math.log(2 * 1.1) / math.log(4)))
    assert not always
    assert break_even(at(4.0, 3.0, 2.0)) == (None, None, None, True)
    assert break_even(at(0.5, 0.4, 0.3)) == (None, None, None, False)
    assert break_even(at(4.0, 3.0, 1.05))[0] is None
    assert break_even(at(4.0, 3.0, 1.05))[1] is not None


def test_what_needs_a_gpu_is_said(monkeypatch):
    assert "2:4, which only GPUs multiply" in SparseMatmul(device="cpu").not_shown()[0]
    monkeypatch.setattr(sparse_matmul, "cuda_of", lambda device: "cuda")
    monkeypatch.setattr(sparse_matmul, "unavailable_2_4", lambda: "It needs CUDA capability 8.0, and this GPU has 7.5.")
    assert SparseMatmul().not_shown() == ("2:4 was not measured: It needs CUDA capability 8.0, and this GPU has 7.5.",)
    monkeypatch.setattr(sparse_matmul, "unavailable_2_4", lambda: "")
    groups = [group for group in SparseMatmul(widths=[256]).groups(None) if "2:4" in group.cells[1].curve]
    assert [group.x for group in groups] == [0.5] * 3
    assert {group.cells[0].curve for group in groups} == {f"dense float16, cuda, batch {batch}, 256 wide" for batch in (1, 8, 64)}
