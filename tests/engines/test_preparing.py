"""A corpus that is prepared by a process of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from engines import preparing
from engines.api import CorpusError
from plugins.corpora.text_files import TextFiles


@pytest.fixture
def choice(tmp_path: Path) -> dict[str, str]:
    for split in ("train", "valid", "test"):
        (tmp_path / f"{split}.txt").write_text(f"the {split} of it all\n" * 200, encoding="utf-8")
    return {split: str(tmp_path / f"{split}.txt") for split in ("train", "valid", "test")}


def test_what_another_process_prepared_is_only_read(tmp_path: Path, choice: dict[str, str]) -> None:
    corpus, said = TextFiles(**choice), []
    assert not corpus.is_prepared(tmp_path / "cache")
    preparing.in_own_process({"id": "corpora/text_files", **choice}, tmp_path / "cache", said.append)
    assert len(said) == 1
    assert said[0].startswith("Tokenising")
    assert corpus.is_prepared(tmp_path / "cache")
    text = corpus.prepare(tmp_path / "cache", said.append)
    assert len(said) == 1
    assert len(text.splits["train"]) >= 1000
    (tmp_path / "train.txt").write_text("another text\n" * 300, encoding="utf-8")
    assert not corpus.is_prepared(tmp_path / "cache")


def test_what_is_wrong_with_a_corpus_arrives(tmp_path: Path, choice: dict[str, str]) -> None:
    Path(choice["valid"]).write_bytes(b"\x00\xff" * 500)
    with pytest.raises(CorpusError, match="valid"):
        preparing.in_own_process({"id": "corpora/text_files", **choice}, tmp_path / "cache", lambda sentence: None)


def test_preparing_needs_no_torch() -> None:
    code = "import sys, engines.preparing, plugins.corpora.text_files, plugins.corpora.python_stdlib; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "False"
