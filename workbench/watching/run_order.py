"""Which runs a table shows and in which order: those that a search finds, by the figures of a column. What was worked out of a run is kept."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from workbench.watching.run_columns import Latest, Rank, marked, ranks, searched

if TYPE_CHECKING:
    from engines.store.rows import RunRow

MARK = re.compile(r"r[0-9]+|#[0-9]+")


class RunOrder:
    """Every method returns the places in `runs` that are shown, from the top; between two calls of `take` runs change, but none comes or goes."""

    def __init__(self) -> None:
        self._words: list[str] = []
        self._column, self._downwards = -1, False
        self._texts: list[str] = []
        """What is searched of each run; empty while no search is under way."""
        self._ranks: list[Rank | None] = []
        """What each run is sorted by; empty while no column sorts."""

    def take(self, runs: Sequence[RunRow], latest: Latest) -> list[int]:
        """Begin with other runs."""
        self._texts = [searched(run) for run in runs] if self._words else []
        self._ranks = ranks(runs, self._column, latest) if self._column >= 0 else []
        return self._places(runs)

    def update(self, runs: Sequence[RunRow], latest: Latest, changed: Iterable[int]) -> list[int]:
        """Runs at these places have changed."""
        for place in changed:
            if self._texts:
                self._texts[place] = searched(runs[place])
            if self._ranks:
                self._ranks[place] = ranks([runs[place]], self._column, latest)[0]
        return self._places(runs)

    def search(self, runs: Sequence[RunRow], words: str) -> list[int]:
        """Leave out the runs that have not all of these words in them; an empty text shows all."""
        self._words = words.casefold().split()
        if not self._words:
            self._texts = []
        elif not self._texts:
            self._texts = [searched(run) for run in runs]
        return self._places(runs)

    def sort(self, runs: Sequence[RunRow], latest: Latest, column: int, *, downwards: bool) -> list[int]:
        """Sort by a column (`run_columns.COLUMNS`), -1: as the experiment has them. Runs that are equal keep that order, those without a figure
        come last."""
        self._column, self._downwards = column, downwards
        self._ranks = ranks(runs, column, latest) if column >= 0 else []
        return self._places(runs)

    def _places(self, runs: Sequence[RunRow]) -> list[int]:
        places, texts, by = list(range(len(runs))), self._texts, self._ranks
        for word in self._words:
            if MARK.fullmatch(word):
                places = [place for place in places if word in texts[place] or word in marked(runs[place])]
            else:
                places = [place for place in places if word in texts[place]]
        if self._column < 0:
            return places
        known = [place for place in places if by[place] is not None]
        known.sort(key=by.__getitem__, reverse=self._downwards)  # type: ignore[arg-type]
        return known + [place for place in places if by[place] is None]
