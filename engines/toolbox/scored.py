"""Files of pairs of texts with a score, one pair a line."""

from __future__ import annotations

import csv
import math
from functools import lru_cache
from io import StringIO
from itertools import islice
from pathlib import Path
from typing import Literal

from engines.api import CorpusError
from engines.toolbox.plainfiles import read_text, seal

PairForm = Literal["auto", "csv", "tab"]
Scored = list[tuple[str, str, float]]
"""(first text, second text, score) of each line."""
LOOKED_AT = 100
"""Lines that tell how a file is written."""
SHOWN = 80
"""Characters of a line in a sentence."""


def read_scored(name: str, path: Path, form: PairForm, columns: tuple[int, int, int], header: bool) -> Scored:
    """The pairs of a file; blank lines are passed over, and blanks inside a text are one. columns: of the two texts and the score, from 1.

    Raises CorpusError with the line that is no pair.
    """
    return list(_read(name, path, form, columns, header, seal(path)))


@lru_cache(maxsize=6)
def _read(
    name: str, path: Path, form: PairForm, columns: tuple[int, int, int], header: bool, seal_: tuple[int, int]
) -> tuple[tuple[str, str, float], ...]:
    """seal_: of the file, so that one that was changed is read anew."""
    text = read_text(name, path)
    if form == "auto":
        some = list(islice((line for line in text.split("\n") if line.strip()), LOOKED_AT))
        form = "tab" if all("\t" in line for line in some) else "csv"
    # Tables with tabs are written without quotes, where a quotation mark is one.
    reader = csv.reader(StringIO(text), delimiter="\t", quoting=csv.QUOTE_NONE) if form == "tab" else csv.reader(StringIO(text))
    found = []
    try:
        for row in reader:
            if not any(cell.strip() for cell in row):
                continue
            if header:
                header = False
                continue
            found.append(_pair(row, columns, f"Line {reader.line_num} of the {name} file {path}", form))
    except csv.Error as error:
        raise CorpusError(f"Line {reader.line_num} of the {name} file {path} cannot be read as {form}: {error}.") from error
    if not found:
        raise CorpusError(f"The {name} file {path} has no pair after its header: use a file with pairs of texts and scores.")
    return tuple(found)


def _pair(row: list[str], columns: tuple[int, int, int], where: str, form: str) -> tuple[str, str, float]:
    written = repr(("\t" if form == "tab" else ",").join(row)[:SHOWN])
    if len(row) < max(columns):
        raise CorpusError(
            f"{where} has {len(row)} column(s) as {form}, but column {max(columns)} is asked for: {written}. Say how lines are written (corpus.form, "
            "corpus.first, corpus.second, corpus.score), or mend the line."
        )
    first, second = (" ".join(row[column - 1].split()) for column in columns[:2])
    if not (first and second):
        raise CorpusError(f"{where} lacks one of its two texts: {written}. Mend it or leave it out.")
    try:
        score = float(row[columns[2] - 1])
    except ValueError:
        score = math.nan
    if not math.isfinite(score):
        raise CorpusError(
            f"{where} has no number in column {columns[2]}: {written}. Say which column holds the score (corpus.score), and whether the first line "
            "names the columns (corpus.header)."
        )
    return first, second, score
