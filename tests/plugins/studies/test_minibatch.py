"""Minibatches: lines of a text, padding by its formula, and what is concluded."""

from __future__ import annotations

import numpy as np
import pytest

from engines.api import CorpusError, Text, Vocabulary
from plugins.studies.minibatch import ORDER, PACKED, SORTED, Minibatch, lines_of, padding, sampled
from tests.plugins.studies.figures import figures


def text(ids, tokens=("a", "\n", "b")):
    vocabulary = Vocabulary(tokens, np.ones(len(tokens), dtype=np.int64))
    return Text({"train": np.array(ids, dtype=np.int32)}, {}, vocabulary, "f", "", "word")


def test_lines_are_what_stands_between_line_ends():
    found = lines_of(text([0, 2, 1, 1, 2, 1, 0, 0, 0]))
    assert [line.tolist() for line in found] == [[0, 2], [2], [0, 0, 0]]


def test_a_text_without_line_ends_is_refused():
    with pytest.raises(CorpusError, match="no line ends"):
        lines_of(text([0, 1], tokens=("a", "b")))
    with pytest.raises(CorpusError, match="name a corpus"):
        list(Minibatch().groups(None))


def test_drawn_lines_keep_the_order_of_the_text_and_are_cut():
    found = sampled([np.full(length, length) for length in range(1, 50)], 10, 20)
    firsts = [int(line[0]) for line in found]
    assert len(found) == 10
    assert firsts == sorted(firsts)
    assert all(len(line) == min(int(line[0]), 20) for line in found)


@pytest.mark.parametrize(
    ("lengths", "batch", "share"),
    [([3, 1, 2], 1, 0.0), ([4, 2, 4, 2], 2, 0.25), ([2, 2, 4, 4], 2, 0.0), ([5, 5, 1], 2, 0.0), ([4, 1], 9, 0.375)],
)
def test_padding_is_counted_by_its_formula(lengths, batch, share):
    assert padding(lengths, batch) == pytest.approx(share)


@pytest.fixture
def study_and_groups():
    study = Minibatch(batches=[1, 8], lines=16)
    generator = np.random.default_rng(0)
    ids = np.concatenate([np.r_[np.zeros(length, dtype=int), 1] for length in generator.integers(1, 30, 40)])
    return study, list(study.groups(text(ids)))


def test_the_speed_counts_real_tokens_only(study_and_groups):
    _, groups = study_and_groups
    assert len({cell.work for group in groups for cell in group.cells}) == 1
    notes = {cell.curve: cell.note for cell in groups[1].cells}
    assert notes[PACKED].startswith("0% of the positions are padding")
    assert int(notes[SORTED].split("%")[0]) < int(notes[ORDER].split("%")[0])


@pytest.mark.parametrize(("gain", "outcome"), [(1.5, "met"), (0.7, "refuted"), (1.0, "refuted"), (1.02, "not decided")])
def test_the_expectation_follows_from_the_figures(study_and_groups, gain, outcome):
    study, groups = study_and_groups
    known = {(cell.curve, group.x): 1.0 / group.x / (gain if cell.curve == SORTED else 1.0) for group in groups for cell in group.cells}
    found = study.conclude(figures(groups, known))
    assert found.outcome == outcome
    assert any("at B = 8, " in sentence and "times those of B = 1" in sentence for sentence in found.findings)
