"""What a corpus is, and the text that it gives. Part of `engines.api`.

Imports neither torch, Qt nor SQL.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from engines.plugin import Plugin

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True)
class Vocabulary:
    """Token types of a corpus, ids sorted by falling training frequency (id 0 is the most frequent).

    counts: occurrences of each id in the training split, shape (V,), int64. unknown: the id of tokens that it lacks, where there is one.
    """

    tokens: tuple[str, ...]
    counts: np.ndarray
    unknown: int | None = None

    @property
    def size(self) -> int:
        return len(self.tokens)


@dataclass(frozen=True)
class Documents:
    """The texts that a split consists of, one after another. ends: (n,) tokens up to and including each; labels: (n,) index of its class.

    scores: of a corpus of pairs, whose texts 2i and 2i + 1 are the i-th pair: (n / 2,), how alike people find them, from 0 to 1.
    """

    ends: np.ndarray
    labels: np.ndarray
    scores: np.ndarray | None = None


@dataclass(frozen=True)
class Text:
    """A prepared corpus: token ids of each split as (memory-mapped) integer arrays of shape (T,), and what is needed to judge on them.

    character_ends: for each split an array of shape (T,) with the characters of the original text up to and including each token (line ends
    count), so that bits per original character can be given for any prefix.
    """

    splits: Mapping[str, np.ndarray]
    character_ends: Mapping[str, np.ndarray]
    vocabulary: Vocabulary
    fingerprint: str
    licence: str
    level: str
    facts: Mapping[str, Any] = field(default_factory=dict)
    encode: Callable[[str], list[int]] | None = None
    decode: Callable[[Iterable[int]], str] | None = None
    """From written text to ids, and back; None where the corpus cannot."""
    classes: tuple[str, ...] = ()
    """What `documents` are told apart by; empty where the corpus has no labels."""
    documents: Mapping[str, Documents] = field(default_factory=dict)
    """Of each split, where the corpus has labels or pairs."""
    pairs: bool = False
    """Whether its texts come in pairs with scores."""


class Corpus(Plugin):
    """Real text, how it is split and tokenised, its fingerprint."""

    kind: ClassVar[str] = "corpus"
    of_pairs: ClassVar[bool] = False
    """Whether its texts come in pairs with scores."""

    def prepare(self, cache: Path, announce: Callable[[str], None]) -> Text:
        """Read or build the ids under the folder `cache` (keyed by content). Raises CorpusError with a sentence for the user."""
        raise NotImplementedError(f"{type(self).__name__} does not define prepare(cache, announce).")

    def check(self) -> None:
        """Raise CorpusError for what is plainly wrong (a missing file), quickly and without tokenising: asked before anything starts."""

    def vocabulary_size(self, cache: Path) -> int | None:
        """Token types, where that is known without tokenising (prepared before, or fixed by a parameter)."""
        return None

    def classes(self) -> tuple[str, ...]:
        """The classes of a corpus with labels, without tokenising. Raises CorpusError."""
        return ()

    def is_prepared(self, cache: Path) -> bool:
        """Whether `prepare` has only to read. Where not, a run lets another process prepare, so that its own memory stays clean."""
        return True


class CorpusError(ValueError):
    """A corpus that is missing, empty or not text; the message is a sentence for the user."""
