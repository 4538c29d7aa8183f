"""Text files: levels, splits, the cache, and every way in which a file can be no text."""

from __future__ import annotations

import multiprocessing
import os
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from engines.api import CorpusError, Text
from plugins.corpora.text_files import TextFiles

WORDS = "\n".join(f"line {i} of the {'short' if i % 3 else 'long'} text , number {i % 7}" for i in range(200)) + "\n"


def quiet(message: str) -> None:
    pass


@pytest.fixture
def book(tmp_path: Path) -> Path:
    path = tmp_path / "book.txt"
    path.write_text(WORDS, "utf-8")
    return path


def prepare(tmp_path: Path, **parameters: object) -> Text:
    return TextFiles(**parameters).prepare(tmp_path / "cache", quiet)  # type: ignore[arg-type]


def test_one_file_is_split_at_line_ends_in_order(tmp_path: Path, book: Path) -> None:
    text = prepare(tmp_path, train=book, valid_share=0.2, test_share=0.1, level="char")
    parts = [text.decode(text.splits[split].tolist()) for split in ("train", "valid", "test")]  # type: ignore[misc]
    assert "".join(parts) == WORDS
    assert all(part.endswith("\n") for part in parts)
    assert len(parts[1]) == pytest.approx(0.2 * len(WORDS), abs=60)
    assert len(parts[2]) == pytest.approx(0.1 * len(WORDS), abs=60)


def test_given_files_are_the_splits(tmp_path: Path, book: Path) -> None:
    other = tmp_path / "other.txt"
    other.write_text("the short text\n", "utf-8")
    text = prepare(tmp_path, train=book, valid=other, test=other, level="word")
    assert text.decode(text.splits["valid"].tolist()) == "the short text\n"  # type: ignore[misc]
    assert text.splits["train"].dtype == np.uint16
    assert isinstance(text.splits["train"], np.memmap)
    assert text.facts["tokens"]["train"] == len(WORDS.split()) + 200
    assert text.character_ends["train"][-1] == len(WORDS)
    assert (text.level, text.licence) == ("word", "not stated")


def test_counts_are_those_of_the_training_split(tmp_path: Path, book: Path) -> None:
    text = prepare(tmp_path, train=book)
    counts = np.bincount(text.splits["train"], minlength=text.vocabulary.size)
    assert np.array_equal(counts, text.vocabulary.counts)
    assert (np.diff(counts) <= 0).all()


def test_carriage_returns_are_line_ends_and_a_byte_order_mark_is_dropped(tmp_path: Path, book: Path) -> None:
    windows = tmp_path / "windows.txt"
    windows.write_bytes(b"\xef\xbb\xbf" + WORDS.replace("\n", "\r\n").encode())
    assert prepare(tmp_path, train=windows).fingerprint == prepare(tmp_path, train=book).fingerprint


def test_fraction_takes_the_beginning_of_the_training_text_only(tmp_path: Path, book: Path) -> None:
    whole, half = prepare(tmp_path, train=book), prepare(tmp_path, train=book, fraction=0.5)
    assert len(half.splits["train"]) == pytest.approx(len(whole.splits["train"]) / 2, rel=0.05)
    assert half.facts["characters"]["valid"] == whole.facts["characters"]["valid"]
    assert half.fingerprint != whole.fingerprint


def test_lower_case_and_without_line_ends(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("One TWO\none two\n" * 40, "utf-8")
    text = prepare(tmp_path, train=path, lowercase=True, end_of_line=False)
    assert set(text.vocabulary.tokens) == {"one", "two", "<unk>"}
    assert text.encode("ONE Two three\n") == [text.vocabulary.tokens.index(word) for word in ("one", "two", "<unk>")]  # type: ignore[misc]
    assert text.character_ends["train"][-1] == text.facts["characters"]["train"]


def test_prepared_text_comes_from_the_cache_and_follows_the_content(tmp_path: Path, book: Path) -> None:
    announced: list[str] = []
    corpus = TextFiles(train=book)
    first = corpus.prepare(tmp_path / "cache", announced.append)
    again = corpus.prepare(tmp_path / "cache", announced.append)
    assert len(announced) == 1
    assert again.fingerprint == first.fingerprint
    os.utime(book, (1, 1))
    assert corpus.prepare(tmp_path / "cache", announced.append).fingerprint == first.fingerprint
    assert len(announced) == 1
    book.write_text(WORDS.replace("short", "brief"), "utf-8")
    assert corpus.prepare(tmp_path / "cache", announced.append).fingerprint != first.fingerprint
    assert len(announced) == 2
    assert not [path for path in (tmp_path / "cache").iterdir() if path.name.startswith("writing-")]


def _prepare_in_process(path: Path, cache: Path, start: object, results: object) -> None:
    start.wait()  # type: ignore[attr-defined]
    results.put(TextFiles(train=path).prepare(cache, quiet).fingerprint)  # type: ignore[attr-defined]


def test_several_processes_may_prepare_at_once(tmp_path: Path, book: Path) -> None:
    context = multiprocessing.get_context("spawn")
    start, results = context.Barrier(3), context.Queue()
    workers = [context.Process(target=_prepare_in_process, args=(book, tmp_path / "cache", start, results)) for _ in range(3)]
    for worker in workers:
        worker.start()
    found = {results.get(timeout=60) for _ in workers}
    for worker in workers:
        worker.join()
    assert len(found) == 1
    assert [path.name for path in (tmp_path / "cache").iterdir() if path.name not in ("listings", *found)] == []


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (None, "does not exist"),
        (b"", "is empty"),
        (b" \n\n", "nothing but blanks"),
        (b"text\0more", "binary file .* zero byte at 4"),
        (b"caf\xe9 au lait", "not UTF-8 .byte 0xe9 at 3"),
        (b"word", "has [01] token.s. at word level"),
        (b"word " * 100, "single token type, 'word'"),
    ],
)
def test_what_is_no_usable_text_is_refused_with_a_sentence(tmp_path: Path, content: bytes | None, sentence: str) -> None:
    path = tmp_path / "text.txt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(CorpusError, match=sentence) as caught:
        prepare(tmp_path, train=path, end_of_line=False)
    assert "train" in str(caught.value)


def test_a_folder_is_refused(tmp_path: Path, book: Path) -> None:
    with pytest.raises(CorpusError, match=r"valid text .* is a folder"):
        prepare(tmp_path, train=book, valid=tmp_path)


def test_a_cache_that_cannot_be_written_is_a_sentence(tmp_path: Path, book: Path) -> None:
    (tmp_path / "cache").write_text("a file where the folder should be")
    with pytest.raises(CorpusError, match=r"could not be written to .*WORKBENCH_CACHE"):
        prepare(tmp_path, train=book)


def test_byte_pairs_need_room_for_the_bytes() -> None:
    with pytest.raises(ValidationError, match="at least 257"):
        TextFiles(train=Path("x"), level="bpe", max_vocabulary=100)
