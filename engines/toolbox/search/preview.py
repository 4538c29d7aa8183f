"""A cheap preview of all scores by their leading dimensions, exact scores of the best, and an estimate of log Z.

Shim, Lee, Choi, Boo, Sung (2017), SVD-softmax, NIPS; here of W C^(1/2) in place of W, so that what is kept is what real hidden states see.
Shapes: V rows, E width, k leading dimensions, N candidates a query (Q queries here, since N is the paper's).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from engines.toolbox.precise import at_least_float32
from engines.toolbox.search.index import Found, Index, exact_scores, in_rows

RIDGE = 1e-6
"""Share of the mean second moment that every direction is taken to have at least: few calibration texts leave some without any."""


class Preview(Index):
    """B_Vk (rows in the leading k dimensions) and P_kE (the map of queries into them)."""

    B_Vk: Tensor
    P_kE: Tensor

    def __init__(self, dimensions: int, candidates: int) -> None:
        super().__init__()
        self.dimensions, self.candidates = dimensions, candidates
        self.register_buffer("B_Vk", torch.empty(0))
        self.register_buffer("P_kE", torch.empty(0))

    @torch.no_grad()
    def refresh(self, W_VE: Tensor, b_V: Tensor | None = None, C_EE: Tensor | None = None) -> None:
        """W C^(1/2) = U S V^T by the eigenvectors of its E x E product; without C as if hidden states were alike in all directions."""
        width = W_VE.shape[1]
        k = min(self.dimensions, width)
        W, eye_EE = W_VE.detach().double(), torch.eye(width, dtype=torch.float64, device=W_VE.device)
        C = eye_EE if C_EE is None else C_EE.to(W)
        moment_E, axes_EE = torch.linalg.eigh(C + RIDGE * C.diagonal().mean() * eye_EE)
        root_E = moment_E.clamp(min=torch.finfo(torch.float64).tiny).sqrt()
        root_EE, inverse_EE = (axes_EE * root_E) @ axes_EE.T, (axes_EE / root_E) @ axes_EE.T
        _, V_EE = torch.linalg.eigh(root_EE @ (W.T @ W) @ root_EE)  # rising: the leading ones are the last
        V_Ek = V_EE[:, width - k :].flip(1)
        self.B_Vk = (W @ (root_EE @ V_Ek)).to(W_VE.dtype)  # U S, cut at k
        self.P_kE = (V_Ek.T @ inverse_EE).to(W_VE.dtype)

    def allocate(self, W_VE: Tensor) -> None:
        k = min(self.dimensions, W_VE.shape[1])
        self.B_Vk, self.P_kE = W_VE.new_empty(len(W_VE), k), W_VE.new_empty(k, W_VE.shape[1])

    def search(self, h_NE: Tensor, k: int, W_VE: Tensor, b_V: Tensor | None = None) -> Found:
        count = min(max(self.candidates, k), len(self.B_Vk))
        found = [self._search(h, k, count, W_VE, b_V) for h in in_rows(h_NE, len(self.B_Vk))]
        scores, ids, log_z = zip(*found, strict=True)
        return Found(torch.cat(scores), torch.cat(ids), torch.cat(log_z))

    def _search(self, h_QE: Tensor, k: int, count: int, W_VE: Tensor, b_V: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        preview_QV = at_least_float32(F.linear(F.linear(h_QE.to(self.P_kE.dtype), self.P_kE), self.B_Vk, b_V))
        near_QN = preview_QV.topk(count, dim=1, sorted=False).indices
        exact_QN = exact_scores(h_QE, near_QN, W_VE, b_V)
        log_z_Q = preview_QV.scatter(1, near_QN, exact_QN.to(preview_QV.dtype)).logsumexp(dim=1)
        scores_QK, place_QK = exact_QN.topk(k, dim=1)
        return scores_QK, near_QN.gather(1, place_QK), log_z_Q


def second_moment(h_NE: Tensor) -> Tensor:
    """E[h h^T], (E, E), in float64."""
    h = h_NE.detach().double()
    return h.T @ h / max(1, len(h))
