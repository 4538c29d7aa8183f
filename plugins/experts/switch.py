"""Switch experts: each token through one of many feed-forward networks."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from engines.api import Block, Site, Slot, Trial, certificate, param
from engines.toolbox import trials
from engines.toolbox.feedforward import Activation, FeedForward, hidden_width


class Switch(Block):
    """Switch experts

    Fedus, Zoph, Shazeer (2022), Switch transformers: scaling to trillion parameter models with simple and efficient sparsity.

        p = softmax(W_r x)                                                  (1)
        e = argmax p,  y = p_e E_e(x)                                       (2)
        C = ceil(capacity_factor N / n): tokens that one expert takes in a training step       (3)
        auxiliary = coefficient n sum_e f_e P_e,  f_e share of tokens sent to e, P_e mean of p_e      (4)

    N tokens of a step, n experts, W_r (n, D), E_e a feed-forward network. Tokens beyond an expert's capacity get y = 0: the layer's residual
    carries them on. Places are given in order of time, so that no token is displaced by a later one of any row. In evaluation nothing is
    dropped, so that a result does not depend on what else is in the batch. (4) without its coefficient is 1 at perfect balance, n when one
    expert gets everything; the routing probabilities are float32. extras: auxiliary, load (tokens sent to each expert, before dropping).

    Cost: n times the weights of feedforward/dense and its operations a token (times the capacity used), plus 2 n D for routing, a sort and
    two gathers; with few tokens a step the experts' small products are slower than one large one.
    Does nothing when: experts = 1; then p = 1 and it is feedforward/dense (with capacity_factor >= 1).
    Parameters: experts n, capacity_factor, coefficient, jitter (W_r x reads x times a uniform number in 1 +- jitter), hidden H, activation.
    """

    paper: ClassVar[str] = "Fedus et al., Switch transformers, JMLR 2022, https://arxiv.org/abs/2101.03961"
    slot: ClassVar[Slot] = "feedforward"
    residual: ClassVar[bool] = True

    experts: int = param(4, "Feed-forward networks to choose from.", symbol="n", ge=1, le=1024)
    capacity_factor: float = param(1.25, "Tokens an expert takes in training, as a multiple of an even share.", gt=0.0, le=1024.0)
    coefficient: float = param(0.01, "Weight of the balancing loss.", ge=0.0, le=10.0)
    jitter: float = param(0.0, "Half-width of the random factor on the router's input in training.", ge=0.0, lt=1.0)
    hidden: int | None = param(None, "Inner width of each expert; default as in feedforward/dense.", symbol="H", ge=1, le=65536)
    activation: Activation = param("gelu", "Nonlinearity of the experts.")

    def build(self, site: Site) -> SwitchFeedForward:
        return SwitchFeedForward(
            site.width,
            [FeedForward(site.width, hidden_width(site.width, self.hidden, self.activation), self.activation) for _ in range(self.experts)],
            capacity_factor=self.capacity_factor,
            coefficient=self.coefficient,
            jitter=self.jitter,
        )


class SwitchFeedForward(nn.Module):
    """(x_BTD) -> (y_BTD, {"auxiliary": scalar, "load": (n,)})."""

    def __init__(self, width: int, experts: list[FeedForward], *, capacity_factor: float, coefficient: float, jitter: float) -> None:
        super().__init__()
        self.width, self.capacity_factor, self.coefficient, self.jitter = width, capacity_factor, coefficient, jitter
        self.router = nn.Linear(width, len(experts), bias=False)
        self.experts = nn.ModuleList(experts)

    def forward(self, x_BTD: Tensor) -> tuple[Tensor, dict[str, Any]]:
        batch, length, _ = x_BTD.shape
        x_ND = x_BTD.transpose(0, 1).flatten(0, 1)  # in order of time
        p_Nn = self.route(x_ND)
        gate_N, expert_N = p_Nn.max(dim=-1)  # (2)
        load_n = torch.zeros(len(self.experts), device=x_ND.device, dtype=torch.int64).index_add(0, expert_N, torch.ones_like(expert_N))
        auxiliary = len(self.experts) * (load_n / len(x_ND) * p_Nn.mean(dim=0)).sum()  # (4)

        capacity = math.ceil(self.capacity_factor * len(x_ND) / len(self.experts)) if self.training else len(x_ND)  # (3)
        order_N = expert_N.argsort(stable=True)
        rows, results = [], []
        for expert, mine in zip(self.experts, torch.split(order_N, self.shares(load_n, len(x_ND))), strict=True):
            kept = mine[:capacity]
            if len(kept):
                rows.append(kept)
                results.append(expert(x_ND[kept]))
        taken = torch.cat(rows)
        y_KD = torch.cat(results)
        y_ND = y_KD.new_zeros(x_ND.shape).index_copy(0, taken, y_KD * gate_N[taken].unsqueeze(1).to(y_KD.dtype))
        y_BTD = y_ND.view(length, batch, self.width).transpose(0, 1)
        return y_BTD, {"auxiliary": self.coefficient * auxiliary, "load": load_n}

    def route(self, x_ND: Tensor) -> Tensor:
        """(1), (N, n), float32 at least."""
        if self.training and self.jitter:
            x_ND = x_ND * torch.empty_like(x_ND).uniform_(1.0 - self.jitter, 1.0 + self.jitter)
        if x_ND.is_meta or not torch.is_autocast_enabled(x_ND.device.type):  # the meta device knows no autocast
            logits = self.router(x_ND)
        else:
            with torch.autocast(x_ND.device.type, enabled=False):
                logits = self.router(x_ND.float())
        return torch.softmax(logits if logits.dtype == torch.float64 else logits.float(), dim=-1)

    def shares(self, load_n: Tensor, tokens: int) -> list[int]:
        """How many tokens each expert was sent, on the host. On the meta device, where only shapes exist, an even spread stands in."""
        if load_n.is_meta:
            even, more = divmod(tokens, len(self.experts))
            return [even + (i < more) for i in range(len(self.experts))]
        return [int(count) for count in load_n.tolist()]


@certificate("one expert with enough capacity equals its dense feed-forward network, gradients included", 1e-5)
def one_expert_equals_dense(trial: Trial) -> float:
    with trials.seeded(trial):
        block = Switch(experts=1, capacity_factor=1.0).build(trials.site(trial))
        x_BTD = trials.hidden(trial)
        return trials.difference(block(x_BTD)[0], block.experts[0](x_BTD), [x_BTD, *block.experts.parameters()])


@certificate("sorting and gathering equals every token by itself through its expert times its gate, gradients included", 1e-5)
def equals_token_by_token(trial: Trial) -> float:
    with trials.seeded(trial):
        block = Switch(experts=3, capacity_factor=3.0).build(trials.site(trial))
        x_BTD = trials.hidden(trial)
        p_BTn = (x_BTD @ block.router.weight.T).softmax(dim=-1)  # (1)
        gate_BT, chosen_BT = p_BTn.max(dim=-1)
        y_BTD = torch.stack(
            [
                torch.stack([gate_BT[b, t] * block.experts[int(chosen_BT[b, t])](x_BTD[b, t]) for t in range(trial.length)])  # (2)
                for b in range(trial.batch)
            ]
        )
        used = [p for e in sorted(set(chosen_BT.flatten().tolist())) for p in block.experts[e].parameters()]
        return trials.difference(block(x_BTD)[0], y_BTD, [x_BTD, block.router.weight, *used])


@certificate("the balancing loss is 1 when tokens spread evenly, and the number of experts when all go to one", 1e-5)
def balance_has_its_limits(trial: Trial) -> float:
    with trials.seeded(trial):
        experts = 4
        even_ND = 50.0 * torch.eye(experts).repeat(trial.length, 1)
        block = Switch(experts=experts, coefficient=1.0, hidden=4).build(trials.site(trial, width=experts))
        with torch.no_grad():
            block.router.weight.copy_(torch.eye(experts))
        even: float = block(even_ND.unsqueeze(0))[1]["auxiliary"].item()
        single: float = block(even_ND[:1].expand(trial.length, experts).unsqueeze(0))[1]["auxiliary"].item()
        return max(abs(even - 1.0), abs(single / experts - 1.0))
