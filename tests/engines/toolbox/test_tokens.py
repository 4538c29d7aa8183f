"""Cutting, vocabulary and byte pairs against the plain way of doing the same."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engines.toolbox import tokens
from engines.toolbox.tokens import Coder, encode_bpe, encode_pieces, lower

TEXT = " the cat sat \n\n on the\tmat .\nthe end\n"
LETTERS = st.text(alphabet="ab \n\té.", max_size=60)


def encode(train: str, level: str = "word", valid: str = "", **changes: object) -> tuple[tokens.Lexicon, dict[str, tokens.Encoded]]:
    chosen: dict = {"max_vocabulary": None, "min_count": 1, "unknown": "<unk>"} | changes
    return encode_pieces({"train": train, "valid": valid}, level, **chosen)


@given(LETTERS)
@settings(max_examples=200, deadline=None)
def test_words_are_those_of_split_and_every_character_is_counted(text: str) -> None:
    lexicon, splits = encode(text)
    expected = [token for i, line in enumerate(text.split("\n")) for token in ([] if i == 0 else ["\n"]) + line.split()]
    part = splits["train"]
    assert [lexicon.tokens[i] for i in part.ids] == expected
    assert (np.diff(part.ends, prepend=0) > 0).all()
    assert len(part.ends) == 0 or part.ends[-1] == len(text)
    for token, end in zip(expected[:-1], part.ends, strict=False):
        assert text[:end].endswith(token)


@given(LETTERS)
@settings(max_examples=100, deadline=None)
def test_without_line_ends_words_are_those_of_split(text: str) -> None:
    lexicon, splits = encode(text, "word without lines")
    assert [lexicon.tokens[i] for i in splits["train"].ids] == text.split()
    assert len(splits["train"].ends) == 0 or splits["train"].ends[-1] == len(text)


@pytest.mark.parametrize("level", ["word", "word without lines", "char", "char without lines", "code"])
def test_a_text_cut_in_chunks_is_the_text_cut_at_once(level: str, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = encode(TEXT * 3, level)
    monkeypatch.setattr(tokens, "CHUNK", 5)
    parts = encode(TEXT * 3, level)
    assert whole[0].tokens == parts[0].tokens
    assert np.array_equal(whole[1]["train"].ids, parts[1]["train"].ids)
    assert np.array_equal(whole[1]["train"].ends, parts[1]["train"].ends)


def test_ids_fall_with_frequency_and_ties_go_by_token() -> None:
    lexicon, _ = encode("b a b c c d\n", "word without lines")
    assert lexicon.tokens == ("b", "c", "a", "d", "<unk>")
    assert lexicon.counts.tolist() == [2, 2, 1, 1, 0]
    assert lexicon.unknown == 4


def test_rare_unseen_and_written_unknowns_are_one_token() -> None:
    lexicon, splits = encode("a a a b b c <unk>", "word without lines", "a z <unk>", min_count=2)
    assert lexicon.tokens == ("a", "<unk>", "b")
    assert lexicon.counts.tolist() == [3, 2, 2]
    assert splits["valid"].ids.tolist() == [0, 1, 1]
    assert splits["valid"].ends.tolist() == [1, 3, 9]


def test_the_largest_vocabulary_counts_the_unknown_token() -> None:
    lexicon, splits = encode(" ".join(f"w{i}" for i in range(50) for _ in range(i + 1)), "word without lines", max_vocabulary=10)
    assert len(lexicon.tokens) == 10
    assert Counter(splits["train"].ids.tolist())[lexicon.unknown] == lexicon.counts[lexicon.unknown]
    assert lexicon.counts.sum() == len(splits["train"].ids)


def test_code_is_cut_into_names_numbers_operators_and_lines() -> None:
    source = 'def f(self, *args):\n    """Doc."""\n    return x**2 >= 1.5e-3 or y[0x1F] != "é"  # end\n'
    lexicon, splits = encode(source, "code")
    expected = ['def f ( self , * args ) : \n """ Doc . """ \n return x ** 2 >= 1.5e-3 or y [ 0x1F ] != " é " # end \n']
    assert [lexicon.tokens[i] for i in splits["train"].ids] == expected[0].split(" ")
    assert splits["train"].ends[-1] == len(source)


def test_byte_pairs_are_learned_on_the_training_text_and_write_any_text() -> None:
    train, valid = "the cat sat on the mat\n" * 30, "the über-cat\n日本\n"
    lexicon, splits = encode_bpe({"train": train, "valid": valid}, max_vocabulary=300, min_count=2, end_of_line=True)
    coder = Coder(lexicon, "bpe", lowercase=False)
    assert "Ġcat" in lexicon.tokens
    assert lexicon.unknown is None
    assert coder.decode(splits["valid"].ids.tolist()) == valid
    assert coder.encode(train[:23]) == splits["train"].ids[: len(coder.encode(train[:23]))].tolist()
    assert splits["valid"].ends[-1] == len(valid)
    assert (np.diff(splits["valid"].ends) >= 0).all()
    assert (np.diff(lexicon.counts) <= 0).all()
    assert lexicon.counts.sum() == len(splits["train"].ids)


def test_byte_pairs_without_line_ends_still_count_all_characters() -> None:
    texts = {"train": "one two\nthree\n" * 9, "valid": "one\ntwo\n"}
    lexicon, splits = encode_bpe(texts, max_vocabulary=280, min_count=1, end_of_line=False)
    assert "Ċ" not in [lexicon.tokens[i] for i in splits["train"].ids]
    assert splits["valid"].ends[-1] == len(texts["valid"])


@given(st.text(max_size=30))
def test_lower_case_keeps_the_length(text: str) -> None:
    assert len(lower(text)) == len(text)


def test_coders_write_and_read_back() -> None:
    lexicon, _ = encode(TEXT)
    coder = Coder(lexicon, "word", lowercase=False)
    assert coder.decode(coder.encode("the cat  sat\non the mat\n")) == "the cat sat\non the mat\n"
    assert coder.encode("dog") == [lexicon.unknown]
    letters, _ = encode(TEXT, "char")
    assert Coder(letters, "char", lowercase=True).decode(Coder(letters, "char", lowercase=True).encode("The Cat\n")) == "the cat\n"
