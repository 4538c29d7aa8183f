"""What a report consists of, before it is Markdown, LaTeX or paper: headings, sentences, items, tables, pictures, files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from engines.report.drawing import Drawing


@dataclass(frozen=True)
class Span:
    """Words of one look; `link`: where they lead."""

    text: str
    strong: bool = False
    slanted: bool = False
    code: bool = False
    link: str = ""


Spans = Sequence[Span]


@dataclass(frozen=True)
class Heading:
    """level: 1 the report, 2 a section, 3 and deeper within."""

    text: str
    level: int = 2
    colour: int | None = None
    """The number of the variant that it names."""


@dataclass(frozen=True)
class Sentence:
    """A paragraph. look: "" or small, warning, failure, quote."""

    spans: Spans
    look: str = ""


@dataclass(frozen=True)
class Item:
    """One entry of a list; level: 0 outermost; mark: empty for a bullet, else as "3."."""

    spans: Spans
    level: int = 0
    mark: str = ""


@dataclass(frozen=True)
class Cell:
    """A figure with what stands beside it: its ratio, the interval, how many values it is of, its verdict."""

    text: str
    ratio: str = ""
    interval: str = ""
    verdict: str = ""
    strong: bool = False


@dataclass(frozen=True)
class Grid:
    """A table; the first column is of names. caption: what it holds, for formats that number tables."""

    caption: str
    head: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    plain: bool = False
    """All columns are text, so left-aligned."""


@dataclass(frozen=True)
class Picture:
    """A drawing, a name for its file, and its figures as a table where words must do."""

    name: str
    drawing: Drawing
    instead: Grid | None = None


@dataclass(frozen=True)
class File:
    """A text to be shown as it is, and to be saved under a name."""

    name: str
    text: str


Block = Heading | Sentence | Item | Grid | Picture | File


@dataclass(frozen=True)
class Report:
    """All blocks, with what is in every report: its title and the files of the experiments."""

    title: str
    blocks: Sequence[Block]
    files: Sequence[File] = field(default_factory=tuple)

    def in_words(self) -> Report:
        """Without pictures: the tables that stand for them, and no heading of what is gone."""
        kept: list[Block] = []
        for block in self.blocks:
            shown = block.instead if isinstance(block, Picture) else block
            if isinstance(shown, Heading):
                kept = _without_bare(kept, shown.level)
            kept += [shown] if shown else []
        return replace(self, blocks=_without_bare(kept, 2))

    @property
    def pictures(self) -> list[Picture]:
        return [block for block in self.blocks if isinstance(block, Picture)]


def said(text: str) -> list[Span]:
    """Plain words."""
    return [Span(text)]


def _without_bare(blocks: list[Block], level: int) -> list[Block]:
    """Headings at the end go that a heading of this level leaves with nothing below."""
    end = len(blocks)
    while end and isinstance(last := blocks[end - 1], Heading) and last.level >= level:
        end -= 1
    return blocks[:end]
