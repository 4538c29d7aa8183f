"""Blocks against the models of the transformers package, where it is installed: rotary, grouped heads, windows, caches, switch routing."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from engines.api import Site
from engines.toolbox.assembly import LanguageModel, Layer
from engines.toolbox.trials import zipf_vocabulary
from plugins.attention.full import Full
from plugins.attention.sliding_window import SlidingWindow
from plugins.embeddings.lookup import Lookup
from plugins.experts.switch import Switch
from plugins.feedforward.dense import Dense
from plugins.softmax.full import Full as FullSoftmax

transformers = pytest.importorskip("transformers", reason="the transformers package is only a reference")

NAMES = {
    "mixer.query": "self_attn.q_proj",
    "mixer.key": "self_attn.k_proj",
    "mixer.value": "self_attn.v_proj",
    "mixer.output": "self_attn.o_proj",
    "feedforward.network.gate": "mlp.gate_proj",
    "feedforward.network.inner": "mlp.up_proj",
    "feedforward.network.outer": "mlp.down_proj",
    "mixer_norm": "input_layernorm",
    "feedforward_norm": "post_attention_layernorm",
}


def theirs(window: int | None) -> nn.Module:
    sizes: dict[str, Any] = {
        "vocab_size": 60,
        "hidden_size": 16,
        "intermediate_size": 24,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "rms_norm_eps": torch.finfo(torch.float64).eps,
        "attn_implementation": "eager",
    }
    torch.manual_seed(0)
    if window is None:
        model = transformers.LlamaForCausalLM(transformers.LlamaConfig(**sizes))
    else:
        model = transformers.MistralForCausalLM(transformers.MistralConfig(**sizes, sliding_window=window))
    return model.double().eval()


def adjacent(weight: Tensor) -> Tensor:
    """Rows of a query or key matrix, from pairs (i, i + 2) of a head of 4 numbers, as theirs turn, to pairs (2i, 2i + 1), as ours do."""
    return weight.view(-1, 2, 2, weight.shape[-1]).transpose(1, 2).reshape_as(weight)


def ours(window: int | None, length: int, weights: Mapping[str, Tensor]) -> LanguageModel:
    """The same model from blocks, with the weights of theirs."""
    site = Site(width=16, vocabulary=zipf_vocabulary(60), length=length)
    attention = {"heads": 4, "kv_heads": 2}
    mixer = Full(**attention) if window is None else SlidingWindow(**attention, window=window)
    layers = [
        Layer(
            mixer.build(site),
            Dense(hidden=24, activation="swiglu").build(site),
            width=16,
            residual=True,
            feedforward_residual=True,
            norm="rms",
        )
        for _ in range(2)
    ]
    model = LanguageModel(Lookup(width=16).build(site), layers, FullSoftmax(bias=False).build(site), nn.RMSNorm(16), length=length).double()
    renamed = {"embedding.weight": "model.embed_tokens.weight", "final_norm.weight": "model.norm.weight", "head.output.weight": "lm_head.weight"}
    renamed |= {f"layers.{i}.{mine}.weight": f"model.layers.{i}.{other}.weight" for i in range(2) for mine, other in NAMES.items()}
    turned = ("q_proj.weight", "k_proj.weight")
    model.load_state_dict({mine: adjacent(weights[other]) if other.endswith(turned) else weights[other] for mine, other in renamed.items()})
    return model


@pytest.mark.parametrize("window", [None, 4])
def test_a_transformer_of_blocks_equals_llama_and_mistral(window: int | None) -> None:
    reference = theirs(window)
    model = ours(window, 19, reference.state_dict())
    ids_BT = torch.randint(60, (2, 19), generator=torch.Generator().manual_seed(1))
    expected_BTV = reference(ids_BT).logits.log_softmax(-1)
    x_BTD, _, _ = model.hidden(ids_BT)
    # their rotary angles and scores pass through float32
    torch.testing.assert_close(model.head.log_prob(x_BTD.flatten(0, 1)), expected_BTV.flatten(0, 1), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("window", [None, 4])
def test_token_by_token_with_the_cache_equals_them_at_once(window: int | None) -> None:
    reference = theirs(window)
    model = ours(window, 19, reference.state_dict()).eval()
    ids_BT = torch.randint(60, (2, 19), generator=torch.Generator().manual_seed(2))
    expected_BTV = reference(ids_BT).logits.log_softmax(-1)
    state = None
    for t in range(19):
        x_B1D, state, _ = model.hidden(ids_BT[:, t : t + 1], state)
        torch.testing.assert_close(model.head.log_prob(x_B1D[:, 0]), expected_BTV[:, t], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("capacity_factor", [0.6, 1.25, 4.0])
def test_switch_routes_and_drops_as_switch_transformers_does(capacity_factor: float) -> None:
    from transformers.models.switch_transformers import modeling_switch_transformers as peer

    torch.manual_seed(0)
    experts, length = 4, 25
    config = transformers.SwitchTransformersConfig(
        d_model=16,
        d_ff=24,
        num_experts=experts,
        expert_capacity=math.ceil(capacity_factor * length / experts),
        router_dtype="float32",
        router_jitter_noise=0.0,
        dropout_rate=0.0,
    )
    reference = peer.SwitchTransformersSparseMLP(config).train()
    block = Switch(experts=experts, capacity_factor=capacity_factor, hidden=24, activation="relu").build(
        Site(width=16, vocabulary=zipf_vocabulary(60), length=length)
    )
    block.train()
    with torch.no_grad():
        block.router.weight.copy_(reference.router.classifier.weight)
        for i, expert in enumerate(block.experts):
            expert.inner.weight.copy_(reference.experts[f"expert_{i}"].wi.weight)
            expert.outer.weight.copy_(reference.experts[f"expert_{i}"].wo.weight)
            expert.inner.bias.zero_()
            expert.outer.bias.zero_()
    x_1TD = torch.randn(1, length, 16, requires_grad=True)
    mine, other = block(x_1TD)[0], reference(x_1TD)
    torch.testing.assert_close(mine, other, rtol=1e-4, atol=1e-6)
    cotangent = torch.randn_like(mine)
    (a,), (b,) = torch.autograd.grad(mine, x_1TD, cotangent), torch.autograd.grad(other, x_1TD, cotangent)
    torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)
    if capacity_factor < 1:
        assert ((mine == 0).all(-1) == (other == 0).all(-1)).all()
        assert (mine == 0).all(-1).any()
