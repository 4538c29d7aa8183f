"""Matrix products: sizes, equal values, and what is concluded from figures with a GPU."""

from __future__ import annotations

import re

import pytest
import torch
from pydantic import ValidationError

from plugins.studies import matmul
from plugins.studies.matmul import Matmul
from tests.plugins.studies.figures import every, figures


def test_sizes_double_or_step():
    assert Matmul().sizes() == [16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192]
    assert Matmul(per_doubling=2, largest=64).sizes() == [16, 32, 48, 64]
    assert Matmul(step=16).sizes() == list(range(16, 8193, 16))
    assert len(Matmul(step=16).sizes()) == 512
    with pytest.raises(ValidationError, match="largest = 8 lies below smallest = 16"):
        Matmul(largest=8)


def test_memory_is_told_before_it_is_taken():
    group = next(iter(Matmul(smallest=8192, largest=8192, dtypes=["float32", "bfloat16"], threads=[1]).groups(None)))
    assert group.host_bytes == 2 * 8192**2 * (4 + 2)
    assert [cell.work for cell in group.cells] == [2.0 * 8192**3] * 2


def test_every_format_multiplies_the_same_matrices():
    made = matmul.operands(24, ["float64", "bfloat16"])
    exact, rounded = (a @ b for a, b in made.values())
    assert rounded.dtype == torch.bfloat16
    assert float((exact - rounded.double()).abs().max() / exact.abs().max()) < matmul.TOLERANCE["bfloat16"]


@pytest.fixture
def with_gpu(monkeypatch):
    """A study that believes in a GPU; nothing is run on it."""
    monkeypatch.setattr(matmul, "cuda_of", lambda device: "cuda")
    return Matmul(dtypes=["float32"], threads=[1])


def seconds(curve, n, *, overhead=20e-6):
    """A CPU of 100 GFLOP/s, a GPU of 10 TFLOP/s behind a launch of 5 us and a bus of 10 GB/s."""
    launch = 5e-6
    if curve.startswith("cpu"):
        return 1e-6 + 2 * n**3 / 100e9
    if curve.endswith("launch"):
        return launch
    copies = overhead + 3 * 4 * n * n / 10e9 if curve.endswith("copies") else 0.0
    return launch + 2 * n**3 / 10e12 + copies


def test_the_crossover_is_found_and_launch_and_copies_are_told_apart(with_gpu):
    found = with_gpu.conclude(figures(list(with_gpu.groups(None)), every(with_gpu, seconds)))
    assert found.outcome == "met"
    assert "cuda float32 passes cpu float32, 1 thread between n = 32 and 64." in found.findings
    assert "cuda float32 with copies passes cpu float32, 1 thread between n = 128 and 256." in found.findings
    assert any(re.match(r"On the GPU at n = 16: handing a product over takes (4\.9\d|5|5\.0\d) µs \[", sentence) for sentence in found.findings)
    assert any("between n = 16" not in s and "takes time as n^3.0" in s for s in found.findings if s.startswith("cpu float32"))
    assert with_gpu.not_shown() == ()


def test_a_gpu_that_is_always_behind_refutes_it(with_gpu):
    found = with_gpu.conclude(figures(list(with_gpu.groups(None)), every(with_gpu, lambda curve, n: seconds(curve, n, overhead=100.0))))
    assert found.outcome == "refuted"
    assert any("does not pass" in sentence for sentence in found.findings)


def test_without_a_gpu_nothing_is_decided_and_that_is_said():
    study = Matmul(dtypes=["float32", "bfloat16"], threads=[1], device="cpu")
    peaks = {("cpu", 1): {"flops_per_s": {"float32": 125e9}}}
    known = every(study, lambda curve, n: seconds(curve, n) / (4 if "bfloat16" in curve else 1))
    found = study.conclude(figures(list(study.groups(None)), known, stored=lambda device, threads: peaks.get((device, threads))))
    assert (found.outcome, found.reason) == ("not decided", "No GPU was measured.")
    assert found.lines == {"measured peak, cpu float32, 1 thread": pytest.approx(125.0)}
    assert any("80% of the measured peak" in sentence for sentence in found.findings)
    assert any(sentence.startswith("bfloat16 is 4") and "(n = 8192)" in sentence for sentence in found.findings)
    assert study.not_shown() == ("Device = cpu leaves the GPU out: the crossover of CPU and GPU, copies and launches were not measured.",)
