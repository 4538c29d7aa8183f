"""The exact scan: what every index is compared with."""

from __future__ import annotations

from typing import ClassVar

import torch

from engines.api import Trial, certificate
from engines.toolbox import trials
from engines.toolbox.search.index import ExactScan, Index
from engines.toolbox.search.technique import Searching


class Exact(Searching):
    """Exact scan

    All V scores of a context and the largest of them, which is what prediction needs; Bengio et al. (2003).

        s = W h + b                                                         (1)
        prediction: the k largest s_i                                       (2)

    W (V, E), h (E). A head's own top k also normalises, log p_i = s_i - log sum_j exp(s_j); no order of tokens depends on that, so it is left
    out here, and the values of `topk` are scores. nll and log_prob are the head's, untouched.

    Cost: 2 E V floating point operations a token and one pass over W; no memory.
    Does nothing when: the head has no output matrix (it then says so); it changes no prediction.
    Parameters: none.
    """

    paper: ClassVar[str] = "Bengio et al., A neural probabilistic language model, JMLR 2003, https://www.jmlr.org/papers/v3/bengio03a.html"

    def index(self) -> Index:
        return ExactScan()


@certificate("the ids and scores are those of sorting all scores", 1e-6)
def equals_sorting(trial: Trial) -> float:
    with trials.seeded(trial):
        W_VE, b_V, h_NE = torch.randn(trial.vocabulary, trial.width), torch.randn(trial.vocabulary), trials.hidden(trial).flatten(0, 1)
        s_NV = (h_NE @ W_VE.T + b_V).detach()  # (1)
        found = ExactScan().search(h_NE.detach(), 5, W_VE, b_V)
        order_NV = s_NV.argsort(dim=1, descending=True)  # (2)
        wrong = float((found.ids_NK != order_NV[:, :5]).sum())
        return wrong + trials.relative_error(found.scores_NK, s_NV.gather(1, order_NV[:, :5]))
