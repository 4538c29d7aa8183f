"""Pairs of texts with what people say of how alike they are: batches of them, and models that give each text a vector.

Shapes: B pairs, T tokens of the longest text, D width. Ids of a batch are (B, 2, T), shorter texts end in IGNORED; a model gives (B, 2, D), and a
batch has one target a pair, (B, 1), from 0 to 1, so that a token of budgets and speeds is one pair.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from engines.api import Documents, Text
from engines.toolbox.batches import Batch
from engines.toolbox.documents import DocumentStream, check_reader, padded
from engines.toolbox.entry import TrainingEntry
from engines.toolbox.precise import at_least_float32

GIVES = "a vector for each text"


def pairs_of(text: Text, split: str, length: int) -> tuple[np.ndarray, Documents]:
    """Ids and texts of a split. A stand-in without documents, on which shapes and times are tried, is cut into texts of `length` tokens, each
    of which is paired with its copy."""
    found, ids = text.documents.get(split), text.splits[split]
    if found is not None:
        return ids, found
    rows = max(1, len(ids) // length)
    twice_R2T = np.repeat(np.resize(ids, rows * length).reshape(rows, 1, length), 2, axis=1)
    ends = np.arange(1, 2 * rows + 1, dtype=np.int64) * length
    return twice_R2T.reshape(-1), Documents(ends, np.zeros(2 * rows, np.int64), np.arange(rows) % 2)


def pairs_at(ids: np.ndarray, documents: Documents, picked: Sequence[int] | np.ndarray, length: int) -> Tensor:
    """The first `length` tokens of both texts of each picked pair, (B, 2, T)."""
    both_B2 = 2 * np.asarray(picked)[:, None] + np.arange(2)
    return padded(ids, documents, both_B2.reshape(-1), length).unflatten(0, (-1, 2))


def scores_at(documents: Documents, picked: Sequence[int] | np.ndarray) -> Tensor:
    """What people say of each picked pair, (B, 1)."""
    assert documents.scores is not None
    return torch.from_numpy(documents.scores[picked]).to(torch.get_default_dtype())[:, None]


class PairStream(DocumentStream):
    """Endless training batches of `batch` pairs, each epoch in another order."""

    def _open(self, text: Text) -> int:
        self._ids, self._documents = pairs_of(text, "train", self.length)
        return len(self._documents.labels) // 2

    def _batch(self, picked: np.ndarray) -> Batch:
        return Batch(pairs_at(self._ids, self._documents, picked, self.length), scores_at(self._documents, picked), fresh=True)


class Likeness(nn.Module):
    """c = cosine of the two vectors of a pair, held against y, what people say. Rows 2i and 2i + 1 of the hidden states, of length 1, are a pair.

    nll = (y - c)^2, in nats up to a constant that of a normal distribution of y around c with variance 1/2. There is no distribution over words.
    """

    normalised = True
    vocabulary_size = 1

    def cosine(self, hidden_ND: Tensor) -> Tensor:
        """c of each pair, (N / 2,)."""
        one_BD, other_BD = at_least_float32(hidden_ND).unflatten(0, (-1, 2)).unbind(1)
        return (one_BD * other_BD).sum(dim=-1)

    def nll(self, hidden_ND: Tensor, target_B: Tensor) -> Tensor:
        """Squared error of each pair, (N / 2,)."""
        return (self.cosine(hidden_ND) - target_B).square()

    def loss(self, hidden_ND: Tensor, target_B: Tensor) -> Tensor:
        return self.nll(hidden_ND, target_B).sum()


class PairsModel(TrainingEntry):
    """Vectors of length 1 from body(ids_BT, mask_BT) -> vectors (B, D). Ids behind the end of a text are 0 and masked."""

    def __init__(self, body: nn.Module, length: int) -> None:
        super().__init__()
        self.body = body
        self.head = Likeness()
        self.length = length

    def hidden(self, ids: Tensor, state: Any = None) -> tuple[Tensor, Any, dict[str, Any]]:
        """Of pairs (B, 2, T) their vectors (B, 2, D); of texts (B, T) theirs, (B, 1, D)."""
        ids_B2T = ids if ids.ndim == 3 else ids.unsqueeze(1)
        ids_NT = ids_B2T.flatten(0, 1)
        vector_ND = F.normalize(self.body(ids_NT.clamp(min=0), ids_NT >= 0), dim=-1)
        return vector_ND.unflatten(0, ids_B2T.shape[:2]), (), {}


def as_pairs_model(module: nn.Module, name: str, vocabulary_size: int, length: int) -> PairsModel:
    """The whole model as one that compares texts, tried on two of them. Raises ValueError with a sentence where it fails, gives other shapes or
    reads padding."""
    check_reader(module, name, "a model that compares texts", GIVES, None, vocabulary_size, length)
    return PairsModel(module, length)
