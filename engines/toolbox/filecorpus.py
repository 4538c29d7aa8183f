"""Corpora of the user's own files: what they share, whatever a line of them is."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from pydantic import model_validator

from engines.api import Corpus
from engines.toolbox import minilm, pretrained
from engines.toolbox.corpora import MOST_PAIRS, check_level, known_types

TYPES = {"pretrained": pretrained.TYPES, minilm.LEVEL: minilm.TYPES}
"""Levels whose token types do not depend on the text."""
BYTES = 256
"""Token types of byte pairs before any pair is made."""


class FileCorpus(Corpus):
    """The parameters below are each plugin's own, with its own words. `valid` and `test` may be missing: they are then shares of `train`."""

    if TYPE_CHECKING:
        train: Path
        valid: Path | None
        test: Path | None
        valid_share: float
        test_share: float
        fraction: float
        max_vocabulary: int | None
        min_count: int
        lowercase: bool
        unknown: str
        level: Any

    @model_validator(mode="after")
    def _bytes_fit(self) -> Self:
        if self.level == "bpe" and self.max_vocabulary is not None and self.max_vocabulary <= BYTES:
            raise ValueError(
                f"max_vocabulary is {self.max_vocabulary}, but level 'bpe' has {BYTES} byte tokens before any pair: use at least {BYTES + 1}."
            )
        return self

    def files(self) -> dict[str, Path]:
        """Split -> file, of those that are given."""
        return {name: path for name in ("train", "valid", "test") if (path := getattr(self, name)) is not None}

    def settings(self) -> dict[str, Any]:
        """All that decides about the text and its tokens beside the files (engines.toolbox.corpora.prepared)."""
        lines = bool(getattr(self, "end_of_line", False))
        return {
            "shares": (self.valid_share, self.test_share) if self.valid is None or self.test is None else None,
            "fraction": self.fraction,
            "level": self.level if lines or self.level == "bpe" or self.level in TYPES else f"{self.level} without lines",
            "max_vocabulary": self.max_vocabulary,
            "min_count": self.min_count,
            "lowercase": self.lowercase,
            "unknown": self.unknown,
            "end_of_line": lines,
        }

    def check(self) -> None:
        check_level(self.level)

    def vocabulary_size(self, cache: Path) -> int | None:
        """That of the text as prepared before, else the largest there may be."""
        self.check()
        if self.level in TYPES:
            return TYPES[self.level]
        known = known_types(cache, list(self.files().values()), self.settings())
        return known or self.max_vocabulary or (MOST_PAIRS if self.level == "bpe" else None)

    def is_prepared(self, cache: Path) -> bool:
        self.check()
        return known_types(cache, list(self.files().values()), self.settings()) is not None
