"""The adaptive embedding table: rare tokens have short rows."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from pydantic import field_validator

from engines.api import Block, Site, Slot, Trial, certificate, param
from engines.toolbox import trials
from engines.toolbox.adaptive import ClusteredTable, cutoffs_of, rising


class AdaptiveTable(Block):
    """Adaptive embedding table

    Baevski, Auli (2019), Adaptive input representations for neural language modeling.

        x_t = Q_j E_j[w_t - c_j] for a token w_t of cluster j               (1)
        d_j = D / v^j                                                       (2)

    Ids are sorted by frequency; cluster 0 begins at c_0 = 0, cluster j at the j-th cutoff. E_j (c_(j+1) - c_j, d_j), Q_j (D, d_j), x_t (D),
    v = div_value. Rows are about 1 long at the start. softmax/tied_adaptive reads the same E_j, and the same Q_j where asked to.

    Cost: sum over j of d_j (cluster size + D) parameters instead of V D, and 2 d_j D floating point operations a token.
    Does nothing when: div_value = 1; then it is a table of full width, each cluster turned by a matrix of its own.
    Parameters: width D, cutoffs (default: V / 10 and 2 V / 5; []: as softmax/adaptive fits them), div_value v.
    """

    paper: ClassVar[str] = (
        "Baevski and Auli, Adaptive input representations for neural language modeling, ICLR 2019, https://arxiv.org/abs/1809.10853"
    )
    slot: ClassVar[Slot] = "embedding"

    width: int = param(200, "Numbers that the model is given for a token.", symbol="D", ge=1, le=16384)
    cutoffs: tuple[int, ...] | None = param(
        None, "Where clusters begin, rising; default: a tenth and two fifths of the vocabulary; []: fitted to its counts.", unit="tokens", symbol="c"
    )
    div_value: float = param(4.0, "By how much each cluster's rows are shorter than those of the one before.", symbol="v", ge=1.0, le=64.0)

    _rise = field_validator("cutoffs")(rising)

    def build(self, site: Site) -> ClusteredTable:
        cutoffs = cutoffs_of(self.cutoffs, site.vocabulary.counts, self.width, self.div_value)
        return ClusteredTable(site.vocabulary.size, self.width, cutoffs, self.div_value)


@certificate("it equals looking up in the table of all projected rows, gradients included", 1e-5)
def equals_projected_rows(trial: Trial) -> float:
    with trials.seeded(trial):
        table: Any = AdaptiveTable(width=trial.width, div_value=2.0).build(trials.site(trial))
        ids_BT = torch.randint(trial.vocabulary, (trial.batch, trial.length))
        ids_BT[0, : len(table.bounds) - 1] = torch.tensor(table.bounds[:-1])  # a token of every cluster
        rows_VD = torch.cat([E.weight @ Q.weight.T for E, Q in zip(table.tables, table.projections, strict=True)])
        return trials.difference(table(ids_BT), rows_VD[ids_BT], list(table.parameters()))
