"""Words with the words around them: subsampling, windows, batches, and the model that predicts one from the other.

Shapes: B rows of text, T words a row, C = 2 W places around a word (W: the largest distance), N = B T, D width, V vocabulary size.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from engines.api import Text, Vocabulary
from engines.toolbox.assembly import LanguageModel
from engines.toolbox.batches import Batch
from engines.toolbox.heads import IGNORED

LINE_ENDS = ("\n", "Ċ")
"""How corpora write the end of a line, as a token of words and of byte pairs."""


def not_words(vocabulary: Vocabulary) -> list[int]:
    """Ids that stand for no word: the unknown token and the line end."""
    ends = [i for i in (_id(vocabulary, end) for end in LINE_ENDS) if i is not None]
    return ends if vocabulary.unknown is None else [*ends, vocabulary.unknown]


def line_end(vocabulary: Vocabulary) -> int | None:
    """The id of the line end; None where lines are no tokens."""
    return next((i for i in (_id(vocabulary, end) for end in LINE_ENDS) if i is not None), None)


def _id(vocabulary: Vocabulary, token: str) -> int | None:
    return vocabulary.tokens.index(token) if token in vocabulary.tokens else None


def keep_share(vocabulary: Vocabulary, threshold: float) -> np.ndarray:
    """Share of its occurrences at which each word stays, (V,), 0 for what is no word.

    min(1, (sqrt(f / t) + 1) t / f), f the share of the word among all words of the training split, t `threshold`; t = 0 keeps all.
    """
    counts = np.asarray(vocabulary.counts, dtype=np.float64).copy()
    counts[not_words(vocabulary)] = 0
    share = np.maximum(counts / max(1.0, counts.sum()), 1e-300)
    keep = np.minimum(1.0, (np.sqrt(share / threshold) + 1) * (threshold / share)) if threshold > 0 else np.ones_like(share)
    keep[not_words(vocabulary)] = 0.0
    return keep


@dataclass(frozen=True)
class Windows:
    """A text after subsampling, and how far each of its words looks.

    words, reach: (n,), ids and distances of 1 to W. lines: (n,), the number of each word's line; None where windows reach over lines.
    """

    words: np.ndarray
    reach: np.ndarray
    lines: np.ndarray | None
    window: int

    @classmethod
    def of(cls, ids: np.ndarray, keep_V: np.ndarray, window: int, draw: np.random.Generator, *, break_at: int | None = None) -> Windows:
        """Words that stay, drawn anew; break_at: the id of the line end that windows may not reach over."""
        stays = draw.random(len(ids), dtype=np.float32) < keep_V.astype(np.float32)[ids]
        words = np.asarray(ids[stays], dtype=np.int64)
        reach = draw.integers(1, window + 1, len(words))
        lines = None if break_at is None else np.cumsum(np.asarray(ids) == break_at)[stays]
        return cls(words, reach, lines, window)

    @property
    def predictions(self) -> int:
        """Pairs of a word and one within its reach."""
        total = 0
        for distance in range(1, self.window + 1):
            near = self.reach >= distance
            if self.lines is None:
                total += int(near[distance:].sum()) + int(near[:-distance].sum())
            else:
                same = self.lines[distance:] == self.lines[:-distance]
                total += int((near[distance:] & same).sum()) + int((near[:-distance] & same).sum())
        return total

    def around(self, places: np.ndarray) -> np.ndarray:
        """Ids of the words within reach of each place, (..., C); IGNORED where there is none."""
        offsets_C = np.array([*range(-self.window, 0), *range(1, self.window + 1)])
        found = places[..., None] + offsets_C
        inside = (found >= 0) & (found < len(self.words)) & (np.abs(offsets_C) <= self.reach[places][..., None])
        np.clip(found, 0, len(self.words) - 1, out=found)
        if self.lines is not None:
            inside &= self.lines[found] == self.lines[places][..., None]
        return np.where(inside, self.words[found], IGNORED)


@dataclass
class WordBatch(Batch):
    """B rows of T words of text with the words around them. inputs_BT or targets_BT is (B, T, C), IGNORED where there is no word.

    predictions: targets that are not IGNORED.
    """

    predictions: int = 0

    @property
    def tokens(self) -> int:
        return self.predictions

    def to(self, device: torch.device | str) -> WordBatch:
        inputs, targets = self.inputs_BT.to(device, non_blocking=True), self.targets_BT.to(device, non_blocking=True)
        return WordBatch(inputs, targets, self.fresh, self.lr_scale, self.predictions)

    def split(self, n: int) -> list[Batch]:
        return [
            WordBatch(part.inputs_BT, part.targets_BT, part.fresh, part.lr_scale, int((part.targets_BT != IGNORED).sum()))
            for part in super().split(n)
        ]


class WordStream:
    """Endless training batches of one text: B rows that lie one after another, the next T words of every row with what is around them.

    Each epoch draws anew which words stay and how far each looks, as a function of seed and epoch alone, so that a resumed stream draws the
    same. Fewer than T words a row are dropped at the end of an epoch. Every batch is `fresh`: nothing is carried from one to the next.
    """

    def __init__(
        self, text: Text, batch: int, length: int, seed: int, *, window: int, threshold: float, from_context: bool, over_lines: bool
    ) -> None:
        self.batch, self.length, self.seed, self.window, self.from_context = batch, length, seed, window, from_context
        self._ids = text.splits["train"]
        self._keep_V = keep_share(text.vocabulary, threshold)
        self._break_at = None if over_lines else line_end(text.vocabulary)
        self.epoch = self._position = 0
        self._begin()
        self.tokens_per_epoch = len(self._text.words) if from_context else self._text.predictions
        """Predictions in the first epoch; the others differ from it by chance."""

    def _begin(self) -> None:
        draw = np.random.default_rng([self.seed, self.epoch])
        self._text = Windows.of(self._ids, self._keep_V, self.window, draw, break_at=self._break_at)
        self._row = len(self._text.words) // self.batch
        if self._row < 1:
            raise ValueError(
                f"The training split has {len(self._text.words)} words after subsampling, too few for {self.batch} rows: use a smaller "
                "training.batch, a larger task.subsample or a larger corpus."
            )

    def __iter__(self) -> Iterator[WordBatch]:
        return self

    def __next__(self) -> WordBatch:
        length = min(self.length, self._row)
        if self._row - self._position < length:
            self.epoch += 1
            self._position = 0
            self._begin()
            length = min(self.length, self._row)
        places_BT = self._row * np.arange(self.batch)[:, None] + np.arange(self._position, self._position + length)
        self._position += length
        return batch_of(self._text, places_BT, from_context=self.from_context)

    def state_dict(self) -> dict[str, int]:
        """Where the next batch begins."""
        return {"epoch": self.epoch, "position": self._position}

    def load_state_dict(self, state: dict[str, int]) -> None:
        self.epoch, self._position = int(state["epoch"]), int(state["position"])
        self._begin()


def batch_of(text: Windows, places_BT: np.ndarray, *, from_context: bool) -> WordBatch:
    """The words at these places, each to be predicted from those around it (from_context), or they from it."""
    words_BT, around_BTC = text.words[places_BT], text.around(places_BT)
    present_BTC = around_BTC != IGNORED
    if from_context:
        some_BT = present_BTC.any(-1)
        words_BT = np.where(some_BT, words_BT, IGNORED)
        return WordBatch(torch.from_numpy(around_BTC), torch.from_numpy(words_BT), fresh=True, predictions=int(some_BT.sum()))
    return WordBatch(torch.from_numpy(words_BT), torch.from_numpy(around_BTC), fresh=True, predictions=int(present_BTC.sum()))


class WordModel(LanguageModel):
    """p(word | a word near it), or p(word | the words near it): an embedding and a head."""

    def __init__(self, embedding: nn.Module, head: nn.Module, *, length: int) -> None:
        super().__init__(embedding, [], head, length=length)

    def hidden(self, ids_BT: torch.Tensor, state: Any = None) -> tuple[torch.Tensor, Any, dict[str, Any]]:
        """x_BTD: the vectors of words, or of (B, T, C) ids the mean over the C that are words."""
        if ids_BT.dim() == 2:
            return self.embedding(ids_BT), (), {}
        rows, length, places = ids_BT.shape
        there_BTC1 = (ids_BT >= 0).unsqueeze(-1)
        x_BTCD = self.embedding(ids_BT.clamp(min=0).view(rows, length * places)).view(rows, length, places, -1)
        return (x_BTCD * there_BTC1).sum(2) / there_BTC1.sum(2).clamp(min=1), (), {}

    def forward(self, batch: Batch, state: Any = None) -> tuple[torch.Tensor, int, Any, dict[str, Any]]:
        """As of every model. Of several targets of a word, extras["target_N"] holds one.

        A head with `loss_many(hidden_ND, targets_NC)` is given all targets of a word at once; else the word's vector is repeated.
        """
        x_BTD, state, extras = self.hidden(batch.inputs_BT)
        hidden_ND, targets = x_BTD.flatten(0, 1), batch.targets_BT.flatten(0, 1)
        extras["hidden_ND"] = hidden_ND
        if targets.dim() == 1:
            extras["target_N"] = targets
            return self.head.loss(hidden_ND, targets), batch.tokens, state, extras
        extras["target_N"] = targets.amax(dim=1)  # IGNORED is less than every id
        if hasattr(self.head, "loss_many"):
            return self.head.loss_many(hidden_ND, targets), batch.tokens, state, extras
        row_M, place_M = (targets != IGNORED).nonzero(as_tuple=True)
        return self.head.loss(hidden_ND[row_M], targets[row_M, place_M]), batch.tokens, state, extras
