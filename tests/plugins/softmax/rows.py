"""Hidden rows and targets that tests of heads share."""

from __future__ import annotations

import torch
from torch import Tensor

from engines.api import Trial
from engines.toolbox import trials
from engines.toolbox.heads import IGNORED


def rows_and_targets(trial: Trial, *, ignored: int = 0) -> tuple[Tensor, Tensor]:
    """hidden_ND and target_N; the first `ignored` targets are padding."""
    with trials.seeded(trial):
        h_ND = trials.hidden(trial).flatten(0, 1).detach().requires_grad_()
        y_N = torch.randint(trial.vocabulary, (len(h_ND),))
    y_N[:ignored] = IGNORED
    return h_ND, y_N
