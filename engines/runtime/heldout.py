"""Judging a model on validation text while it is trained, as if nobody had looked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch
from torch import nn

from engines.api import Figure

if TYPE_CHECKING:
    from engines.runtime.context import Session

EVALUATION_BATCH = 32
"""Rows of held-out text judged at once; the same for every variant, so that figures compare."""


def held_out(session: Session, weights: Mapping[str, torch.Tensor] | None) -> list[Figure]:
    """The task's figures on the validation split, under `weights` where they are given; training's random state is untouched."""
    with holding(session.model, weights), torch.random.fork_rng(), torch.no_grad():
        session.model.eval()
        tokens = int(session.plan["measure"]["held_out_tokens"])
        figures = session.task.evaluate(session.model, session.text, "valid", tokens, EVALUATION_BATCH, session.device)
        session.model.train()
    return figures


@contextmanager
def holding(model: nn.Module, weights: Mapping[str, torch.Tensor] | None) -> Iterator[None]:
    """The model holds these weights inside, its own outside; None: its own in both."""
    if weights is None:
        yield
        return
    trained = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    model.load_state_dict(weights)
    try:
        yield
    finally:
        model.load_state_dict(trained)
