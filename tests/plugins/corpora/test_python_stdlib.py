"""The embedded corpus: deterministic, split by file, and quick the second time."""

from __future__ import annotations

import platform
import time
from pathlib import Path

import numpy as np
import pytest

from engines.api import CorpusError
from plugins.corpora import python_stdlib
from plugins.corpora.python_stdlib import PythonStdlib


def quiet(message: str) -> None:
    pass


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("corpora")


def test_code_has_a_small_vocabulary_and_three_splits(cache: Path) -> None:
    text = PythonStdlib().prepare(cache, quiet)
    assert text.vocabulary.size == 10_000
    assert len(text.splits["train"]) > 1_000_000
    assert min(len(text.splits["valid"]), len(text.splits["test"])) > 20_000
    assert text.licence == "PSF-2.0"
    assert text.facts["python"] == platform.python_version()
    assert {"self", "def", "return", "\n"} <= set(text.vocabulary.tokens[:40])
    for split, ids in text.splits.items():
        assert text.character_ends[split][-1] == text.facts["characters"][split]
        assert int(ids.max()) < text.vocabulary.size


def test_preparing_again_reads_the_memory_maps(cache: Path) -> None:
    first = PythonStdlib().prepare(cache, quiet)
    start = time.perf_counter()
    again = PythonStdlib().prepare(cache, lambda message: pytest.fail("tokenised again"))
    assert time.perf_counter() - start < 1.0
    assert again.fingerprint == first.fingerprint
    assert isinstance(again.splits["train"], np.memmap)


def test_docstrings_are_prose(cache: Path) -> None:
    text = PythonStdlib(source="docstrings", fraction=0.3).prepare(cache, quiet)
    assert "the" in text.vocabulary.tokens[:6]
    assert text.level == "word"


@pytest.mark.slow
def test_a_fraction_is_a_subset_and_leaves_the_held_out_files_alone(cache: Path) -> None:
    whole, part = (PythonStdlib(level="char", fraction=share).prepare(cache, quiet) for share in (1.0, 0.25))
    assert len(part.splits["train"]) < 0.5 * len(whole.splits["train"])
    assert part.facts["characters"]["test"] == whole.facts["characters"]["test"]


def test_a_python_without_source_files_is_a_sentence(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(python_stdlib.sysconfig, "get_paths", lambda: {"stdlib": "/nowhere/python311.zip"})
    with pytest.raises(CorpusError, match=r"python311\.zip.*corpora/text_files"):
        PythonStdlib().prepare(cache, quiet)
