"""Linear attention."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from engines.api import Block, Site, Slot, Trial, certificate, param
from engines.toolbox import trials
from engines.toolbox.attention import head_width, join_heads, rotate, split_heads

EPSILON = 1e-6
State = tuple[Tensor, Tensor, Tensor]


class Linear(Block):
    """Linear attention

    Katharopoulos, Vyas, Pappas, Fleuret (2020), Transformers are RNNs; rotary as in Su et al. (2021), RoFormer, equation 19.

        f(x) = elu(x) + 1                                                   (1)
        y_t = sum_(s<=t) (R_t f(q_t))^T (R_s f(k_s)) v_s  /  sum_(s<=t) f(q_t)^T f(k_s)      (2)
        recurrent: S_t = S_(t-1) + R_t f(k_t) v_t^T, z_t = z_(t-1) + f(k_t)                  (3)
                   y_t = (R_t f(q_t))^T S_t / f(q_t)^T z_t                                   (4)
        in chunks of c tokens: S and z of the chunks before give one part, the c x c scores inside the chunk the other       (5)

    q, k, v (T, H, K), S (H, K, K), z (H, K); R_t turns pairs of numbers with t (the identity with positions = none) and is left out of the
    denominator, which stays positive. Training computes (5), which is (2) exactly; in evaluation the state (S, z, tokens summed) may be
    carried on, and starts again every `context` tokens, as sums longer than any in training would be. Sums are float32 at least.

    Cost: 4 D^2 weights, 8 D^2 + 4 D (c + K) floating point operations a token, whatever the length; a state of H K (K + 1) numbers instead of
    a cache that grows.
    Does nothing when: never; at lengths below about 2 (c + K) it saves nothing over attention/full.
    Parameters: heads, positions, context, chunk c.
    """

    paper: ClassVar[str] = "Katharopoulos et al., Transformers are RNNs, ICML 2020, https://arxiv.org/abs/2006.16236"
    slot: ClassVar[Slot] = "mixer"
    residual: ClassVar[bool] = True

    heads: int = param(4, "Heads; must divide the width.", symbol="H", ge=1, le=256)
    positions: Literal["rotary", "none"] = param("rotary", "How order is told: rotary (by distance) or not at all.")
    context: int | None = param(None, "Tokens after which the sums start again; default: the training length.", unit="tokens", ge=1, le=1_000_000)
    chunk: int = param(64, "Tokens whose scores are computed together; changes speed, not results.", unit="tokens", symbol="c", ge=1, le=4096)

    def build(self, site: Site) -> LinearAttention:
        return LinearAttention(site.width, self.heads, rotary=self.positions == "rotary", context=self.context or site.length, chunk=self.chunk)


def feature(x: Tensor) -> Tensor:
    """f of equation (1), in float32 at least: sums over thousands of tokens do not fit into half precision."""
    return F.elu(x if x.dtype == torch.float64 else x.float()) + 1.0


class LinearAttention(nn.Module):
    """(x_BTD, state) -> (y_BTD, state). In training the state is None: every segment starts from empty sums."""

    def __init__(self, width: int, heads: int, *, rotary: bool, context: int, chunk: int) -> None:
        super().__init__()
        head_width(width, heads, even=rotary)
        self.width, self.heads, self.rotary, self.context, self.chunk = width, heads, rotary, context, chunk
        self.query = nn.Linear(width, width, bias=False)
        self.key = nn.Linear(width, width, bias=False)
        self.value = nn.Linear(width, width, bias=False)
        self.output = nn.Linear(width, width, bias=False)

    def forward(self, x_BTD: Tensor, state: State | None) -> tuple[Tensor, State | None]:
        q, k, v = (split_heads(project(x_BTD), self.heads) for project in (self.query, self.key, self.value))
        fq, fk, v = feature(q), feature(k), v.to(torch.promote_types(v.dtype, torch.float32))  # (1)
        if self.training:
            state = None
        pieces: list[Tensor] = []
        start, length = 0, x_BTD.shape[1]
        while start < length:
            summed = 0 if state is None else int(state[2][0])
            if summed == self.context:
                state, summed = None, 0
            stop = min(length, start + self.context - summed)
            piece, state = self._continue(fq[:, :, start:stop], fk[:, :, start:stop], v[:, :, start:stop], state, summed)
            pieces.append(piece)
            start = stop
        y_BHTK = pieces[0] if len(pieces) == 1 else torch.cat(pieces, dim=2)
        return self.output(join_heads(y_BHTK).to(x_BTD.dtype)), None if self.training else state

    def _continue(self, fq: Tensor, fk: Tensor, v: Tensor, state: State | None, summed: int) -> tuple[Tensor, State]:
        """The tokens of one segment after `summed` earlier ones of it."""
        batch, heads, length, width = fk.shape
        if state is None:
            S_BHKV, z_BHK = fk.new_zeros(batch, heads, width, width), fk.new_zeros(batch, heads, width)
        else:
            S_BHKV, z_BHK, _ = state
        turned_q, turned_k = (rotate(fq, summed), rotate(fk, summed)) if self.rotary else (fq, fk)
        over, S_BHKV = causal_product(turned_q, turned_k, v, S_BHKV, self.chunk)
        total, z_BHK = causal_normaliser(fq, fk, z_BHK)
        counted = torch.full((batch,), summed + length, device="cpu")  # read on the host, so no accelerator has to be waited for
        return over / (total.unsqueeze(-1) + EPSILON), (S_BHKV, z_BHK, counted)


def causal_normaliser(fq_BHTK: Tensor, fk_BHTK: Tensor, z_BHK: Tensor) -> tuple[Tensor, Tensor]:
    """The denominator of (2), (B, H, T), and z after the last token."""
    z_BHTK = z_BHK.unsqueeze(2) + fk_BHTK.cumsum(dim=2)  # (3)
    return (fq_BHTK * z_BHTK).sum(dim=-1), z_BHTK[:, :, -1]


def causal_product(q_BHTK: Tensor, k_BHTK: Tensor, v_BHTV: Tensor, S_BHKV: Tensor, chunk: int) -> tuple[Tensor, Tensor]:
    """The numerator of (2) by (5), (B, H, T, V), and S after the last token. S_BHKV: what tokens before these have summed."""
    length = q_BHTK.shape[2]
    if length == 1:
        S_BHKV = S_BHKV + k_BHTK.transpose(-2, -1) @ v_BHTV  # (3)
        return q_BHTK @ S_BHKV, S_BHKV  # (4)
    chunk = min(chunk, length)
    chunks = -(-length // chunk)
    padding = (0, 0, 0, chunks * chunk - length)  # zero keys add nothing to the sums
    q, k, v = (torch.unflatten(F.pad(part, padding), 2, (chunks, chunk)) for part in (q_BHTK, k_BHTK, v_BHTV))  # (B, H, n, c, K)
    added = k.transpose(-2, -1) @ v  # what each chunk adds to S, (B, H, n, K, V)
    after = S_BHKV.unsqueeze(2) + added.cumsum(dim=2)
    before = torch.cat((S_BHKV.unsqueeze(2), after[:, :, :-1]), dim=2)
    inside = (q @ k.transpose(-2, -1)).tril()
    y = q @ before + inside @ v  # (5)
    return y.flatten(2, 3)[:, :, :length], after[:, :, -1]


def quadratic(fq: Tensor, fk: Tensor, v: Tensor, *, rotary: bool) -> Tensor:
    """Equation (2) with all T x T products: the reference."""
    turned = (rotate(fq, 0) @ rotate(fk, 0).mT) if rotary else fq @ fk.mT
    return (turned.tril() @ v) / ((fq @ fk.mT).tril().sum(-1, keepdim=True) + EPSILON)


@certificate("chunks equal the quadratic form of the same kernel, with and without rotary positions, gradients included", 1e-5)
def chunks_equal_quadratic(trial: Trial) -> float:
    with trials.seeded(trial):
        worst = 0.0
        for positions in ("rotary", "none"):
            for chunk in (1, 5, trial.length):
                block = Linear(heads=2, positions=positions, chunk=chunk).build(trials.site(trial))
                x_BTD = trials.hidden(trial)
                q, k, v = (split_heads(project(x_BTD), 2) for project in (block.query, block.key, block.value))
                y_BHTK = quadratic(feature(q), feature(k), v.to(torch.promote_types(v.dtype, torch.float32)), rotary=positions == "rotary")
                y_BTD = block.output(join_heads(y_BHTK).to(x_BTD.dtype))
                worst = max(worst, trials.difference(block(x_BTD, None)[0], y_BTD, [x_BTD, *block.parameters()]))
        return worst


@certificate("the recurrence, one token at a time, equals the sequence fed at once, past the context too", 1e-5)
def recurrence_equals_chunks(trial: Trial) -> float:
    with trials.seeded(trial):
        x_BTD = trials.hidden(trial)
        worst = 0.0
        for context in (trial.length, max(1, trial.length // 3)):
            block = Linear(heads=2, context=context, chunk=4).build(trials.site(trial)).eval()
            for lengths in ([1] * trial.length, trials.cut(trial.length)):
                worst = max(worst, trials.relative_error(trials.in_pieces(block, x_BTD, lengths), block(x_BTD, None)[0]))
        return worst
