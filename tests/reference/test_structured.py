"""pruning/structured on feed-forward networks and attention that transformers wrote (BERT's, Llama's), against masks of torch.nn.utils.prune."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.utils import prune

from engines.toolbox.parts import parts_of
from engines.toolbox.slicing import narrow

transformers = pytest.importorskip("transformers")


def bert() -> tuple[nn.Module, str, Any]:
    config = transformers.BertConfig(hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=40, vocab_size=30)
    config.hidden_dropout_prob = config.attention_probs_dropout_prob = 0.0
    return transformers.BertModel(config), "output.dense", lambda model, ids: model(input_ids=ids).last_hidden_state


def llama() -> tuple[nn.Module, str, Any]:
    config = transformers.LlamaConfig(
        hidden_size=16, num_hidden_layers=2, num_attention_heads=2, num_key_value_heads=1, intermediate_size=40, vocab_size=30
    )
    return transformers.LlamaModel(config), "down_proj", lambda model, ids: model(input_ids=ids).last_hidden_state


def grouped() -> tuple[nn.Module, str, Any]:
    """Four heads of queries under two of keys."""
    config = transformers.LlamaConfig(
        hidden_size=32, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2, intermediate_size=40, vocab_size=30
    )
    return transformers.LlamaModel(config), "", lambda model, ids: model(input_ids=ids).last_hidden_state


@pytest.mark.parametrize("make", [bert, llama])
def test_cut_neurons_equal_masked_ones(make: Any) -> None:
    torch.manual_seed(0)
    model, reader, run = make()
    model = model.double().eval()
    masked = copy.deepcopy(model)
    parts = [part for part in parts_of(model).parts if part.kind == "neurons"]
    assert [part.units for part in parts] == [40, 40]
    kept = torch.arange(0, 40, 5)
    for part in parts:
        linear = masked.get_submodule(f"{part.name}.{reader}")
        columns = torch.zeros_like(linear.weight)
        columns[:, kept] = 1
        prune.custom_from_mask(linear, "weight", columns)
        narrow(model, part, kept)
    ids = torch.arange(12).view(2, 6)
    torch.testing.assert_close(run(model, ids), run(masked, ids), rtol=0, atol=1e-12)
    assert sum(p.numel() for p in model.parameters()) < sum(p.numel() for p in masked.parameters())


@pytest.mark.parametrize(("make", "reader", "groups", "queries"), [(bert, "output.dense", 2, 1), (grouped, "o_proj", 2, 2)])
def test_cut_heads_equal_masked_ones(make: Any, reader: str, groups: int, queries: int) -> None:
    """Where queries share keys, all queries of a key go with it."""
    torch.manual_seed(0)
    model, _, run = make()
    model = model.double().eval()
    masked, parts = copy.deepcopy(model), [part for part in parts_of(model).parts if part.kind == "heads"]
    assert [(part.units, part.columns) for part in parts] == [(groups, queries * 8)] * 2
    for part in parts:
        linear = masked.get_submodule(f"{part.name}.{reader}")
        columns = torch.ones_like(linear.weight)
        columns[:, : queries * 8] = 0
        prune.custom_from_mask(linear, "weight", columns)
        narrow(model, part, torch.tensor([1]))
    ids = torch.arange(12).view(2, 6)
    torch.testing.assert_close(run(model, ids), run(masked, ids), rtol=0, atol=1e-12)
    assert sum(p.numel() for p in model.parameters()) < sum(p.numel() for p in masked.parameters())
