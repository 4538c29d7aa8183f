"""Labelled files: how lines are cut, which are drawn for validation and test, and sentences for files that are none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engines.api import CorpusError, Text
from plugins.corpora.labelled_files import LabelledFiles

WORDS = ["gut", "schlecht", "naja", "film", "ende", "anfang"]


def lines(n: int = 40) -> list[tuple[str, str]]:
    draw = np.random.default_rng(0)
    return [("pos" if i % 4 else "neg", " ".join(draw.choice(WORDS, int(draw.integers(1, 7))))) for i in range(n)]


def write(path: Path, pairs: list[tuple[str, str]], separator: str = " ||| ", last: bool = False) -> Path:
    path.write_text("".join(f"{separator.join((b, a) if last else (a, b))}\n" for a, b in pairs), "utf-8")
    return path


def prepare(tmp_path: Path, **parameters: Any) -> Text:
    corpus = LabelledFiles(**parameters)
    corpus.check()
    return corpus.prepare(tmp_path / "cache", lambda sentence: None)


def read_back(text: Text, split: str) -> list[tuple[str, str]]:
    documents, ids = text.documents[split], text.splits[split].tolist()
    starts = [0, *documents.ends[:-1].tolist()]
    assert text.decode is not None
    return [
        (text.classes[label], text.decode(ids[a:b]).strip())
        for a, b, label in zip(starts, documents.ends.tolist(), documents.labels.tolist(), strict=True)
    ]


@pytest.mark.parametrize("level", ["word", "char", "bpe"])
@pytest.mark.parametrize(
    ("separator", "parameters"),
    [(" ||| ", {}), ("\t", {}), (" ", {}), ("|||", {"form": "bars"}), ("\t", {"label": "last"}), (" ", {"label": "last", "form": "blank"})],
)
def test_every_text_comes_back_with_its_label(tmp_path: Path, level: str, separator: str, parameters: dict[str, Any]) -> None:
    files = {
        split: write(tmp_path / split, lines(n), separator, parameters.get("label") == "last")
        for split, n in (("train", 40), ("valid", 9), ("test", 7))
    }
    text = prepare(tmp_path, **files, level=level, **parameters)
    assert text.classes == ("pos", "neg")
    for split, n in (("train", 40), ("valid", 9), ("test", 7)):
        assert read_back(text, split) == lines(n)


def test_what_has_no_file_is_drawn_and_not_cut_from_the_end(tmp_path: Path) -> None:
    pairs = sorted((label, f"w{i} film") for i, (label, _) in enumerate(lines(100)))
    file = write(tmp_path / "all", pairs)
    text = prepare(tmp_path, train=file, valid_share=0.2, test_share=0.1)
    found = {split: read_back(text, split) for split in text.splits}
    assert {split: len(part) for split, part in found.items()} == {"train": 70, "valid": 20, "test": 10}
    unknown = text.vocabulary.tokens[text.vocabulary.unknown or 0]
    assert ("neg", f"{unknown} film") in found["valid"], "words of drawn texts alone are unknown"
    assert {label for label, _ in found["valid"]} == {"pos", "neg"}, "a file that is sorted by label ends with one of them"
    half = prepare(tmp_path, train=file, valid_share=0.2, test_share=0.1, fraction=0.5)
    assert len(half.documents["train"].labels) == 35
    assert set(read_back(half, "train")) <= set(found["train"])
    assert text.facts["texts"] == {"train": 70, "valid": 20, "test": 10}


def test_facts_tell_of_texts_that_are_in_training_too(tmp_path: Path) -> None:
    train, test = write(tmp_path / "train", [*lines(), ("pos", "der film")]), write(tmp_path / "test", [("neg", "der film"), ("pos", "neu")])
    facts = prepare(tmp_path, train=train, test=test).facts
    assert facts["texts_also_in_training"]["test"] == 1
    assert facts["classes"]["test"] == {"neg": 1, "pos": 1}


def test_other_labels_are_another_corpus_and_a_changed_file_is_read_anew(tmp_path: Path) -> None:
    pairs = lines()
    first = prepare(tmp_path, train=write(tmp_path / "train", pairs))
    pairs[0] = ("pos", pairs[0][1])
    second = prepare(tmp_path, train=write(tmp_path / "train", pairs))
    assert first.fingerprint != second.fingerprint
    assert first.documents["train"].labels.sum() != second.documents["train"].labels.sum()


def test_a_header_and_blank_lines_are_no_texts(tmp_path: Path) -> None:
    file = tmp_path / "train"
    file.write_text("label\ttext\n\n" + "".join(f"{label}\t{text}\n\n" for label, text in lines()), "utf-8")
    text = prepare(tmp_path, train=file, header=True)
    assert text.classes == ("pos", "neg")


@pytest.mark.parametrize(
    ("content", "parameters", "sentence"),
    [
        ("pos ||| a b\nneg |||\n" * 5, {}, r"Line 2 of the train file .* is no label and text with '\|\|\|' between them: 'neg \|\|\|'"),
        ("pos\na b\n", {}, r"Line 1 of the train file .* is no label and text with a blank between them: 'pos'"),
        ("pos a\n" * 9, {}, "have the label 'pos': there is nothing to tell apart"),
        ("".join(f"{i} a\n" for i in range(30)), {}, r"has 24 labels on 24 training texts .*these are no classes"),
        ("label\ttext\n", {"header": True}, "has a header and no line after it"),
        ("", {}, "is empty"),
    ],
)
def test_a_file_that_is_none_is_refused_in_a_sentence(tmp_path: Path, content: str, parameters: dict[str, Any], sentence: str) -> None:
    (tmp_path / "train").write_text(content, "utf-8")
    with pytest.raises(CorpusError, match=sentence):
        LabelledFiles(train=tmp_path / "train", **parameters).check()


def test_a_label_that_nothing_teaches_is_refused(tmp_path: Path) -> None:
    train, test = write(tmp_path / "train", lines()), write(tmp_path / "test", [("neutral", "der film")])
    with pytest.raises(CorpusError, match="The label 'neutral' of the test texts is on no training text"):
        LabelledFiles(train=train, test=test).classes()
    with pytest.raises(CorpusError, match="does not exist"):
        LabelledFiles(train=tmp_path / "nowhere").check()
