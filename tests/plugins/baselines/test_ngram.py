"""n-gram model: hand counts, a second implementation by definition, the engine's way of fitting it, saving, techniques that do nothing."""

from __future__ import annotations

from collections import Counter, defaultdict
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from engines.api import Site, Vocabulary
from engines.runtime.finished import load_finished, save_finished
from engines.toolbox.heads import IGNORED
from engines.toolbox.ngrams import discount, discounts
from plugins.baselines import ngram
from tests.engines.runtime import session as small
from tests.plugins.checks import TRIALS, assert_holds, certificates

LINE = 0
WORDS = ("\n", "a", "b", "c", "d")


@pytest.mark.parametrize("trial", TRIALS)
@pytest.mark.parametrize("certificate", certificates(ngram), ids=lambda each: each.__name__)
def test_certificates(certificate: Any, trial: Any) -> None:
    assert_holds(certificate, trial)


def fitted(ids: Any, size: int = len(WORDS), **chosen: Any) -> Any:
    words = WORDS[:size] if size <= len(WORDS) else ("\n", *(f"w{i}" for i in range(1, size)))
    model: Any = ngram.NGram(**chosen).build(Site(0, Vocabulary(words, np.ones(size, np.int64)), 8))
    model.told = model.fit(np.asarray(ids, np.uint16))
    return model


def probability(model: Any, history: list[int], word: int) -> float:
    """p(word | history), the history being the start of a text."""
    histories, _, _ = model.hidden(torch.tensor([history]))
    return float((-model.head.nll(histories[0, -1:], torch.tensor([word]))).exp())


def test_bigrams_counted_by_hand() -> None:
    """Three lines "a b", "a a", "b" behind <s>. No gram of either order occurs three times, so D is 0.5, 1, 1.5.

    Bigrams: <s>a 2, <s>b 1, ab 1, aa 1, a</s> 1, b</s> 2. Different words before a: <s> a; before b: <s> a; before </s>: a b. So each word has
    (2 - 1) / 6 + (3 / 6) / 3 = 1/3 without a history.
    """
    model = fitted([1, 2, LINE, 1, 1, LINE, 2, LINE], 3, order=2, lines="cut")
    assert probability(model, [LINE], 1) == pytest.approx((2 - 1) / 3 + (1.5 / 3) / 3)
    assert probability(model, [LINE], 2) == pytest.approx(0.5 / 3 + 0.5 / 3)
    assert probability(model, [LINE], LINE) == pytest.approx(0 + 0.5 / 3)
    assert probability(model, [2], LINE) == pytest.approx((2 - 1) / 2 + 0.5 / 3)
    assert probability(model, [1], 2) == pytest.approx((1 - 0.5) / 3 + (3 * 0.5 / 3) / 3)
    assert "0.5 was used" in model.told


def test_discounts_follow_their_equations() -> None:
    counts = np.repeat([1, 2, 3, 4, 9], [50, 20, 12, 5, 3])
    y = Fraction(50, 90)
    expected = (1 - 2 * y * Fraction(20, 50), 2 - 3 * y * Fraction(12, 20), 3 - 4 * y * Fraction(5, 12))
    assert discounts(counts) == (pytest.approx(tuple(map(float, expected))), True)
    assert discount(counts) == (pytest.approx(50 / 90), True)


