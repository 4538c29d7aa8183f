"""Skip-gram with negative sampling through the engine against gensim on the same words with the same settings."""

from __future__ import annotations

import numpy as np
import pytest

from engines.runtime.plan import plugin, text_of
from engines.toolbox.words import not_words
from tests.benchmarks import bench_words


@pytest.mark.slow
def test_words_have_the_neighbours_that_gensim_gives_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """At least 60% of what two seeds of gensim share: the engine moves the words of a batch together, gensim one by one."""
    # The sum over a batch moves a word by every pair it is in: with few, frequent words a large batch runs away where single pairs do not.
    monkeypatch.setattr(bench_words, "BATCH", 4)
    monkeypatch.setattr(bench_words, "SEQUENCE", 8)
    corpus = {"id": "corpora/python_stdlib", "level": "word", "max_vocabulary": 3_000, "fraction": 0.2}
    text = text_of(plugin(corpus), lambda sentence: None)  # type: ignore[arg-type]
    skipped = set(not_words(text.vocabulary))
    words = [int(i) for i in text.splits["train"] if int(i) not in skipped]
    ours, _, _ = bench_words.engine(corpus, text, words, 0)
    one, other = (bench_words.gensim(corpus, text, words, seed)[0] for seed in (0, 1))
    chance = 10 / text.vocabulary.size
    among_them, with_us = bench_words.overlap(one, other), bench_words.overlap(ours, one)
    assert among_them > 10 * chance
    assert with_us > 0.6 * among_them, f"{with_us:.2f} of ten neighbours shared, {among_them:.2f} between two seeds of gensim"
    assert np.isfinite(ours).all()
