"""Certificates on trials in coarse number formats, and trials that cannot be."""

from __future__ import annotations

import pytest
import torch

from engines.runtime.verify import ROUNDINGS, allowed, trial_of, verify


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.parametrize("id", ["attention/linear", "attention/full", "recurrent/lstm", "softmax/adaptive"])
def test_certificates_hold_in_half_precision(id: str, dtype: str) -> None:
    for each in verify(id, {"dtype": dtype}):
        assert each["holds"], f"{each['statement']}: {each.get('reason') or each['error']}"


def test_the_allowed_error_follows_a_coarser_format_only() -> None:
    for dtype in ("float64", "float32"):
        assert allowed(1e-6, dtype) == 1e-6
    assert allowed(1e-6, "bfloat16") == ROUNDINGS * torch.finfo(torch.bfloat16).eps
    assert allowed(0.2, "bfloat16") == 0.2
    assert allowed(0.0, "bfloat16") == 0.0  # bit-equal stays bit-equal
    assert allowed(1e-12, "bfloat16") == 1e-12


def test_a_wrong_equation_is_still_found_in_half_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    from plugins.attention import linear

    monkeypatch.setattr(linear, "causal_normaliser", lambda fq, fk, z: ((fq * fk.sum(2, keepdim=True)).sum(-1), z))
    first, *_ = verify("attention/linear", {"dtype": "bfloat16"})
    assert first["error"] > first["tolerance"]
    assert not first["holds"]


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"device": "cuda"}, "torch finds no such device here"),
        ({"device": "gpu"}, "use cpu, cuda"),
        ({"device": "meta"}, "torch finds no such device here"),
        ({"dtype": "int8"}, "use float64"),
        ({"batch": 0}, "at least 1"),
        ({"bacth": 1}, 'did you mean "batch"'),
    ],
)
def test_a_trial_that_cannot_be_is_refused_in_a_sentence(values: dict[str, object], says: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ValueError, match=says):
        trial_of(values)


def test_auto_is_a_device_that_is_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert trial_of({"device": "auto"}).device == "cpu"
