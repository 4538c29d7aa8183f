"""Counts of short word sequences, smoothed."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor, nn

from engines.api import Block, Site, Slot, Trial, certificate, param
from engines.toolbox import trials
from engines.toolbox.batches import Batch
from engines.toolbox.growing import Growing
from engines.toolbox.heads import IGNORED, NormalisedHead
from engines.toolbox.ngrams import Smoothing, levels

LINE_ENDS = ("\n", "<eos>", "</s>", "Ċ")
"""Tokens that end a line at the levels of the corpora, and in texts that write the end of a sentence."""


class NGram(Block):
    """n-gram model

    Kneser and Ney (1995), Improved backing-off for m-gram language modeling; modified and interpolated: Chen and Goodman (1999), An empirical
    study of smoothing techniques for language modeling.

    Equations, for a history h = w_(t-n+1) .. w_(t-1), h' the same without its first word:
        p(w | h) = max(a(h w) - D(a(h w)), 0) / a(h) + g(h) p(w | h')           (1)  a(h) = sum_w a(h w)
        g(h) = sum_w D(a(h w)) / a(h)                                           (2)  what the discounts took is given to the shorter history
        a(h w) = count of h w for the longest histories; for shorter ones the number of different words before h w        (3)
        p(w) = max(a(w) - D(a(w)), 0) / a + g / V                               (4)
        D_i = i - (i + 1) Y n_(i+1) / n_i, i = 1, 2, 3+, Y = n_1 / (n_1 + 2 n_2)    (5)  for each order, from its n_i grams with a = i
    A history that was never seen has g = 1. absolute: counts in (3) at all orders, one D = n_1 / (n_1 + 2 n_2). add_k:
        p(w | h) = (c(h w) + k) / (c(h) + k V)                                  (6)  for the longest history there is, no others

    Symbols: V vocabulary size, n order, a adjusted counts, n_i counts of counts.

    Cost: training is one pass of sorting for each order (no gradients, no steps); memory 24 bytes for each distinct gram; a prediction is n
    look-ups of log2(grams) steps.
    Does nothing when: order = 1 (it is then the smoothed frequencies), or no history of a text was seen in training.
    Parameters: order n, smoothing, k, lines.

    The text is counted once: as many tokens as the budget names, at most one pass over the training split. A second pass would double every
    count, and (5) with them. A budget in seconds counts the whole split. Techniques of the recipe do nothing to it, and say so.
    lines = "cut": histories begin at a line end, as behind <s>; what begins a line keeps its count in (3), since no word stands before it.
    Where the counts of counts give no (5) (tiny texts), D is 0.5, 1 and 1.5, and the run says so.
    """

    slot: ClassVar[Slot] = "model"
    paper: ClassVar[str] = (
        "Kneser and Ney (1995), Improved backing-off for m-gram language modeling, https://doi.org/10.1109/ICASSP.1995.479394; Chen and Goodman "
        "(1999), An empirical study of smoothing techniques for language modeling, https://doi.org/10.1006/csla.1999.0128"
    )

    order: int = param(5, "Words in the longest gram: the history and the predicted word.", unit="words", symbol="n", ge=1, le=6)
    smoothing: Smoothing = param("kneser_ney", "Modified Kneser-Ney (1 to 5), absolute discounting, or add k to every count (6).")
    k: float = param(0.01, "add_k: what is added to every count.", symbol="k", gt=0)
    lines: Literal["cross", "cut"] = param("cross", 'Whether histories "cross" line ends, as a carried state does, or are "cut" there.')

    def build(self, site: Site) -> nn.Module:
        tokens = site.vocabulary.tokens
        line_end = next((tokens.index(token) for token in LINE_ENDS if token in tokens), None) if self.lines == "cut" else None
        return NGramModel(self, site.vocabulary.size, line_end, site.length)


class NGramModel(nn.Module):
    """A whole language model: `hidden` gives histories, the head looks them up. Its counts are buffers that `fit` or a state_dict brings."""

    def __init__(self, chosen: NGram, size: int, line_end: int | None, length: int) -> None:
        super().__init__()
        self.order, self.line_end, self.length = chosen.order, line_end, length
        self.chosen = chosen
        self.head = Counts(size, chosen.order, interpolated=chosen.smoothing != "add_k")

    def fit(self, ids_T: np.ndarray) -> str:
        """Count a text; returns what was found, in a sentence. What was counted before is forgotten."""
        found, guessed = levels(ids_T, self.head.vocabulary_size, self.order, self.line_end, self.chosen.smoothing, self.chosen.k)
        device = self.head.device
        for k, level in enumerate(found, start=1):
            for name, values in (("keys", level.keys), ("share", level.share)):
                self.head.register_buffer(f"{name}_{k}", torch.from_numpy(values).to(device))
            self.head.register_buffer(f"backoff_{k - 1}", torch.from_numpy(level.backoff).to(device))
        sizes = ", ".join(f"{len(level.keys):,}" for level in found)
        told = f"Counted {sizes} different grams of 1 to {self.order} words." if self.order > 1 else f"Counted {sizes} words."
        if guessed:
            told += f" The counts of counts give no discount for order {', '.join(map(str, guessed))}: 0.5 was used for the first of them."
        return told

    def hidden(self, ids_BT: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor, dict[str, Any]]:
        """histories_BTC: the C = n - 1 tokens up to each token (at least one), oldest first, -1 where there is none; the last ones as state."""
        columns = max(1, self.order - 1)
        if state is None:
            state = torch.full((len(ids_BT), columns), -1, dtype=torch.int64, device=ids_BT.device)
        joined = torch.cat((state, ids_BT), dim=1)
        histories_BTC = joined.unfold(1, columns, 1)[:, 1:]
        if self.line_end is not None:
            is_end = histories_BTC == self.line_end
            # Line ends at later places: what stands before one is no history.
            later = is_end.flip(-1).cumsum(-1).flip(-1) - is_end.long()
            histories_BTC = histories_BTC.masked_fill(later > 0, -1)
        return histories_BTC, joined[:, -columns:], {}

    def forward(self, batch: Batch, state: Any = None) -> tuple[Tensor, int, Any, dict[str, Any]]:
        """As the assembled model: (sum of nats, number of targets, state, extras). There is nothing to differentiate."""
        histories_BTC, state, extras = self.hidden(batch.inputs_BT, None if batch.fresh else state)
        return self.head.loss(histories_BTC.flatten(0, 1), batch.targets_BT.flatten()), batch.tokens, state, extras


class Counts(Growing, NormalisedHead):
    """Equations (1), (4) and (6) on rows of histories. Buffers, for k = 1 .. n: keys_k, share_k (grams), backoff_(k-1) (histories)."""

    def __init__(self, vocabulary_size: int, order: int, *, interpolated: bool) -> None:
        super().__init__(vocabulary_size)
        self.order, self.interpolated = order, interpolated
        for k in range(1, order + 1):
            # As if no text had been counted: every word is as probable as every other.
            self.register_buffer(f"keys_{k}", torch.arange(vocabulary_size if k == 1 else 0))
            self.register_buffer(f"share_{k}", torch.zeros(vocabulary_size if k == 1 else 0, dtype=torch.float64))
            self.register_buffer(f"backoff_{k - 1}", torch.ones((1, vocabulary_size)[k - 1] if k <= 2 else 0, dtype=torch.float64))

    @property
    def device(self) -> torch.device:
        """Where the counts lie."""
        return self._buffer("share", 1).device

    def loss(self, hidden_ND: Tensor, target_N: Tensor) -> Tensor:
        return self.nll(hidden_ND, target_N).sum()

    def nll(self, hidden_ND: Tensor, target_N: Tensor) -> Tensor:
        ignored = target_N == IGNORED
        word_N = target_N.masked_fill(ignored, 0)
        p_N = torch.full(word_N.shape, 1 / self.vocabulary_size, dtype=torch.float64, device=word_N.device)
        for k in range(1, self.order + 1):
            history_N, there = self._history(hidden_ND, k)
            gram_N = self._find(k, history_N, word_N)
            share_N = _looked_up(self._buffer("share", k), gram_N, 0.0)
            backoff_N = _looked_up(self._buffer("backoff", k - 1), history_N, 1.0)
            lower_N = p_N if self.interpolated else 1 / self.vocabulary_size
            p_N = torch.where(there, share_N + backoff_N * lower_N, p_N)  # (1), (4), (6)
        return -p_N.log().masked_fill(ignored, 0)

    def log_prob_rows(self, hidden_ND: Tensor) -> Tensor:
        size = self.vocabulary_size
        p_NV = torch.full((len(hidden_ND), size), 1 / size, dtype=torch.float64, device=hidden_ND.device)
        for k in range(1, self.order + 1):
            history_N, there = self._history(hidden_ND, k)
            backoff_N = _looked_up(self._buffer("backoff", k - 1), history_N, 1.0)
            lower_NV = p_NV if self.interpolated else torch.full_like(p_NV, 1 / size)
            p_NV = torch.where(there[:, None], backoff_N[:, None] * lower_NV, p_NV)
            if k == 1:
                p_NV += self._buffer("share", 1)
                continue
            keys, share = self._buffer("keys", k), self._buffer("share", k)
            known = there & (history_N >= 0)
            begin_N = torch.searchsorted(keys, torch.where(known, history_N, 0) * size)
            count_N = torch.where(known, torch.searchsorted(keys, (history_N + 1) * size) - begin_N, 0)
            row = torch.arange(len(hidden_ND), device=keys.device).repeat_interleave(count_N)
            within = torch.arange(len(row), device=keys.device) - (count_N.cumsum(0) - count_N)[row]
            gram = begin_N[row] + within  # the followers of one history lie side by side
            p_NV[row, keys[gram] - history_N[row] * size] += share[gram]
        return p_NV.log()

    def _buffer(self, name: str, k: int) -> Tensor:
        found: Tensor = getattr(self, f"{name}_{k}")
        return found

    def _history(self, hidden_ND: Tensor, k: int) -> tuple[Tensor, Tensor]:
        """(number of the last k - 1 tokens among all grams of that length, -1 where never seen; whether there are so many tokens)."""
        words = hidden_ND[:, hidden_ND.shape[1] - (k - 1) :]
        if k == 1:
            return torch.zeros(len(hidden_ND), dtype=torch.int64, device=hidden_ND.device), torch.ones_like(hidden_ND[:, 0], dtype=torch.bool)
        number_N = words[:, 0]
        for place in range(1, k - 1):
            number_N = self._find(place + 1, number_N, words[:, place])
        return number_N, words[:, 0] >= 0

    def _find(self, k: int, history_N: Tensor, word_N: Tensor) -> Tensor:
        """Number of the gram (history, word) at level k, -1 where it, or its history, was never seen."""
        if k == 1:
            return word_N
        keys = self._buffer("keys", k)
        if not len(keys):
            return torch.full_like(history_N, -1)
        key_N = history_N * self.vocabulary_size + word_N  # equation (K) of toolbox.ngrams
        place_N = torch.searchsorted(keys, key_N.contiguous()).clamp(max=len(keys) - 1)
        return torch.where((history_N >= 0) & (keys[place_N] == key_N), place_N, -1)


def _looked_up(values: Tensor, number_N: Tensor, otherwise: float) -> Tensor:
    """values[number], `otherwise` where the number is -1."""
    if not len(values):
        return torch.full(number_N.shape, otherwise, dtype=torch.float64, device=number_N.device)
    return torch.where(number_N >= 0, values[number_N.clamp(min=0)], otherwise)


def _fitted(trial: Trial, **chosen: Any) -> tuple[NGramModel, np.ndarray]:
    """A model of random words with repetition, and the words."""
    draw = np.random.default_rng(trial.seed)
    ids = (trial.vocabulary * draw.random(40 * trial.length) ** 3).astype(np.int64)
    model: Any = NGram(**chosen).build(trials.site(trial))
    model.to(trial.device).fit(ids)
    return model, ids


@certificate("The probabilities of all words sum to 1 after every history, seen and unseen, at every order and smoothing", tolerance=1e-12)
def sums_to_one(trial: Trial) -> float:
    """Largest distance from 1, and of `nll` from `log_prob`."""
    error = 0.0
    for chosen in ({"smoothing": "kneser_ney"}, {"smoothing": "absolute", "order": 3}, {"smoothing": "add_k", "k": 0.1}, {"order": 1}):
        model, ids = _fitted(trial, **chosen)
        draw = torch.Generator().manual_seed(trial.seed)
        unseen = torch.randint(trial.vocabulary, (4, trial.length), generator=draw)
        text = torch.cat((torch.from_numpy(ids[: trial.length])[None], unseen)).to(trial.device)
        history_ND = model.hidden(text)[0].flatten(0, 1)
        log_p_NV = model.head.log_prob(history_ND)
        target_N = torch.randint(trial.vocabulary, (len(history_ND),), generator=draw).to(trial.device)
        error = max(error, float((log_p_NV.exp().sum(1) - 1).abs().max()))
        error = max(error, float((model.head.nll(history_ND, target_N) + log_p_NV.gather(1, target_N[:, None])[:, 0]).abs().max()))
    return error


@certificate("add_k with order 1 is the frequency of a word plus k, over the number of tokens plus k V", tolerance=1e-12)
def add_k_is_the_smoothed_frequency(trial: Trial) -> float:
    """Largest difference of probabilities."""
    model, ids = _fitted(trial, smoothing="add_k", order=1, k=1.0)
    counts = np.bincount(ids, minlength=trial.vocabulary)
    expected = torch.from_numpy((counts + 1.0) / (len(ids) + trial.vocabulary))
    found = model.head.log_prob(model.hidden(torch.zeros(1, 1, dtype=torch.int64, device=trial.device))[0][0])[0].exp().cpu()
    return float((found - expected).abs().max())
