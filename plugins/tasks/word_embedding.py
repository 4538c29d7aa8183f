"""Learn a vector for every word by predicting the words around it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import nn

from engines.api import Block, Figure, Site, Task, Text, param
from engines.toolbox import unigram, wordlists
from engines.toolbox.heads import IGNORED, perplexity
from engines.toolbox.words import Windows, WordModel, WordStream, batch_of, keep_share, line_end

JUDGED = 2048
"""Predictions that are judged at once."""
HELD_OUT_SEED = 0


class WordEmbedding(Task):
    """Word embeddings: skip-gram and CBOW

    skip-gram:  p(w_(t+j) | w_t) = head(E[w_t])              for 0 < |j| <= b_t                  (1)
    CBOW:       p(w_t | around) = head(mean of E[w_(t+j)])   over 0 < |j| <= b_t                 (2)
        b_t ~ Uniform{1 .. W}, drawn anew for every word and epoch                               (3)
        a word stays with probability min(1, (sqrt(f / t) + 1) t / f)                            (4)

    E (V, D) the vectors that are learned, the model's embedding; f the word's share of the training text, t `subsample`. The head is any of
    the catalogue: the full softmax, or one made for large vocabularies. Unknown words and line ends are no words: they are left out before
    windows are laid, and so are the words that (4) removes, which widens the windows of the others.

    A head's first scores follow the training frequencies after (4); negatives are drawn, and trees, classes and codes made, by those before.

    A token of the budget and of every speed is one prediction: one word within reach of another in (1), one word in (2). A batch is
    `training.batch` rows of `training.sequence` words of text with all that is within their reach.

    Held-out: the head's exact nll of the first n predictions of a split, whose windows and words are drawn by (3) and (4) from a seed of
    their own, the same for every variant and seed: exp of their mean is `context_perplexity`; `context_unigram_perplexity` is that of the
    training frequencies after (4). Where the file asks for ranks, and always under a head without a distribution, also the mean reciprocal
    rank of the word among all by falling score, beside that of the order of those frequencies (`context_unigram_reciprocal_rank`), and the
    share of words that come first.

    Word lists, at the end: Spearman's rank correlation between cosines and people's judgements of similarity, with a bootstrap interval over
    the pairs, and the share of analogies answered by 3CosAdd over the whole vocabulary; with each, how many were known. They never steer
    training: they are read once, with the test split.

    Does nothing when: never; it is what is learned. subsample = 0 keeps every word, window = 1 looks at the neighbours alone.

    Reference: Mikolov, Chen, Corrado, Dean (2013), Efficient estimation of word representations in vector space,
    https://arxiv.org/abs/1301.3781; Mikolov et al. (2013), https://arxiv.org/abs/1310.4546; (4) is the formula of their program, word2vec
    """

    paper = (
        "Mikolov et al., Distributed representations of words and phrases and their compositionality, NeurIPS 2013, "
        "https://arxiv.org/abs/1310.4546"
    )
    no_layers = "Word embeddings have none: the head reads the vectors themselves."
    no_steps = "Word vectors predict the words around a word, not the next one of a text."

    architecture: Literal["skip_gram", "cbow"] = param("skip_gram", "skip_gram: the words around from the word; cbow: the word from their mean.")
    window: int = param(5, "Largest distance to a word that is looked at.", unit="words", symbol="W", ge=1, le=100)
    subsample: float = param(1e-3, "Share of the text above which a word is thinned out; 0: none is.", symbol="t", ge=0, le=1)
    over_lines: bool = param(True, "Whether windows reach over line ends (lines that are wrapped) or stop there (a sentence a line).")
    similarity: Path | None = param(None, "List of word pairs and how similar people find them (as wordsim353.tsv).", path=True)
    analogies: Path | None = param(None, "List of questions, four words a line (as questions-words.txt).", path=True)
    unigram: bool = param(True, "Also give the figures of word frequencies alone, as a floor to compare with.")
    ranks: bool = param(False, "Also judge heads with a distribution by rank and accuracy, so that heads without one can be compared with them.")

    def check(self) -> None:
        if self.similarity is not None:
            wordlists.read_pairs(self.similarity)
        if self.analogies is not None:
            wordlists.read_questions(self.analogies)

    def assemble(self, model: Mapping[str, Any], blocks: Callable[[Mapping[str, Any]], Block], text: Text, length: int) -> WordModel:
        """Build `model` = {"embedding", "head"}. Raises ValueError with a sentence where parts do not fit."""
        if "id" in model:
            raise ValueError(f"{model['id']} is a whole model, and word embeddings are an embedding and a head: give [model] these two.")
        if model.get("layers"):
            raise ValueError(f"{self.no_layers} Write layers = [].")
        embedding = blocks(model["embedding"]).build(Site(width=0, vocabulary=text.vocabulary, length=length))
        width = int(getattr(embedding, "width", 0))
        if width < 1:
            raise ValueError(f"{model['embedding']['id']} does not say its width: an embedding must have the attribute `width`.")
        site = Site(width=width, vocabulary=text.vocabulary, length=length, embedding=embedding, target_counts=self._expected(text))
        head = blocks(model["head"]).build(site)
        return WordModel(embedding, head, length=length)

    def batches(self, text: Text, batch: int, length: int, seed: int) -> WordStream:
        return WordStream(
            text, batch, length, seed, window=self.window, threshold=self.subsample, from_context=self.architecture == "cbow",
            over_lines=self.over_lines,
        )  # fmt: skip

    def held_out(self, text: Text, batch: int, length: int) -> tuple[torch.Tensor, torch.Tensor]:
        inputs, targets = self._predictions(text, "test", batch * length)
        if len(targets) < batch * length:
            again = np.resize(np.arange(len(targets)), batch * length)
            inputs, targets = inputs[again], targets[again]
        return inputs.view(batch, length, *inputs.shape[1:]), targets.view(batch, length)

    def held_out_batches(self, text: Text, split: str, tokens: int, batch: int, length: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Predictions, `batch * length` in one row: words (1, N), of CBOW the words around (1, N, C), and the words to predict (1, N)."""
        inputs, targets = self._predictions(text, split, tokens)
        for some, wanted in zip(inputs.split(batch * length), targets.split(batch * length), strict=True):
            yield some[None], wanted[None]

    def evaluate(self, model: nn.Module, text: Text, split: str, tokens: int, batch: int, device: torch.device) -> list[Figure]:
        """Figures on the first `tokens` predictions of a split (0: all); with the test split those of the word lists too."""
        inputs, targets = self._predictions(text, split, tokens)
        normalised = bool(getattr(model.head, "normalised", True))
        ranks = self.ranks or not normalised
        nats, reciprocal, hits = 0.0, 0.0, 0.0
        read: Any = model
        training = model.training
        model.eval()
        try:
            with torch.no_grad():
                for input_N, target_N in zip(inputs.split(JUDGED), targets.split(JUDGED), strict=True):
                    hidden_ND, target_N = read.hidden(input_N[None].to(device))[0][0], target_N.to(device)
                    if normalised:
                        nats += read.head.nll(hidden_ND, target_N).cpu().double().sum().item()
                    if ranks:
                        rank_N = read.head.rank(hidden_ND, target_N).cpu().double()
                        reciprocal, hits = reciprocal + (1 / rank_N).sum().item(), hits + (rank_N == 1).sum().item()
            listed = self._on_lists(model, text) if split == "test" else []
        finally:
            model.train(training)
        n = len(targets)
        figures = []
        if normalised:
            figures.append(Figure(f"quality/{split}_context_perplexity", perplexity(nats / n), "", "lower"))
            if self.unigram:
                floor = unigram.perplexity(self._expected(text), targets.numpy())
                figures.append(Figure(f"quality/{split}_context_unigram_perplexity", floor, "", "none"))
        if ranks:
            figures += [
                Figure(f"quality/{split}_context_reciprocal_rank", reciprocal / n, "", "higher"),
                Figure(f"quality/{split}_context_accuracy", hits / n, "", "higher"),
            ]
            if self.unigram:
                floor = unigram.reciprocal_rank(self._expected(text), targets.numpy())
                figures.append(Figure(f"quality/{split}_context_unigram_reciprocal_rank", floor, "", "none"))
        return figures + listed

    def _predictions(self, text: Text, split: str, most: int) -> tuple[torch.Tensor, torch.Tensor]:
        """(inputs, targets) of the first predictions of a split (0: all); inputs (N,), of CBOW (N, C)."""
        ids = np.asarray(text.splits[split])
        for threshold in (self.subsample, 0.0):  # of a text of a few words nothing might stay
            keep_V = keep_share(text.vocabulary, threshold)
            break_at = None if self.over_lines else line_end(text.vocabulary)
            found = Windows.of(ids, keep_V, self.window, np.random.default_rng(HELD_OUT_SEED), break_at=break_at)
            enough = most or len(found.words) * 2 * self.window
            read = batch_of(found, np.arange(min(len(found.words), enough))[None], from_context=self.architecture == "cbow")
            if read.predictions:
                break
        else:
            raise ValueError(f"The {split} split has {len(ids)} tokens and no two known words near each other: nothing to judge on.")
        if self.architecture == "cbow":
            there = read.targets_BT[0] != IGNORED
            inputs, targets = read.inputs_BT[0][there], read.targets_BT[0][there]
        else:
            word_M, place_M = (read.targets_BT[0] != IGNORED).nonzero(as_tuple=True)
            inputs, targets = read.inputs_BT[0][word_M], read.targets_BT[0][word_M, place_M]
        return inputs[: most or None], targets[: most or None]

    def _on_lists(self, model: nn.Module, text: Text) -> list[Figure]:
        if self.similarity is None and self.analogies is None:
            return []
        vectors_VD = wordlists.vectors_of(model, text.vocabulary.size)
        found = wordlists.similarity(vectors_VD, text.vocabulary, self.similarity) if self.similarity is not None else []
        return found + (wordlists.analogies(vectors_VD, text.vocabulary, self.analogies) if self.analogies is not None else [])

    def _expected(self, text: Text) -> np.ndarray:
        """Training counts after (4), (V,)."""
        expected_V: np.ndarray = np.asarray(text.vocabulary.counts) * keep_share(text.vocabulary, self.subsample)
        return expected_V
