"""Reading word lists, rank correlation, analogies: on vectors whose answers are known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from engines.api import Vocabulary
from engines.toolbox import wordlists

TOKENS = ("the", "Paris", "France", "Rome", "Italy", "paris", "apple")
VOCABULARY = Vocabulary(TOKENS, np.arange(len(TOKENS), 0, -1))


def write(folder: Path, text: str) -> Path:
    path = folder / "list.txt"
    path.write_text(text, "utf-8")
    return path


def test_pairs_are_read_with_tabs_commas_or_blanks_and_a_line_of_titles(tmp_path: Path) -> None:
    for text in ("# about\nParis\tRome\t7.5\nthe\tapple\t1\n", "word1,word2,score\nParis,Rome,7.5\nthe,apple,1\n", "Paris Rome 7.5\n\nthe apple 1"):
        assert wordlists.read_pairs(write(tmp_path, text)) == [("Paris", "Rome", 7.5), ("the", "apple", 1.0)]


def test_a_list_in_another_format_is_refused(tmp_path: Path) -> None:
    with pytest.raises(wordlists.WordListError, match=r"Line 2 of .* should hold two words and a number"):
        wordlists.read_pairs(write(tmp_path, "a b 1\na b\n"))
    with pytest.raises(wordlists.WordListError, match="holds no pairs"):
        wordlists.read_pairs(write(tmp_path, "# nothing\n"))
    with pytest.raises(wordlists.WordListError, match=r"nowhere\.tsv cannot be read: No such file"):
        wordlists.read_pairs(tmp_path / "nowhere.tsv")
    with pytest.raises(wordlists.WordListError, match="should hold four words"):
        wordlists.read_questions(write(tmp_path, ": capitals\nParis France Rome\n"))


def test_a_word_is_found_as_written_else_whatever_its_case() -> None:
    find = wordlists.finder(VOCABULARY)
    assert [find(word) for word in ("Paris", "paris", "PARIS", "FRANCE", "nowhere")] == [1, 5, 1, 2, None]


def test_similarity_ranks_cosines_and_tells_how_many_pairs_are_known(tmp_path: Path) -> None:
    angles = torch.tensor([0.0, 0.1, 0.3, 0.7, 1.2, 2.0, 3.0])
    vectors_VD = torch.stack((angles.cos(), angles.sin()), dim=1) * 5
    path = write(tmp_path, "the Paris 9\nthe France 8\nthe Rome 6\nthe Italy 7\nthe unheard 1\n")
    rho, covered = wordlists.similarity(vectors_VD, VOCABULARY, path)
    assert (rho.key, covered.key) == ("quality/similarity_rho", "quality/similarity_pairs")
    assert rho.value == pytest.approx(0.8)
    assert rho.low is not None
    assert rho.high is not None
    assert rho.low <= rho.value <= rho.high
    assert (covered.value, covered.detail["of"]) == (4, 5)
    assert wordlists.similarity(vectors_VD, VOCABULARY, path)[0] == rho, "the interval is drawn from a seed of its own"
    assert [figure.key for figure in wordlists.similarity(vectors_VD, VOCABULARY, write(tmp_path, "the Paris 1\n"))] == ["quality/similarity_pairs"]


def test_analogies_add_and_never_answer_with_a_word_of_the_question(tmp_path: Path) -> None:
    city, country, france, italy = torch.eye(4)
    vectors_VD = torch.stack([-city, city + france, country + france, city + italy, country + italy, 3 * (city - france), -country])
    path = write(tmp_path, ": capitals\nParis France Rome Italy\nRome Italy Paris France\nParis France Rome apple\nParis France unheard Italy\n")
    accuracy, covered = wordlists.analogies(vectors_VD, VOCABULARY, path)
    assert accuracy.value == pytest.approx(2 / 3)
    assert (covered.value, covered.detail["of"]) == (3, 4)
    assert [q.section for q in wordlists.read_questions(path)] == ["capitals"] * 4
