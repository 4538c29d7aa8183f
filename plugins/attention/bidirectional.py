"""Self-attention that sees the whole text."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from engines.api import Block, Site, Slot, Trial, certificate, param
from engines.toolbox import trials
from engines.toolbox.attention import Kernel, Positions, attend, head_width, join_heads, rotate, split_heads


class Bidirectional(Block):
    """Bidirectional attention

    Vaswani et al. (2017), the encoder of Attention is all you need; for whole texts, Devlin et al. (2019), BERT; rotary: Su et al. (2021).

        q_t = W_q x_t, k_t = W_k x_t, v_t = W_v x_t                         (1)
        a_ts = softmax over all tokens s of (R_t q_t)^T (R_s k_s) / sqrt(K) (2)
        y_t = W_o concat over heads of sum_s a_ts v_s                       (3)

    x, y (T, D); q, k, v (T, H, K) with H heads, K = D / H; R_t turns pairs of numbers by angles that grow with t. What is padding is no s in
    (2). A token sees those after it, so this mixer is for tasks on whole texts (`tasks/text_classification`); it carries no state.

    Cost: 4 D^2 weights, 8 D^2 + 4 D T floating point operations a token at length T: twice the scores of causal attention. The naive kernel
    also holds H T scores a token.
    Does nothing when: never. kernel changes speed and memory, not results.
    Parameters: heads, positions, kernel, dropout on a_ts.
    """

    paper: ClassVar[str] = "Devlin et al., BERT, NAACL 2019, https://arxiv.org/abs/1810.04805"
    slot: ClassVar[Slot] = "mixer"
    residual: ClassVar[bool] = True
    causal: ClassVar[bool] = False

    heads: int = param(4, "Heads; must divide the width.", symbol="H", ge=1, le=256)
    positions: Positions = param("rotary", "How order is told: rotary (by distance), learned (a table of the training length), none.")
    kernel: Kernel = param("sdpa", "sdpa: torch's fused kernels; naive: every score is held.")
    dropout: float = param(0.0, "Share of the attention weights set to zero in training.", ge=0.0, lt=1.0)

    def build(self, site: Site) -> WholeAttention:
        return WholeAttention(
            site.width, heads=self.heads, length=site.length, positions=self.positions, kernel=self.kernel, dropout=self.dropout
        )  # fmt: skip


class WholeAttention(nn.Module):
    """(x_BTD, state, present_BT) -> (y_BTD, None): every token sees every token that is there. state is not read: nothing is carried."""

    causal = False
    tells_scores = True
    """What its queries and keys give is all that its softmax sees (engines.toolbox.taps)."""
    table: nn.Embedding | None

    def __init__(self, width: int, *, heads: int, length: int, positions: Positions, kernel: Kernel, dropout: float) -> None:
        super().__init__()
        head_width(width, heads, even=positions == "rotary")
        self.width, self.heads, self.length, self.positions, self.kernel, self.dropout = width, heads, length, positions, kernel, dropout
        self.query = nn.Linear(width, width, bias=False)
        self.key = nn.Linear(width, width, bias=False)
        self.value = nn.Linear(width, width, bias=False)
        self.output = nn.Linear(width, width, bias=False)
        self.table = None
        if positions == "learned":
            self.table = nn.Embedding(length, width)
            nn.init.normal_(self.table.weight, std=0.02)

    def forward(self, x_BTD: Tensor, state: None = None, present_BT: Tensor | None = None) -> tuple[Tensor, None]:
        placed_BTD = x_BTD
        if self.table is not None:
            if x_BTD.shape[1] > self.length:
                raise ValueError(f"A text of {x_BTD.shape[1]} tokens is longer than the {self.length} learned positions: use rotary ones.")
            placed_BTD = x_BTD + self.table(torch.arange(x_BTD.shape[1], device=x_BTD.device))
        q, k = split_heads(self.query(placed_BTD), self.heads), split_heads(self.key(placed_BTD), self.heads)  # (1)
        v = split_heads(self.value(x_BTD), self.heads)
        if self.positions == "rotary":
            q, k = rotate(q, 0), rotate(k, 0)
        seen_B11S = None if present_BT is None else present_BT[:, None, None, :]
        y_BHTK = attend(q, k, v, seen_B11S, causal=False, kernel=self.kernel, dropout=self.dropout if self.training else 0.0)  # (2)
        return self.output(join_heads(y_BHTK)), None  # (3)


@certificate("equations (1) to (3) written out token by token, padding left out, gradients included", 1e-5)
def equals_definition(trial: Trial) -> float:
    with trials.seeded(trial):
        block = Bidirectional(heads=2).build(trials.site(trial))
        x_BTD = trials.hidden(trial)
        kept = max(1, trial.length - 2)
        present_BT = (torch.arange(trial.length) < kept).expand(trial.batch, -1)
        q, k, v = (split_heads(project(x_BTD), 2) for project in (block.query, block.key, block.value))  # (1)
        q, k = rotate(q, 0), rotate(k, 0)
        rows = []
        for t in range(trial.length):
            score_BHS = (k[:, :, :kept] * q[:, :, t : t + 1]).sum(-1) / q.shape[-1] ** 0.5
            a_BHS = score_BHS.exp() / score_BHS.exp().sum(-1, keepdim=True)  # (2)
            rows.append((a_BHS[..., None] * v[:, :, :kept]).sum(2).flatten(1))
        y_BTD = torch.stack(rows, dim=1) @ block.output.weight.T  # (3)
        return trials.difference(block(x_BTD, None, present_BT)[0], y_BTD, [x_BTD, *block.parameters()])


@certificate("a padded text equals the text alone, for every kind of positions and both kernels, gradients included", 1e-5)
def padding_changes_nothing(trial: Trial) -> float:
    with trials.seeded(trial):
        worst = 0.0
        x_BTD = trials.hidden(trial)
        padded_BSD = torch.cat((x_BTD, 1e3 * torch.randn(trial.batch, 5, trial.width)), dim=1)
        present_BS = (torch.arange(trial.length + 5) < trial.length).expand(trial.batch, -1)
        kinds: tuple[Positions, ...] = ("rotary", "learned", "none")
        kernels: tuple[Kernel, ...] = ("sdpa", "naive")
        for positions in kinds:
            for kernel in kernels:
                block = WholeAttention(trial.width, heads=2, length=trial.length + 5, positions=positions, kernel=kernel, dropout=0.0)
                padded_BTD = block(padded_BSD, None, present_BS)[0][:, : trial.length]
                worst = max(worst, trials.difference(padded_BTD, block(x_BTD, None)[0], [x_BTD, *block.query.parameters()]))
        return worst
