"""Attention over a sliding window."""

from __future__ import annotations

from typing import ClassVar, Literal, Self

import torch
from pydantic import model_validator

from engines.api import Block, Site, Slot, Trial, certificate, param
from engines.toolbox import trials
from engines.toolbox.attention import Kernel, SelfAttention, attend, attend_blocks, band_mask, check_groups


class SlidingWindow(Block):
    """Sliding-window attention

    Beltagy, Peters, Cohan (2020), Longformer: the long-document transformer (the causal half of its window).

        a_ts = softmax over t - w < s <= t of q_t^T k_s / sqrt(K)           (1)
        y_t = W_o concat over heads of sum_s a_ts v_s                       (2)

    q (T, H, K), k and v (T, G, K); w window: a token sees itself and w - 1 tokens before it, L layers together L (w - 1) before it.
    Queries are cut into blocks of w; a block attends to itself and the block before, so nothing of size T x T is made. The cache carried on
    in evaluation holds w - 1 keys and values; training segments never see an earlier segment.

    Cost: 4 D^2 weights, 8 D^2 + 8 D w floating point operations a token, linear in T (half of the 2 w scores of a block lie outside the window).
    Does nothing when: window >= training length; then it is attention/full, with the same numbers. Below about twice the window a fused
    full attention is as fast.
    Parameters: window w, heads, kv_heads, positions, kernel, dropout on a_ts.
    """

    paper: ClassVar[str] = "Beltagy et al., Longformer: the long-document transformer, 2020, https://arxiv.org/abs/2004.05150"
    slot: ClassVar[Slot] = "mixer"
    residual: ClassVar[bool] = True

    window: int = param(64, "Tokens that one token sees, itself included.", unit="tokens", symbol="w", ge=1, le=65536)
    heads: int = param(4, "Query heads; must divide the width.", symbol="H", ge=1, le=256)
    kv_heads: int | None = param(None, "Key and value heads, shared by groups of query heads; default: as many as heads.", symbol="G", ge=1, le=256)
    positions: Literal["rotary", "none"] = param("rotary", "How order is told: rotary (by distance) or not at all.")
    kernel: Kernel = param("sdpa", "sdpa: torch's fused kernels inside a block; naive: every score of a block is held.")
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
            window=self.window,
            positions=self.positions,
            kernel=self.kernel,
            dropout=self.dropout,
        )


@certificate("window >= length equals full attention, gradients included", 1e-5)
def whole_window_equals_full(trial: Trial) -> float:
    with trials.seeded(trial):
        q, k, v = (torch.randn(trial.batch, 2, trial.length, trial.width).requires_grad_() for _ in range(3))
        full = attend(q, k, v, None, causal=True, kernel="naive", dropout=0.0)
        return max(
            trials.difference(attend_blocks(q, k, v, window, kernel="sdpa", dropout=0.0), full, [q, k, v])
            for window in (trial.length, trial.length + 3)
        )


@certificate("blocks equal full attention under the window's mask, for windows from 1 to length, gradients included", 1e-5)
def blocks_equal_mask(trial: Trial) -> float:
    with trials.seeded(trial):
        q, k, v = (torch.randn(trial.batch, 2, trial.length, trial.width).requires_grad_() for _ in range(3))
        worst = 0.0
        for window in sorted({1, 2, 3, max(1, trial.length // 4), max(1, trial.length // 2), trial.length}):
            mask = band_mask(trial.length, trial.length, window, q.device)
            reference = attend(q, k, v, mask, causal=True, kernel="naive", dropout=0.0)
            worst = max(worst, trials.difference(attend_blocks(q, k, v, window, kernel="sdpa", dropout=0.0), reference, [q, k, v]))
        return worst


@certificate("a sequence fed in pieces with the cache equals the sequence fed at once", 1e-5)
def pieces_equal_whole(trial: Trial) -> float:
    with trials.seeded(trial):
        x_BTD = trials.hidden(trial)
        worst = 0.0
        for window in (1, 5, trial.length):
            block = SlidingWindow(window=window, heads=2).build(trials.site(trial)).eval()
            pieces = trials.in_pieces(block, x_BTD, trials.cut(trial.length))
            worst = max(worst, trials.relative_error(pieces, block(x_BTD, None)[0]))
        return worst