class ByDefinition:
    """Chen and Goodman's definitions on dictionaries and sets of tuples, one word at a time; shares no code and no layout with what it checks."""

    def __init__(self, ids: list[int], size: int, order: int, smoothing: str, k: float, cut: bool) -> None:
        self.size, self.order, self.smoothing, self.k, self.cut = size, order, smoothing, k, cut
        self.raw: dict[int, Counter[tuple[int, ...]]] = defaultdict(Counter)
        before: dict[tuple[int, ...], set[int]] = defaultdict(set)
        for t, word in enumerate(ids):
            history = self.history(ids[:t] if not cut else [LINE, *ids[:t]])
            for n in range(min(order - 1, len(history)) + 1):
                gram = (*history[len(history) - n :], word)
                self.raw[n + 1][gram] += 1
                if n:
                    before[gram[1:]].add(gram[0])
        self.adjusted: dict[int, dict[tuple[int, ...], int]] = {}
        for n in range(1, order + 1):
            starts = cut and n > 1
            self.adjusted[n] = {
                gram: count if n == order or smoothing != "kneser_ney" or (starts and gram[0] == LINE) else len(before[gram])
                for gram, count in self.raw[n].items()
            }

    def history(self, ids: list[int]) -> list[int]:
        if self.cut and LINE in ids:
            ids = ids[len(ids) - 1 - ids[::-1].index(LINE) :]
        return ids[max(0, len(ids) - self.order + 1) :]

    def discount(self, n: int, count: int) -> float:
        of = Counter(self.adjusted[n].values())
        if self.smoothing == "absolute":
            return of[1] / (of[1] + 2 * of[2]) if of[1] and of[2] else 0.5
        given = [0.5, 1.0, 1.5]
        if of[1] and of[2] and of[3]:
            y = of[1] / (of[1] + 2 * of[2])
            wanted = [i - (i + 1) * y * of[i + 1] / of[i] for i in (1, 2, 3)]
            if all(0 < d <= i for i, d in enumerate(wanted, start=1)):
                given = wanted
        return given[min(count, 3) - 1]

    def probability(self, ids: list[int], word: int) -> float:
        history = self.history(ids)
        if self.smoothing == "add_k":
            followers = {gram: c for gram, c in self.raw[len(history) + 1].items() if list(gram[:-1]) == history}
            return (followers.get((*history, word), 0) + self.k) / (sum(followers.values()) + self.k * self.size)
        return self.interpolated(history, word)

    def interpolated(self, history: list[int], word: int) -> float:
        n = len(history) + 1
        lower = self.interpolated(history[1:], word) if history else 1 / self.size
        followers = {gram: c for gram, c in self.adjusted[n].items() if list(gram[:-1]) == history and c > 0}
        total = sum(followers.values())
        if not total:
            return lower
        count = followers.get((*history, word), 0)
        given = sum(self.discount(n, c) for c in followers.values()) / total
        return (max(count - self.discount(n, count), 0) / total if count else 0.0) + given * lower


@pytest.mark.parametrize("cut", [True, False], ids=["cut", "cross"])
@pytest.mark.parametrize(("smoothing", "order"), [("kneser_ney", 1), ("kneser_ney", 2), ("kneser_ney", 4), ("absolute", 3), ("add_k", 3)])
def test_every_probability_is_that_of_the_definition(smoothing: Any, order: int, cut: bool) -> None:
    draw = np.random.default_rng(order)
    ids = (11 * draw.random(400) ** 2).astype(int).tolist()
    model = fitted(ids, 11, order=order, smoothing=smoothing, k=0.3, lines="cut" if cut else "cross")
    expected = ByDefinition(ids, 11, order, smoothing, 0.3, cut)
    other = (11 * draw.random(30) ** 2).astype(int).tolist()
    for text in (ids[:20], other):
        log_p_TV = model.head.log_prob(model.hidden(torch.tensor([text]))[0][0])
        for t in range(len(text)):
            for word in range(11):
                assert float(log_p_TV[t, word].exp()) == pytest.approx(expected.probability(text[: t + 1], word), rel=1e-12), (text[: t + 1], word)


def test_the_text_of_a_line_is_no_history_of_the_next() -> None:
    model = fitted([1, 2, 3, LINE, 2, 1, LINE] * 3, order=4, lines="cut")
    assert probability(model, [1, 2, LINE], 2) == probability(model, [3, 3, 1, LINE], 2) == probability(model, [LINE], 2)
    crossing = fitted([1, 2, 3, LINE, 2, 1, LINE] * 3, order=4)
    assert probability(crossing, [2, 3, LINE], 2) != probability(crossing, [2, 1, LINE], 2)


def test_what_is_ignored_costs_nothing() -> None:
    model = fitted([1, 2, 3, LINE] * 4)
    nats = model.head.nll(torch.tensor([[-1, -1, 0, 1]] * 2), torch.tensor([2, IGNORED]))
    assert nats[0] > 0
    assert nats[1] == 0


