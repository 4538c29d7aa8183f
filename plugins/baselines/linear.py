"""A weight for every word and every short sequence of words."""

from __future__ import annotations

import math
from collections import Counter
from itertools import pairwise
from typing import Any, ClassVar

import numpy as np
import torch
from torch import nn

from engines.api import Block, Site, Slot, Trial, certificate, param
from engines.toolbox.linear_texts import LinearModel, unavailable


class Linear(Block):
    """Linear classifier of texts

    Logistic regression on tf-idf, as scikit-learn fits it; with pairs of words: Wang and Manning (2012), Baselines and Bigrams.

    Equations, for a text in which gram g (1 to n tokens in a row) stands c_g times:
        x_g = (1 + log c_g) (1 + log((1 + N) / (1 + N_g)))                      (1)
        s_k = a_k + sum_g W_kg x_g / |x|                                        (2)  p(class k | text) = softmax(s)_k
        W, a = argmin  |W|^2 / 2 - C sum over texts of log p(their class)       (3)

    Symbols: N training texts, N_g of them with gram g, n longest gram, C strength of the fit, k classes, F grams that are known.
    Cost: seconds to fit, by L-BFGS; 4 F (k + 1) + 8 F bytes; a text of T tokens takes n T look-ups of log2(F) steps.
    Does nothing when: never; it is the model.
    Parameters: longest n, strength C, min_texts.

    It takes in as many training texts as the budget names, at most each once, in the order in which they would be trained on: a second pass would
    change nothing. Techniques of the recipe do nothing to it, and say so. The order of words counts within grams alone. It is what a network has
    to beat: on a few thousand texts, one that begins from random weights often does not.
    """

    slot: ClassVar[Slot] = "model"
    paper: ClassVar[str] = "Wang and Manning (2012), Baselines and Bigrams, https://aclanthology.org/P12-2018/"

    longest: int = param(2, "Tokens in the longest gram.", unit="tokens", symbol="n", ge=1, le=3)
    strength: float = param(10.0, "How much the fit to the texts counts against small weights.", symbol="C", gt=0)
    min_texts: int = param(1, "Grams that stand in fewer training texts are left out.", unit="texts", ge=1)

    @classmethod
    def unavailable(cls) -> str:
        return unavailable()

    def build(self, site: Site) -> nn.Module:
        if not site.classes:
            raise ValueError("baselines/linear tells classes apart, and this task has none: use it with tasks/text_classification.")
        return LinearModel(site.vocabulary.size, len(site.classes), longest=self.longest, strength=self.strength, min_texts=self.min_texts)


@certificate("Scores are (1) and (2) gram by gram in plain Python, for texts with padding behind them, known grams and unknown ones", tolerance=1e-5)
def by_definition(trial: Trial) -> float:
    """Largest error of a score."""
    draw = np.random.default_rng(trial.seed)
    texts = [(trial.vocabulary * draw.random(draw.integers(2, trial.length + 2)) ** 3).astype(np.int64) for _ in range(20)]
    label_N = np.arange(20) % 3
    model: Any = LinearModel(trial.vocabulary, 3, longest=2, strength=1.0, min_texts=1)
    model.to(trial.device, getattr(torch, trial.dtype)).fit(texts[:12], label_N[:12])
    holding = Counter(gram for text in texts[:12] for gram in set(_sequences(text)))
    weight = {key: model.weight_FK[i].tolist() for i, key in enumerate(model.keys_F.tolist())}
    longest = max(len(text) for text in texts)
    ids_BT = torch.tensor([[*text, *[0] * (longest - len(text))] for text in texts], device=trial.device)
    mask_BT = torch.arange(longest, device=trial.device) < torch.tensor([[len(text)] for text in texts], device=trial.device)
    error = 0.0
    for text, found_K in zip(texts, model(ids_BT, mask_BT).cpu().tolist(), strict=True):
        counts = Counter(gram for gram in _sequences(text) if gram in holding)
        x = {gram: (1 + math.log(count)) * (1 + math.log(13 / (1 + holding[gram]))) for gram, count in counts.items()}
        length = math.sqrt(sum(value**2 for value in x.values())) or 1.0
        for k, score in enumerate(found_K):
            expected = sum(weight[_number(gram, model.base)][k] * value for gram, value in x.items()) / length + float(model.offset_K[k])
            error = max(error, abs(score - expected))
    return error


def _sequences(text: np.ndarray) -> list[tuple[int, ...]]:
    words = text.tolist()
    return [*((word,) for word in words), *pairwise(words)]


def _number(gram: tuple[int, ...], base: int) -> int:
    number = 0
    for token in gram:
        number = number * base + token + 1
    return number
