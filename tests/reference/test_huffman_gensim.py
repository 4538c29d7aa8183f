"""Code lengths of Huffman trees against gensim's, on words of Python's own sources."""

from __future__ import annotations

import argparse
import inspect
import re
from collections import Counter

import numpy as np
import pytest

from engines.toolbox import trees

word2vec = pytest.importorskip("gensim.models.word2vec", reason="gensim is not installed (extra `test`)")


def theirs(counts: dict[str, int]) -> dict[str, str]:
    model = word2vec.Word2Vec(vector_size=2, hs=1, negative=0, min_count=1)
    model.build_vocab_from_freq(counts)
    return {word: model.wv.get_vecattr(word, "code") for word in counts}


def test_code_lengths_equal_gensims_where_counts_are_apart() -> None:
    draw = np.random.default_rng(0)
    counts = {f"w{i}": int(count) for i, count in enumerate(np.unique(draw.integers(1, 2**30, 400)))}
    ours = trees.huffman(np.array(list(counts.values()))).paths().length_V
    assert ours.tolist() == [len(code) for code in theirs(counts).values()]


def test_the_mean_length_equals_gensims_on_real_words() -> None:
    """Real counts tie, and then codes may differ while their mean does not."""
    counts = dict(Counter(re.findall(r"\w+|[^\w\s]", inspect.getsource(argparse))).most_common())
    codes = theirs(counts)
    weights = np.array(list(counts.values()))
    mean = sum(len(codes[word]) * count for word, count in counts.items()) / weights.sum()
    assert trees.mean_length(trees.huffman(weights), weights) == pytest.approx(mean, rel=1e-12)
