"""Full causal self-attention."""

from __future__ import annotations

from typing import ClassVar, Self

import torch
from pydantic import model_validator

from engines.api import Block, Site, Slot, Trial, certificate, param
from engines.toolbox import trials
from engines.toolbox.attention import Kernel, Positions, SelfAttention, check_groups, rotate, split_heads


class Full(Block):
    """Full attention

    Vaswani et al. (2017), Attention is all you need; kernel: Dao et al. (2022), FlashAttention; rotary: Su et al. (2021), RoFormer;
    grouped: Ainslie et al. (2023), GQA; learned positions on queries and keys alone: Press, Smith, Lewis (2021), Shortformer.

        q_t = W_q x_t, k_t = W_k x_t, v_t = W_v x_t                         (1)
        a_ts = softmax over s <= t of (R_t q_t)^T (R_s k_s) / sqrt(K)       (2)
        y_t = W_o concat over heads of sum_s a_ts v_s                       (3)

    x, y (T, D); q (T, H, K), k and v (T, G, K) with H heads, G key heads, K = D / H; R_t turns pairs of numbers by angles that grow with t.
    In evaluation the keys and values of the last `context` tokens may be carried on; training segments never see an earlier segment.

    Cost: 4 D^2 weights (fewer with grouped heads), 8 D^2 + 4 D T floating point operations a token at length T; the naive kernel also holds
    H T scores a token, the fused one does not.
    Does nothing when: never. kernel changes speed and memory, not results; kv_heads = heads is plain multi-head attention.
    Parameters: heads, kv_heads, positions, context, kernel, dropout on a_ts.
    """

    paper: ClassVar[str] = "Vaswani et al., Attention is all you need, NeurIPS 2017, https://arxiv.org/abs/1706.03762"
    slot: ClassVar[Slot] = "mixer"
    residual: ClassVar[bool] = True

    heads: int = param(4, "Query heads; must divide the width.", symbol="H", ge=1, le=256)
    kv_heads: int | None = param(None, "Key and value heads, shared by groups of query heads; default: as many as heads.", symbol="G", ge=1, le=256)
    positions: Positions = param("rotary", "How order is told: rotary (by distance), learned (a table of `context` places), none.")
    context: int | None = param(
        None, "Tokens that one token may see, itself included; default: the training length.", unit="tokens", ge=1, le=1_000_000
    )
    kernel: Kernel = param("sdpa", "sdpa: torch's fused kernels, linear memory where they exist; naive: every score is held.")
    dropout: float = param(0.0, "Share of the attention weights set to zero in training.", ge=0.0, lt=1.0)

    @model_validator(mode="after")
    def _groups_fit(self) -> Self:
        check_groups(self.heads, self.kv_heads)
        return self

    def build(self, site: Site) -> SelfAttention:
        return SelfAttention(
            site.width,
            heads=self.heads,
            kv_heads=self.kv_heads,
            window=self.context or site.length,
            positions=self.positions,
            kernel=self.kernel,
            dropout=self.dropout,
        )


@certificate("equations (1) to (3) written out token by token, gradients included", 1e-5)
def equals_definition(trial: Trial) -> float:
    with trials.seeded(trial):
        block = Full(heads=2).build(trials.site(trial))
        x_BTD = trials.hidden(trial)
        q, k, v = (split_heads(project(x_BTD), 2) for project in (block.query, block.key, block.value))  # (1)
        q, k = rotate(q, 0), rotate(k, 0)
        rows = []
        for t in range(trial.length):
            score_BHS = (k[:, :, : t + 1] * q[:, :, t : t + 1]).sum(-1) / q.shape[-1] ** 0.5
            a_BHS = score_BHS.exp() / score_BHS.exp().sum(-1, keepdim=True)  # (2)
            rows.append((a_BHS[..., None] * v[:, :, : t + 1]).sum(2).flatten(1))
        y_BTD = torch.stack(rows, dim=1) @ block.output.weight.T  # (3)
        return trials.difference(block(x_BTD, None)[0], y_BTD, [x_BTD, *block.parameters()])


@certificate("the fused kernel equals the naive one, grouped heads and gradients included", 1e-5)
def fused_equals_naive(trial: Trial) -> float:
    with trials.seeded(trial):
        fused = Full(heads=4, kv_heads=2).build(trials.site(trial))
        naive = Full(heads=4, kv_heads=2, kernel="naive").build(trials.site(trial))
        naive.load_state_dict(fused.state_dict())
        x_BTD = trials.hidden(trial)
        y_BTD, reference_BTD = fused(x_BTD, None)[0], naive(x_BTD, None)[0]
        cotangent = torch.randn_like(y_BTD)
        ours = torch.autograd.grad(y_BTD, [x_BTD, *fused.parameters()], cotangent)
        theirs = torch.autograd.grad(reference_BTD, [x_BTD, *naive.parameters()], cotangent)
        errors = [trials.relative_error(a, b) for a, b in zip(ours, theirs, strict=True)]
        return max(trials.relative_error(y_BTD, reference_BTD), *errors)


@certificate("a sequence fed in pieces with the cache equals the sequence fed at once, for every kind of positions, past the context too", 1e-5)
def pieces_equal_whole(trial: Trial) -> float:
    with trials.seeded(trial):
        worst = 0.0
        x_BTD = trials.hidden(trial)
        kinds: tuple[Positions, ...] = ("rotary", "learned", "none")
        for positions in kinds:
            for context in (trial.length, max(1, trial.length // 3)):
                block = Full(heads=2, positions=positions, context=context).build(trials.site(trial)).eval()
                pieces = trials.in_pieces(block, x_BTD, trials.cut(trial.length))
                worst = max(worst, trials.relative_error(pieces, block(x_BTD, None)[0]))
        return worst
