"""Tell how alike two texts are."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import nn

from engines.api import Block, Figure, Site, Task, Text
from engines.toolbox.correlation import LEVEL, RESAMPLES, bounds, kept, pearson, resampled, spearman
from engines.toolbox.documents import drawn
from engines.toolbox.pairs import PairsModel, PairStream, as_pairs_model, pairs_at, pairs_of, scores_at


class SentenceSimilarity(Task):
    """Sentence similarity

    u, v = model(first text), model(second text), each divided by its length        (1)
    c = u . v                                                                       (2)

    c the cosine, held against y, what people say of the pair on a scale from 0 to 1. The model is a whole one of the slot `model` that gives a
    vector of a text from ids and a mask: `models/sentence_encoder`, or one of yours. The corpus has pairs: `corpora/sentence_pairs`.

    Training: batches of `training.batch` pairs in an order that each epoch draws anew, each text cut behind `training.sequence` tokens, on

        loss = mean of (c - y)^2                                                    (3)

    A token of the budget and of every speed is one pair. `budget = { steps = 0 }` judges a pretrained encoder as it is.

    Held-out, on n pairs of a split (all, or as many as `measure.held_out_tokens` says, drawn once for all variants and seeds):

        Spearman = correlation of the ranks of c and y, ties given their mean rank  (4)  with a bootstrap interval over the pairs
        Pearson = correlation of c and y                                            (5)
        squared error = mean of (3)                                                 (6)

    (4) is the figure that benchmarks of sentence encoders report, often times 100. Every variant is resampled alike, so where nothing was trained
    a comparison holds two variants against each other resample by resample: a paired bootstrap over the pairs.

    Padding: what is behind the end of a text takes no part, so that a text has the same vector in whichever batch it is.

    Does nothing when: never; it is what is learned.

    Reference: Cer, Diab, Agirre, Lopez-Gazpio, Specia (2017), SemEval-2017 Task 1, https://aclanthology.org/S17-2001/; (1) to (3) Reimers and
    Gurevych (2019), Sentence-BERT, https://aclanthology.org/D19-1410/
    """

    paper = "Reimers and Gurevych, Sentence-BERT: Sentence Embeddings using Siamese BERT-Networks, EMNLP 2019, https://aclanthology.org/D19-1410/"
    no_steps = "Encoders read whole texts and predict no next token."
    of_pairs = True

    def assemble(self, model: Mapping[str, Any], blocks: Callable[[Mapping[str, Any]], Block], text: Text, length: int) -> PairsModel:
        """Adapt the whole model {"id", ...}. Raises ValueError with a sentence where there are blocks in its place, it does not fit, or the corpus
        has no pairs."""
        if not text.pairs:
            raise ValueError("The corpus has no pairs of texts with scores: use one that has, such as corpora/sentence_pairs.")
        if "id" not in model:
            raise ValueError(
                "Sentence similarity compares vectors of whole texts, which no head gives: choose a whole model, such as models/sentence_encoder, or "
                "models/own with one of yours."
            )
        whole = blocks(model).build(Site(width=0, vocabulary=text.vocabulary, length=length))
        return as_pairs_model(whole, model["id"], text.vocabulary.size, length)

    def batches(self, text: Text, batch: int, length: int, seed: int) -> PairStream:
        return PairStream(text, batch, length, seed)

    def held_out(self, text: Text, batch: int, length: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Pairs of the test split as they come, (B, 2, T) with T at most `length`, and what people say of them, (B, 1)."""
        ids, documents = pairs_of(text, "test", length)
        picked = np.resize(drawn(len(documents.labels) // 2, 0), batch)
        return pairs_at(ids, documents, picked, length), scores_at(documents, picked)

    def held_out_batches(self, text: Text, split: str, tokens: int, batch: int, length: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Pairs (B, 2, T), padded with -1, and what people say of them, (B, 1)."""
        ids, documents = pairs_of(text, split, length)
        picked = drawn(len(documents.labels) // 2, tokens)
        for first in range(0, len(picked), batch):
            some = picked[first : first + batch]
            yield pairs_at(ids, documents, some, length), scores_at(documents, some)

    def evaluate(self, model: nn.Module, text: Text, split: str, tokens: int, batch: int, device: torch.device) -> list[Figure]:
        """Figures on `tokens` pairs of a split (0: all), `batch` at a time."""
        read: Any = model
        length = int(read.length)
        ids, documents = pairs_of(text, split, length)
        picked = drawn(len(documents.labels) // 2, tokens)
        # Texts of like length together need little padding, which changes no figure.
        sizes = np.diff(documents.ends, prepend=0).reshape(-1, 2).max(axis=1)
        order = np.argsort(sizes[picked], kind="stable")
        cosine_P, error_P = np.empty(len(picked)), np.empty(len(picked))
        training = model.training
        model.eval()
        try:
            with torch.no_grad():
                for first in range(0, len(picked), batch):
                    places = order[first : first + batch]
                    hidden_ND = read.hidden(pairs_at(ids, documents, picked[places], length).to(device), None)[0].flatten(0, 1)
                    target_B = scores_at(documents, picked[places]).flatten().to(hidden_ND.device)
                    cosine_P[places] = read.head.cosine(hidden_ND).cpu().double().numpy()
                    error_P[places] = read.head.nll(hidden_ND, target_B).cpu().double().numpy()
        finally:
            model.train(training)
        assert documents.scores is not None
        return _figures(split, cosine_P, documents.scores[picked].astype(np.float64), error_P)


def _figures(split: str, cosine_P: np.ndarray, score_P: np.ndarray, error_P: np.ndarray) -> list[Figure]:
    rho, r = spearman(cosine_P, score_P), pearson(cosine_P, score_P)
    again = resampled(spearman, cosine_P, score_P)
    low, high = bounds(again)
    detail = {"pairs": len(score_P), "interval": f"bootstrap, {LEVEL:.0%}, over pairs, {RESAMPLES:,} resamples", **kept(again, score_P)}
    # No number where all cosines are equal or one is none: a model that diverged has no correlation.
    whole = Figure(f"quality/{split}_spearman", np.nan if rho is None else rho, "", "higher", detail=detail)
    return [
        whole if rho is None else replace(whole, low=low, high=high),
        Figure(f"quality/{split}_pearson", np.nan if r is None else r, "", "higher"),
        Figure(f"quality/{split}_squared_error", float(error_P.mean()), "", "lower"),
    ]
