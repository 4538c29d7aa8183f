"""What the attention mixers share: heads, rotary positions, causal attention over a band, the cache of keys and values.

Shapes: B rows, T new tokens, S keys (those of the cache and the new ones), H query heads, G key heads (H a multiple of G), K head width,
D = H K model width, w window: a token sees itself and the w - 1 tokens before it.
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Kernel = Literal["sdpa", "naive"]
Positions = Literal["rotary", "learned", "none"]
Cache = tuple[Tensor, Tensor]
"""Keys (before rotation) and values of the tokens that the next one may still see, both (B, G, S, K)."""


def split_heads(x_BTD: Tensor, heads: int) -> Tensor:
    """(B, T, H K) -> (B, H, T, K)."""
    return torch.unflatten(x_BTD, -1, (heads, -1)).transpose(1, 2)


def join_heads(x_BHTK: Tensor) -> Tensor:
    """(B, H, T, K) -> (B, T, H K)."""
    return x_BHTK.transpose(1, 2).flatten(2)


def head_width(width: int, heads: int, *, even: bool) -> int:
    """K = D / H. Raises ValueError with a sentence where the heads do not fit."""
    if width % heads:
        fitting = [h for h in range(1, min(width, 64) + 1) if width % h == 0]
        raise ValueError(f"{heads} heads do not divide the width {width}; heads that do: {', '.join(map(str, fitting))}.")
    if even and (width // heads) % 2:
        raise ValueError(
            f"Rotary positions turn pairs of numbers, but width {width} over {heads} heads leaves the odd head width {width // heads}; "
            "choose fewer heads, an even head width, or other positions."
        )
    return width // heads


def check_groups(heads: int, kv_heads: int | None) -> None:
    """Raises ValueError where the key heads do not divide the query heads."""
    if kv_heads is not None and heads % kv_heads:
        raise ValueError(f"kv_heads = {kv_heads} must divide heads = {heads}, so that every group has as many query heads.")


def rotate(x_BHTK: Tensor, first: int, base: float = 10_000.0) -> Tensor:
    """Rotary positions (Su et al. 2021, https://arxiv.org/abs/2104.09864): token first + t turns by t-dependent angles.

    Pair i of K/2, the numbers 2i and 2i + 1, turns by (first + t) base^(-2i/K), so that a product of a turned query and a turned key depends
    on their distance alone. A pair is one complex number and its turn one product: a third of the time that separate sines and cosines take.
    """
    steps, half = x_BHTK.shape[-2], x_BHTK.shape[-1] // 2
    precise = x_BHTK if x_BHTK.dtype == torch.float64 else x_BHTK.float()
    speed = base ** (-torch.arange(half, device=x_BHTK.device, dtype=precise.dtype) / half)
    angle_TK = torch.arange(first, first + steps, device=x_BHTK.device, dtype=precise.dtype)[:, None] * speed
    pairs = torch.view_as_complex(torch.unflatten(precise, -1, (half, 2)))
    turned = torch.view_as_real(pairs * torch.polar(torch.ones_like(angle_TK), angle_TK))
    return turned.flatten(-2).to(x_BHTK.dtype)


def band_mask(queries: int, keys: int, window: int, device: torch.device) -> Tensor:
    """Which key each query may see, bool (T, S): the last T keys are the queries' own, and key j is seen from i where 0 <= i - j < w."""
    i = torch.arange(keys - queries, keys, device=device)[:, None]
    j = torch.arange(keys, device=device)[None, :]
    return (j <= i) & (i - j < window)


def attend(q_BHTK: Tensor, k_BGSK: Tensor, v_BGSK: Tensor, mask_TS: Tensor | None, *, causal: bool, kernel: Kernel, dropout: float) -> Tensor:
    """softmax(q k^T / sqrt(K)) v, (B, H, T, K). mask_TS: True where seen; None: everything, or with `causal` (T = S) what is not later."""
    if kernel == "sdpa":
        grouped = q_BHTK.shape[1] != k_BGSK.shape[1]
        return F.scaled_dot_product_attention(
            q_BHTK, k_BGSK, v_BGSK, attn_mask=mask_TS, dropout_p=dropout, is_causal=causal and mask_TS is None, enable_gqa=grouped
        )
    repeats = q_BHTK.shape[1] // k_BGSK.shape[1]
    k_BHSK, v_BHSK = k_BGSK.repeat_interleave(repeats, dim=1), v_BGSK.repeat_interleave(repeats, dim=1)
    score_BHTS = q_BHTK @ k_BHSK.transpose(-2, -1) * q_BHTK.shape[-1] ** -0.5
    if causal and mask_TS is None:
        mask_TS = band_mask(q_BHTK.shape[2], k_BGSK.shape[2], k_BGSK.shape[2], q_BHTK.device)
    if mask_TS is not None:
        score_BHTS = score_BHTS.masked_fill(~mask_TS, float("-inf"))
    return F.dropout(score_BHTS.softmax(dim=-1), dropout) @ v_BHSK


def attend_blocks(q_BHTK: Tensor, k_BGSK: Tensor, v_BGSK: Tensor, window: int, *, kernel: Kernel, dropout: float) -> Tensor:
    """Attention over a band in time and memory linear in T: queries in blocks of w see their own block and the one before it.

    Equal to `attend` with `band_mask`. S - T keys at the front are a cache of at most w - 1.
    """
    batch, length = q_BHTK.shape[0], q_BHTK.shape[2]
    cached = k_BGSK.shape[2] - length
    blocks = -(-length // window)
    if blocks == 1:
        mask = band_mask(length, cached + length, window, q_BHTK.device)
        return attend(q_BHTK, k_BGSK, v_BGSK, mask, causal=True, kernel=kernel, dropout=dropout)
    ahead = cached + window
    first = attend_blocks(q_BHTK[:, :, :window], k_BGSK[:, :, :ahead], v_BGSK[:, :, :ahead], window, kernel=kernel, dropout=dropout)

    # what is padded lies in the future of every real query, so the band hides it
    padding = (0, 0, 0, blocks * window - length)
    q_nB, k_nB, v_nB = (
        torch.unflatten(F.pad(part, padding), 2, (blocks, window)).transpose(1, 2) for part in (q_BHTK, k_BGSK[:, :, cached:], v_BGSK[:, :, cached:])
    )  # (B, blocks, heads, w, K)
    k_pairs = torch.cat((k_nB[:, :-1], k_nB[:, 1:]), dim=3).flatten(0, 1)
    v_pairs = torch.cat((v_nB[:, :-1], v_nB[:, 1:]), dim=3).flatten(0, 1)
    mask = band_mask(window, 2 * window, window, q_BHTK.device)
    rest = attend(q_nB[:, 1:].flatten(0, 1), k_pairs, v_pairs, mask, causal=True, kernel=kernel, dropout=dropout)
    rest_BHTK = torch.unflatten(rest, 0, (batch, blocks - 1)).transpose(1, 2).flatten(2, 3)
    return torch.cat((first, rest_BHTK[:, :, : length - window]), dim=2)


def attend_band(q_BHTK: Tensor, k_BGSK: Tensor, v_BGSK: Tensor, window: int, *, kernel: Kernel, dropout: float) -> Tensor:
    """Causal attention over a band by the cheapest exact way: the causal kernel, one mask, or blocks."""
    length, keys = q_BHTK.shape[2], k_BGSK.shape[2]
    if length == keys and length <= window:
        return attend(q_BHTK, k_BGSK, v_BGSK, None, causal=True, kernel=kernel, dropout=dropout)
    if length == 1 and keys <= window:
        return attend(q_BHTK, k_BGSK, v_BGSK, None, causal=False, kernel=kernel, dropout=dropout)
    if length * keys > 2 * window * window * -(-length // window):  # scores that a full mask computes, that blocks compute
        return attend_blocks(q_BHTK, k_BGSK, v_BGSK, window, kernel=kernel, dropout=dropout)
    mask = band_mask(length, keys, window, q_BHTK.device)
    return attend(q_BHTK, k_BGSK, v_BGSK, mask, causal=True, kernel=kernel, dropout=dropout)


class SelfAttention(nn.Module):
    """(x_BTD, state) -> (y_BTD, state): causal attention over a window of w tokens.

    In training every call starts from nothing and the state is None: keys of a segment before this one would be those of older weights, cut
    from their gradient. In evaluation the state is a Cache, and a sequence fed in pieces gives what it gives at once.

    rotary, none: every token sees the w - 1 tokens before it, in the pieces before too; the cache holds w - 1 keys.
    learned: a table of w positions is added to what queries and keys are made of. Text is cut into segments of w tokens; a token sees its own
    segment, whose keys are the cache; after w tokens a new segment starts.
    """

    table: nn.Embedding | None

    def __init__(
        self, width: int, *, heads: int, kv_heads: int | None, window: int, positions: Positions, kernel: Kernel = "sdpa", dropout: float = 0.0
    ) -> None:
        super().__init__()
        per_head = head_width(width, heads, even=positions == "rotary")
        self.width, self.heads, self.kv_heads = width, heads, kv_heads or heads
        self.window, self.positions, self.kernel, self.dropout = window, positions, kernel, dropout
        self.query = nn.Linear(width, width, bias=False)
        self.key = nn.Linear(width, self.kv_heads * per_head, bias=False)
        self.value = nn.Linear(width, self.kv_heads * per_head, bias=False)
        self.output = nn.Linear(width, width, bias=False)
        self.table = None
        if positions == "learned":
            self.table = nn.Embedding(window, width)
            nn.init.normal_(self.table.weight, std=0.02)

    def forward(self, x_BTD: Tensor, state: Cache | None) -> tuple[Tensor, Cache | None]:
        cache = None if self.training else state
        if self.table is None:
            y_BTD, cache = self._continue(x_BTD, cache, 0)
            keep = cache[0].shape[2] - (self.window - 1)
            cache = (cache[0][:, :, max(0, keep) :], cache[1][:, :, max(0, keep) :])
        else:
            pieces, start = [], 0
            while start < x_BTD.shape[1]:
                used = 0 if cache is None else cache[0].shape[2]
                if used == self.window:
                    cache, used = None, 0
                piece = x_BTD[:, start : start + self.window - used]
                y_BTD, cache = self._continue(piece, cache, used)
                pieces.append(y_BTD)
                start += piece.shape[1]
            y_BTD = pieces[0] if len(pieces) == 1 else torch.cat(pieces, dim=1)
        return y_BTD, None if self.training else cache

    def _continue(self, x_BTD: Tensor, cache: Cache | None, used: int) -> tuple[Tensor, Cache]:
        """Attend from the new tokens to the cache and themselves; returns the outputs and all keys and values. used: learned positions taken."""
        placed_BTD = x_BTD
        if self.table is not None:
            placed_BTD = x_BTD + self.table(torch.arange(used, used + x_BTD.shape[1], device=x_BTD.device))
        q = split_heads(self.query(placed_BTD), self.heads)
        k = split_heads(self.key(placed_BTD), self.kv_heads)
        v = split_heads(self.value(x_BTD), self.kv_heads)
        if cache is not None:
            k, v = torch.cat((cache[0], k), dim=2), torch.cat((cache[1], v), dim=2)
        seen = (k, v)
        if self.positions == "rotary":
            # only distances count, so positions are counted from the oldest key held
            q, k = rotate(q, k.shape[2] - q.shape[2]), rotate(k, 0)
        y = attend_band(q, k, v, self.window, kernel=self.kernel, dropout=self.dropout if self.training else 0.0)
        return self.output(join_heads(y)), seen
