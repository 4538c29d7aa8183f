"""A preview of all scores in the dimensions that matter."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor

from engines.api import Context, Trial, certificate, param
from engines.toolbox import trials
from engines.toolbox.search.certified import difference_from_scan
from engines.toolbox.search.index import Index
from engines.toolbox.search.preview import Preview, second_moment
from engines.toolbox.search.technique import Searching, moment_of_training_text


class SvdPreview(Searching):
    """Preview by singular values (SVD-softmax)

    Shim, Lee, Choi, Boo, Sung (2017), SVD-softmax: fast softmax approximation on large vocabulary neural networks; with the activations'
    second moment in it, as Chen et al. (2021), DRONE: data-aware low-rank compression, do for layers.

        C = E[h h^T] over training text;  W C^(1/2) = U S V^T               (1)
        W h = (U S) (V^T C^(-1/2) h) = B q                                  (2)
        preview: s~ = B_k q_k + b, the leading k dimensions                 (3)
        exact scores s_i = w_i h + b_i of the N tokens with the largest s~  (4)
        log Z ~ log sum_j exp(s~_j with (4) in the place of its entries)    (5)

    B (V, E), q (E). Cutting (2) at k is the rank-k matrix with the least E |W h - W~ h|^2, so that k is spent on directions that hidden states
    have; activation_aware off is the paper's own C = I. C gets a ridge of 1e-6 of its mean diagonal.

    Cost: 2 (k V + k E + N E) operations a token, and one pass over V k numbers in the place of V E; V k + k E numbers of memory.
    Does nothing when: k = E or N = V, where it equals the exact scan, log Z included; or the head has no output matrix (it then says so).
    Parameters: dimensions k, candidates N, activation_aware, calibration_batches.
    """

    paper: ClassVar[str] = (
        "Shim et al., SVD-softmax: fast softmax approximation on large vocabulary neural networks, NIPS 2017, "
        "https://papers.nips.cc/paper/2017/hash/4e2a6330465c8ffcaa696a5a16639176-Abstract.html"
    )

    dimensions: int = param(64, "Leading dimensions of the preview; at most the width.", symbol="k", ge=1)
    candidates: int = param(500, "Tokens that are scored exactly.", unit="tokens", symbol="N", ge=1)
    activation_aware: bool = param(True, "Weigh directions by how strong hidden states of the training text are in them.")
    calibration_batches: int = param(20, "Training batches whose hidden states are looked at.", ge=1, le=10_000)

    def index(self) -> Index:
        return Preview(self.dimensions, self.candidates)

    def queries(self, module: Any, ctx: Context) -> Tensor | None:
        return moment_of_training_text(module, ctx, self.calibration_batches) if self.activation_aware else None

    def told(self) -> str:
        return f" Directions are weighed by {self.calibration_batches} batches of training text." if self.activation_aware else ""


@certificate("with k = E, and with N = V, it equals the exact scan, log Z included", 1e-5)
def whole_preview_equals_scan(trial: Trial) -> float:
    with trials.seeded(trial):
        C_EE = second_moment(torch.randn(4 * trial.width, trial.width) * torch.linspace(0.1, 2, trial.width))
    wide, deep = Preview(trial.width, 5), Preview(1, trial.vocabulary)
    return max(difference_from_scan(wide, trial, C_EE), difference_from_scan(deep, trial, C_EE))


@certificate("no matrix of rank k has a smaller mean squared error of the scores of the calibration contexts", 1e-4)
def is_the_best_of_its_rank(trial: Trial) -> float:
    """Against the singular values of all scores of these contexts, which bound what any rank k can reach (Eckart, Young 1936)."""
    with trials.seeded(trial):
        k, W_VE = max(1, trial.width // 4), torch.randn(trial.vocabulary, trial.width)
        h_NE = torch.randn(8 * trial.width, trial.width) * torch.linspace(0.2, 3, trial.width)
        index = Preview(k, 1)
        index.refresh(W_VE, None, second_moment(h_NE))
        error = (h_NE @ W_VE.T - h_NE @ index.P_kE.T @ index.B_Vk.T).double().square().sum()
        least = torch.linalg.svdvals((h_NE @ W_VE.T).double())[k:].square().sum()
        return float(error / least - 1)
