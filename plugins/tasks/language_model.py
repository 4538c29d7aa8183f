"""Predict every token of a text from the tokens before it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from engines.api import Block, Figure, Site, Task, Text, param
from engines.toolbox import unigram
from engines.toolbox.assembly import LanguageModel, below_head
from engines.toolbox.batches import Stream, contiguous
from engines.toolbox.heads import perplexity
from engines.toolbox.search.index import Index
from engines.toolbox.search.technique import AgainstExactScan
from engines.toolbox.whole import as_language_model

ROWS = 32
"""Rows that held-out text is read in, at most."""
TOKENS_A_ROW = 1000
"""Shorter held-out texts are read in fewer rows."""


class LanguageModelling(Task):
    """Language model

    p(w_1 ... w_n) = prod_t p(w_t | w_1 ... w_(t-1)); trained and judged by the mean of -log p(w_t | ...).

        perplexity = exp(nats / targets)                                    (1)
        bits per character = nats / (ln 2 * original characters)            (2)

    The model: embedding, layers of mixer and feed-forward, head; or a whole model of the slot `model`. A part with a residual is normalised
    first, and then a last norm stands before the head. Each block initialises its own weights under the seed of the run.

    Training: contiguous text in `training.batch` rows, segments of `training.sequence` tokens, the mixers' state carried from segment to
    segment and dropped at the start of an epoch.

    Held-out evaluation: the same figure for every variant and every technique. The first n targets of a split are cut into up to 32 rows
    (one row a 1000 targets); every row first reads one segment of the text before it, unjudged, then its own, in segments of the training
    length with the state carried as in training. Every target is judged exactly once, by the head's exact nll, summed in float64; all but
    the first segment have at least one segment of context where the mixer carries state. The figure does not depend on how many rows are
    computed at once.

    Unknown words: perplexity is over the vocabulary with the unknown token, while all characters of an unknown word count in (2), so both
    figures flatter a vocabulary with many unknowns. `unigram` is the perplexity of the training frequencies (plus one) on the same targets:
    what a model that learned nothing but word counts reaches.

    Ranks: where the file asks for them, and always under a head without a distribution (which has neither (1) nor (2)), also

        reciprocal rank = mean of 1 / place of the target among all tokens, by falling score          (3)
        accuracy = share of targets at place 1                                                        (4)

    A head that searches by an index is also compared with its exact scan, on up to 2000 contexts: recall at 1 and at 10 (the share of the best
    tokens that are found), and the mean absolute error of log Z where the index tells it. (1) to (4) stay exact.

    A token with the target's own score counts half a place. `unigram` then also gives (3) of the order of training frequencies. Variants
    with and without a distribution share (3) and (4) alone.

    Does nothing when: never; it is what is learned.

    Reference: Bengio et al. (2003), A neural probabilistic language model, https://www.jmlr.org/papers/v3/bengio03a.html
    """

    paper = "Bengio et al., A neural probabilistic language model, JMLR 2003, https://www.jmlr.org/papers/v3/bengio03a.html"

    unigram: bool = param(True, "Also give the figures of the unigram model of the training split, as a floor to compare with.")
    ranks: bool = param(False, "Also judge heads with a distribution by rank and accuracy, so that heads without one can be compared with them.")

    def assemble(self, model: Mapping[str, Any], blocks: Callable[[Mapping[str, Any]], Block], text: Text, length: int) -> nn.Module:
        """Build `model` = {"embedding", "layers", "head"}, or adapt the whole model {"id", ...}. Raises ValueError with a sentence where parts do
        not fit, or a whole model is not causal."""
        if "id" in model:
            whole = blocks(model).build(Site(width=0, vocabulary=text.vocabulary, length=length))
            return as_language_model(whole, model["id"], text.vocabulary.size, length)
        parts = below_head(model, blocks, text, length)
        return LanguageModel(parts.embedding, parts.layers, blocks(model["head"]).build(parts.site), parts.final_norm, length=length)

    def batches(self, text: Text, batch: int, length: int, seed: int) -> Stream:
        return Stream(text.splits["train"], batch, length, seed)

    def held_out(self, text: Text, batch: int, length: int) -> tuple[torch.Tensor, torch.Tensor]:
        return contiguous(text.splits["test"], batch, length)

    def held_out_batches(self, text: Text, split: str, tokens: int, batch: int, length: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Segments of the text (B, T) and their successors, each target once. No row knows what stands before it, unlike in `evaluate`."""
        ids = text.splits[split]
        targets = min(tokens or len(ids), len(ids) - 1)
        whole = targets - targets % length
        for first in range(0, whole, batch * length):
            yield contiguous(ids[first:], min(batch, (whole - first) // length), length)
        if whole < targets:
            yield contiguous(ids[whole:], 1, targets - whole)

    def evaluate(self, model: nn.Module, text: Text, split: str, tokens: int, batch: int, device: torch.device) -> list[Figure]:
        """Figures on the first `tokens` targets of a split (0: all), `batch` rows at a time."""
        ids = text.splits[split]
        targets = min(tokens or len(ids), len(ids) - 1)
        if targets < 1:
            raise ValueError(f"The {split} split has {len(ids)} token(s): nothing to judge on.")
        head: Any = model.head
        normalised = bool(getattr(head, "normalised", True))
        ranks = self.ranks or not normalised
        nats, reciprocal, hits = 0.0, 0.0, 0.0
        searched = AgainstExactScan(head) if isinstance(getattr(head, "index", None), Index) else None
        training = model.training
        model.eval()
        try:
            with torch.no_grad():
                for hidden_ND, target_N in _judged(model, ids[: targets + 1], batch, device):
                    if searched:
                        searched.add(hidden_ND)
                    if normalised:
                        nats += head.nll(hidden_ND, target_N).cpu().double().sum().item()
                    if ranks:
                        rank_N = head.rank(hidden_ND, target_N).cpu().double()
                        reciprocal, hits = reciprocal + (1 / rank_N).sum().item(), hits + (rank_N == 1).sum().item()
        finally:
            model.train(training)
        figures = []
        if normalised:
            ends = text.character_ends[split]
            bits = nats / (math.log(2) * int(ends[targets] - ends[0]))
            figures += [
                Figure(f"quality/{split}_perplexity", perplexity(nats / targets), "", "lower"),  # (1)
                Figure(f"quality/{split}_bits_per_char", bits, "bit/character", "lower"),  # (2)
            ]
            if self.unigram:
                floor = unigram.perplexity(text.vocabulary.counts, ids[1 : targets + 1])
                figures.append(Figure(f"quality/{split}_unigram_perplexity", floor, "", "none"))
        if ranks:
            figures += [
                Figure(f"quality/{split}_reciprocal_rank", reciprocal / targets, "", "higher"),  # (3)
                Figure(f"quality/{split}_accuracy", hits / targets, "", "higher"),  # (4)
            ]
            if self.unigram:
                floor = unigram.reciprocal_rank(text.vocabulary.counts, ids[1 : targets + 1])
                figures.append(Figure(f"quality/{split}_unigram_reciprocal_rank", floor, "", "none"))
        return figures + (searched.figures(split) if searched else [])


@dataclass(frozen=True)
class Rows:
    """How held-out text is read: `count` rows of `length` targets each after a first segment of `context` targets.

    Row r reads the targets from r * length on; the first `context` of them it does not judge, except row 0, where the text begins.
    """

    count: int
    length: int
    context: int

    @classmethod
    def of(cls, targets: int, segment: int) -> Rows:
        context = min(segment, targets)
        count = max(1, min(ROWS, (targets - context) // TOKENS_A_ROW))
        return cls(count, -(-(targets - context) // count), context)


def _judged(model: Any, ids: np.ndarray, batch: int, device: torch.device) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """(hidden_ND, target_N) of all targets ids[1:], each exactly once. Places past the end of the text are read as id 0 and not judged."""
    targets = len(ids) - 1
    segment = int(getattr(model, "length", 64))
    rows = Rows.of(targets, segment)
    for first in range(0, rows.count, batch):
        start_B1 = rows.length * np.arange(first, min(first + batch, rows.count))[:, None]
        state = None
        for begin in range(0, rows.context + rows.length, segment):
            within_T = np.arange(begin, min(begin + segment, rows.context + rows.length))
            place_BT = start_B1 + within_T
            judged_BT = torch.from_numpy((place_BT < targets) & ((within_T >= rows.context) | (start_B1 == 0)))
            window_BT = np.take(ids, np.append(place_BT, place_BT[:, -1:] + 1, axis=1), mode="clip").astype(np.int64)
            x_BTD, state, _ = model.hidden(torch.from_numpy(window_BT[:, :-1]).to(device), state)
            if judged_BT.any():
                target_BT = torch.from_numpy(window_BT[:, 1:])
                yield x_BTD[judged_BT.to(x_BTD.device)], target_BT[judged_BT].to(x_BTD.device)
