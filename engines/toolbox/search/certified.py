"""The exact limit that every index has, measured: what it finds where it leaves nothing out, against the scan of all rows."""

from __future__ import annotations

import torch
from torch import Tensor

from engines.api import Trial
from engines.toolbox import trials
from engines.toolbox.search.index import Index


def difference_from_scan(index: Index, trial: Trial, C_EE: Tensor | None = None, k: int = 5) -> float:
    """Largest relative error of scores and log Z, plus the number of ids that differ, with a bias and without. Rows differ in length."""
    worst = 0.0
    with trials.seeded(trial), torch.no_grad():
        W_VE = torch.randn(trial.vocabulary, trial.width) * torch.rand(trial.vocabulary, 1).add(0.2)
        h_NE = trials.hidden(trial).flatten(0, 1)
        for b_V in (torch.randn(trial.vocabulary), None):
            index.to(W_VE.device).refresh(W_VE, b_V, C_EE)
            found = index.search(h_NE, k, W_VE, b_V)
            scores_NV = h_NE @ W_VE.T + (0 if b_V is None else b_V)
            best_NK, ids_NK = scores_NV.topk(k, dim=1)
            worst = max(worst, float((found.ids_NK != ids_NK).sum()) + trials.relative_error(found.scores_NK, best_NK))
            if found.log_z_N is not None:
                worst = max(worst, trials.relative_error(found.log_z_N, scores_NV.logsumexp(dim=1)))
    return worst
