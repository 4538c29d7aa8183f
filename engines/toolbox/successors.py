"""A proposal that looks at the token before: what followed it of late, mixed with a proposal for all.

Shapes: N rows, S sampled tokens of a row, V vocabulary size, R successors remembered of each token.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from engines.toolbox.heads import IGNORED
from engines.toolbox.proposals import Independent


class Successors(nn.Module):
    """q(w | v) = share * (how often w is among the last R tokens that followed v) / (how many are remembered) + (1 - share) q(w).

    Where nothing has followed v yet, q(w) alone. A bigram model that is counted while it is used, and forgets: what matters is that q(w | v) is
    known exactly and was fixed before the targets it is used on, not that it is a good model.
    last_VR: successors of each token, in a ring; seen_V: how many there were. Both are in the state_dict, so that training that goes on draws
    what it would have drawn.
    """

    last_VR: Tensor
    seen_V: Tensor

    def __init__(self, others: Independent, memory: int, share: float) -> None:
        super().__init__()
        self.others, self.memory, self.share = others, memory, share
        size = len(others.log_expected_V)
        self.register_buffer("last_VR", torch.zeros(size, memory, dtype=torch.int32))
        self.register_buffer("seen_V", torch.zeros(size, dtype=torch.int64))

    def draw(self, before_N: Tensor) -> Tensor:
        """Ids for each row, (N, S), independent and with repetition. before_N: the token before each target."""
        other_NS = self.others.draw(len(before_N))
        held_N1 = self.seen_V[before_N].clamp(max=self.memory).unsqueeze(1)
        coin_NS, place_NS = torch.rand(2, *other_NS.shape, device=other_NS.device)
        slot_NS = (place_NS * held_N1).long().clamp(max=self.memory - 1)
        followed_NS = self.last_VR[before_N].gather(1, slot_NS).long()
        return torch.where((coin_NS < self.share) & (held_N1 > 0), followed_NS, other_NS)

    def log_expected(self, before_N: Tensor, ids_NS: Tensor) -> Tensor:
        """log(k q(id | before)), how often each id is expected in its row's sample, (N, S)."""
        held_N1 = self.seen_V[before_N].clamp(max=self.memory).unsqueeze(1)
        there_NR = torch.arange(self.memory, device=ids_NS.device) < held_N1
        last_NR = self.last_VR[before_N].masked_fill(~there_NR, -1)
        times_NS = (last_NR.unsqueeze(1) == ids_NS.unsqueeze(2)).sum(dim=2)
        other_NS = self.others.log_expected_V[ids_NS]
        mixed_NS = self.share * self.others.k * times_NS / held_N1.clamp(min=1) + (1 - self.share) * other_NS.exp()
        return torch.where(held_N1 > 0, mixed_NS.log(), other_NS)

    @torch.no_grad()
    def learn(self, before_N: Tensor, target_N: Tensor) -> None:
        """Remember that each target followed the token before it, in the order of the rows; ignored targets are none."""
        kept_N = target_N != IGNORED
        before_M, order_M = before_N[kept_N].sort(stable=True)
        target_M = target_N[kept_N][order_M]
        new_V = torch.bincount(before_M, minlength=len(self.seen_V))
        first_M = (new_V.cumsum(0) - new_V)[before_M]
        turn_M = torch.arange(len(before_M), device=before_M.device) - first_M
        last_M = turn_M >= new_V[before_M] - self.memory  # earlier ones would be overwritten at once
        place_M = (self.seen_V[before_M] + turn_M) % self.memory
        self.last_VR[before_M[last_M], place_M[last_M]] = target_M[last_M].to(self.last_VR.dtype)
        self.seen_V += new_V
