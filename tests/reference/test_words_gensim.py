"""Skip-gram with negative sampling through the engine against gensim on the same words with the same settings."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from engines.runtime.plan import plugin, text_of
from engines.toolbox.wordlists import similarity
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


@pytest.mark.slow
def test_words_are_as_alike_as_people_find_them_no_less_than_gensims(tmp_path: Path) -> None:
    """WordSim-353 after five times 430,000 words of Wikipedia: both follow people's judgements, the engine at least as far on the same pairs."""
    corpus = bench_words.articles(tmp_path)
    text = text_of(plugin(corpus), lambda sentence: None)  # type: ignore[arg-type]
    skipped = set(not_words(text.vocabulary))
    words = [int(i) for i in text.splits["train"] if int(i) not in skipped]
    ours, theirs = (trained(corpus, text, words, 0)[0] for trained in (bench_words.engine, bench_words.gensim))
    listed = bench_words.brought("wordsim353.tsv")
    (mine, known), (other, _) = (similarity(torch.from_numpy(vectors), text.vocabulary, listed) for vectors in (ours, theirs))
    assert known.value > 200
    assert mine.low is not None
    assert mine.low > 0.1, mine
    assert mine.value > other.value - 0.05, f"rho {mine.value:.3f}, gensim's {other.value:.3f}"
