"""Every certificate of every block on a CUDA GPU, in float64 and float32."""

from __future__ import annotations

import importlib
from collections.abc import Callable

import pytest

from engines.api import Trial
from tests.plugins.checks import assert_holds, certificates

BLOCKS = (
    "embeddings.lookup",
    "recurrent.lstm",
    "attention.full",
    "attention.sliding_window",
    "attention.linear",
    "feedforward.dense",
    "experts.switch",
    "softmax.full",
    "softmax.adaptive",
    "softmax.importance_sampled",
    "softmax.binary_code",
    "softmax.chunked",
    "softmax.embedding_vmf",
    "softmax.nce",
    "softmax.negative_sampling",
    "softmax.hard_negatives",
)


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("certificate", [c for name in BLOCKS for c in certificates(importlib.import_module(f"plugins.{name}"))])
def test_certificates_on_a_gpu(certificate: Callable[[Trial], float], dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    # TensorFloat-32 keeps three digits; a certificate is about the equation, not about that switch
    monkeypatch.setattr(torch.backends.cuda.matmul, "allow_tf32", False)
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    assert_holds(certificate, Trial(device="cuda", dtype=dtype))