def test_before_it_is_fitted_every_word_is_as_probable() -> None:
    model: Any = ngram.NGram().build(Site(0, Vocabulary(WORDS, np.ones(5, np.int64)), 8))
    assert torch.allclose(model.head.log_prob(torch.tensor([[0, 1, 2, 3]])).exp(), torch.full((1, 5), 0.2, dtype=torch.float64))


# --- In the engine --------------------------------------------------------------------------------------------------------------------------

RECIPE = [{"id": "optimization/adam"}, {"id": "optimization/clip_norm"}, {"id": "optimization/cosine"}, {"id": "regularization/weight_drop"}]


def run_of(folder: Path, budget: dict[str, float], **chosen: Any) -> Any:
    return small.trainer(folder, small.plan(RECIPE, model={"id": "baselines/ngram", **chosen}, budget=budget))


@pytest.mark.parametrize(
    ("budget", "tokens"),
    [({"tokens": 5_000}, 5_000), ({"steps": 10}, 960), ({"epochs": 0.5}, 7_000), ({"epochs": 3}, 14_000), ({"seconds": 9}, 14_000)],
)
def test_the_text_is_counted_once_at_most(tmp_path: Path, budget: dict[str, float], tokens: int) -> None:
    trainer = run_of(tmp_path, budget, order=3)
    trainer.train()
    session = trainer.session
    assert session.tokens == tokens
    assert session.step == 0
    assert session.seconds > 0
    assert f"{tokens:,} of the 14,000 training tokens were read, each once." in session.fitted
    unigrams = np.bincount(session.text.splits["train"][:tokens], minlength=small.SIZE)
    plain = ngram.NGram(order=1, smoothing="add_k", k=1.0).build(Site(0, session.text.vocabulary, 12))
    plain.fit(session.text.splits["train"][:tokens])  # type: ignore[operator]
    share = float(plain.head.share_1[0])  # type: ignore[union-attr, index]
    assert share == pytest.approx(unigrams[0] / (tokens + small.SIZE))


def test_it_is_judged_saved_and_restored(tmp_path: Path) -> None:
    trainer = run_of(tmp_path, {"epochs": 1})
    trainer.train()
    assert "train/loss" not in trainer.recorder.points
    (perplexity,) = [value for _, value in trainer.recorder.points["quality/valid_perplexity"]]
    assert perplexity < 0.5 * next(value for _, value in trainer.recorder.points["quality/valid_unigram_perplexity"])
    records = trainer.pipeline.finish()
    session = trainer.session
    save_finished(session.model, session.plan, records, tmp_path / "model", session.text.fingerprint)
    loaded = load_finished(tmp_path / "model", "cpu", session.text)
    figures = [session.task.evaluate(model, session.text, "test", 0, 32, session.device) for model in (session.model, loaded.model)]
    assert figures[0] == figures[1]


def test_techniques_of_the_base_say_that_they_do_nothing(tmp_path: Path) -> None:
    trainer = run_of(tmp_path, {"epochs": 1})
    trainer.train()
    trainer.pipeline.finish()
    told = {effect.technique: effect.sentence for effect in trainer.pipeline.stated_effects()}
    assert set(told) == {technique["id"] for technique in RECIPE}
    assert all(sentence.startswith("Does nothing here") for sentence in told.values())


@pytest.mark.gpu
def test_on_a_gpu_it_is_the_same() -> None:
    text = [1, 2, 3, LINE, 2, 1, LINE, 3, 2] * 5
    there, here = fitted(text), fitted(text)
    there.cuda()
    histories, targets = here.hidden(torch.tensor([text]))[0][0], torch.tensor(text)
    torch.testing.assert_close(there.head.nll(histories.cuda(), targets.cuda()).cpu(), here.head.nll(histories, targets), rtol=0, atol=1e-14)
    torch.testing.assert_close(there.head.log_prob(histories.cuda()).cpu(), here.head.log_prob(histories), rtol=0, atol=1e-14)
