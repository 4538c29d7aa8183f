"""Files of labelled texts, one a line: how a line is cut, and which lines are training, validation and test."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Literal, TypeVar

import numpy as np

from engines.api import CorpusError
from engines.toolbox.plainfiles import read_text, seal

Form = Literal["auto", "bars", "tab", "blank"]
Side = Literal["first", "last"]
SEPARATORS = {"bars": "|||", "tab": "\t", "blank": None}
LOOKED_AT = 100
"""Lines that tell how a file is written."""
SHOWN = 60
"""Characters of a line in a sentence."""

Labelled = list[tuple[str, str]]
"""(label, text) of each line."""


def read_labelled(name: str, path: Path, form: Form, side: Side, header: bool) -> Labelled:
    """The lines of a file; blank ones are passed over. Raises CorpusError with the line that is no label and text."""
    return list(_read(name, path, form, side, header, seal(path)))


@lru_cache(maxsize=6)
def _read(name: str, path: Path, form: Form, side: Side, header: bool, seal_: tuple[int, int]) -> tuple[tuple[str, str], ...]:
    """seal_: of the file, so that one that was changed is read anew."""
    lines = [(number, line) for number, line in enumerate(read_text(name, path).split("\n"), 1) if line.strip()]
    if header:
        lines = lines[1:]
    if not lines:
        raise CorpusError(f"The {name} file {path} has a header and no line after it: use a file with labelled texts.")
    separator = SEPARATORS[form if form != "auto" else _form_of([line for _, line in islice(lines, LOOKED_AT)])]
    found = []
    for number, line in lines:
        cut = line.strip().split(separator, 1) if side == "first" else line.strip().rsplit(separator, 1)
        parts = [part.strip() for part in cut]
        if len(parts) < 2 or not all(parts):
            written = "a blank" if separator is None else f"{separator!r}"
            raise CorpusError(
                f"Line {number} of the {name} file {path} is no label and text with {written} between them: {line.strip()[:SHOWN]!r}. Say how lines "
                "are written (corpus.form, corpus.label), or mend the line."
            )
        found.append((parts[0], parts[1]) if side == "first" else (parts[1], parts[0]))
    return tuple(found)


def _form_of(lines: Sequence[str]) -> str:
    """How these lines are written: with bars or tabs where all have them, else with blanks."""
    return next((form for form in ("bars", "tab") if all(str(SEPARATORS[form]) in line.strip() for line in lines)), "blank")


Line = TypeVar("Line")


def split_lines(given: Mapping[str, list[Line]], shares: Mapping[str, float], fraction: float) -> dict[str, list[Line]]:
    """"train", "valid" and "test", where only "train" must be given: the others are drawn from its lines, their `shares` of them.

    Drawn, not cut from the end: files are often sorted by label. The same lines for every run, in the order of the file. fraction: share of
    the training lines that is used, drawn too.
    """
    lines = given["train"]
    order = np.random.default_rng(0).permutation(len(lines))
    found: dict[str, list[Line]] = {}
    for split in ("test", "valid"):
        if split in given:
            found[split] = list(given[split])
        else:
            taken = max(1, round(shares[split] * len(lines)))
            found[split], order = _at(lines, order[:taken]), order[taken:]
    kept = order[: max(1, round(fraction * len(order)))] if len(order) else order
    return {"train": _at(lines, kept), "valid": found["valid"], "test": found["test"]}


def _at(lines: list[Line], places: np.ndarray) -> list[Line]:
    return [lines[place] for place in sorted(places.tolist())]


def classes_of(splits: Mapping[str, Labelled], path: Path) -> tuple[str, ...]:
    """The labels of the training split, the most frequent first, equals by name. Raises CorpusError where they are no classes."""
    counts = Counter(label for label, _ in splits["train"])
    n = len(splits["train"])
    if len(counts) < 2:
        only = next(iter(counts), "none")
        raise CorpusError(f"All {n:,} training texts of {path} have the label {only!r}: there is nothing to tell apart.")
    if len(counts) > max(2, n // 2):
        some = ", ".join(repr(label[:20]) for label in islice(counts, 3))
        raise CorpusError(
            f"{path} has {len(counts):,} labels on {n:,} training texts ({some} ...): these are no classes. Say how lines are written (corpus.form, "
            "corpus.label)."
        )
    for split in ("valid", "test"):
        new = next((label for label, _ in splits[split] if label not in counts), None)
        if new is not None:
            raise CorpusError(f"The label {new!r} of the {split} texts is on no training text: no model can learn it. Mend it or leave it out.")
    return tuple(sorted(counts, key=lambda label: (-counts[label], label)))


def repeated(splits: Mapping[str, Labelled]) -> dict[str, int]:
    """Texts of validation and test that are also in the training split, word for word: these tell nothing of new texts."""
    seen = {text for _, text in splits["train"]}
    return {split: sum(text in seen for _, text in splits[split]) for split in ("valid", "test")}


def line_ends(character_ends: np.ndarray, texts: Sequence[str]) -> np.ndarray:
    """Tokens up to the end of each of the lines that `texts` were joined to, (n,), told by the characters that each token ends at; byte pairs
    count the line end with the last token."""
    ends = np.cumsum([len(text) + 1 for text in texts])
    return np.searchsorted(character_ends, ends, side="right").astype(np.int64)
