"""What a report holds and in which order: a small description, kept as TOML beside the store or in a file of the person's own.

    title = "Output layers for small vocabularies"

    [[section]]
    kind = "text"
    text = "We held **two** heads against the full softmax."

    [[section]]
    kind = "tradeoff"
    x = "latency/p50_ms"
    y = "quality/test_perplexity"
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import tomlkit
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from engines.comparison import ComparisonError
from engines.problems import did_you_mean
from engines.store.address import report_description
from engines.store.database import Store

LONGEST = 200_000
"""Letters that a text may have."""


class Kind(NamedTuple):
    """A kind of section: its heading, and what it shows."""

    title: str
    shows: str


KINDS: Mapping[str, Kind] = {
    "summary": Kind("Summary", "One sentence a variant: better, worse, no practical difference, not enough data"),
    "text": Kind("", "Your own words, in Markdown"),
    "verdicts": Kind("Comparison", "Every judging figure with its ratio, interval and verdict"),
    "forest": Kind("Ratios to the baseline", "Forest plot: ratios with intervals, the margin and the A/A control"),
    "tradeoff": Kind("Trade-off", "Two figures against each other, with the front that no variant beats"),
    "savings": Kind("What each variant saves and what it costs", "Nominal, stored, executed, moved and measured side by side"),
    "curves": Kind("Learning curves", "Losses, validation, speed and memory of every run while it trained"),
    "explanations": Kind("Variant by variant", "Why: explanations, notes, failures, verdicts and measured effects"),
    "differences": Kind("What the plans say otherwise", "Keys of each variant's plan that differ from the baseline's"),
    "profiles": Kind("Profiled training steps", "Flame graph, memory by owner, roofline and layers of profiled runs"),
    "price": Kind("Price", "Time, tokens and operations that each variant took to make"),
    "figures": Kind("Everything that was measured", "All further figures with n and intervals"),
    "method": Kind("How this was judged", "Intervals, margin, number of verdicts, the A/A control"),
    "machine": Kind("Machine", "Hardware, versions, load and clocks while it was measured"),
    "experiment": Kind("To run it again", "The experiment file; page, PDF, Markdown and ZIP hold it even where this section is not"),
}


class DesignError(ComparisonError):
    """A description of a report that cannot be used; the message says what is wrong and what to do."""


class Section(BaseModel):
    """One part of a report."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: str
    shown: bool = True
    title: str = Field("", max_length=500)
    """A heading in place of the kind's own."""
    text: str = Field("", max_length=LONGEST)
    """Markdown: all of a text section, what is said above the figures in the others."""
    x: str = ""
    y: str = ""
    """Keys of a trade-off's axes; empty: the first judging quality against the first judging speed."""

    @field_validator("kind")
    @classmethod
    def _known(cls, kind: str) -> str:
        if kind not in KINDS:
            hint = did_you_mean(kind, KINDS, listed=False) or f"the kinds are: {', '.join(KINDS)}"
            raise ValueError(f"names no kind of section; {hint}")
        return kind

    @model_validator(mode="after")
    def _axes(self) -> Section:
        if (self.x or self.y) and self.kind != "tradeoff":
            raise ValueError(f'x and y choose the axes of a section "tradeoff"; leave them out of "{self.kind}"')
        return self

    @property
    def heading(self) -> str:
        return self.title or KINDS[self.kind].title


def _usual() -> tuple[Section, ...]:
    return tuple(Section(kind=kind) for kind in KINDS if kind != "text")


class Design(BaseModel):
    """The sections of a report in their order."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    title: str = Field("", max_length=500)
    """In place of the experiment's name."""
    sections: tuple[Section, ...] = Field(default_factory=_usual, alias="section")

    @property
    def shown(self) -> list[Section]:
        return [section for section in self.sections if section.shown]


def parse(text: str, source: str = "The description of the report") -> Design:
    """Read TOML. Raises DesignError with everything that is wrong."""
    try:
        tables = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise DesignError(f"{source} is no TOML: {error}.") from error
    try:
        return Design.model_validate(tables)
    except ValidationError as error:
        raise DesignError(f"{source}: " + " ".join(map(_sentence, error.errors()))) from error


def _sentence(problem: Any) -> str:
    path = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in problem["loc"]).lstrip(".")
    if problem["type"] == "extra_forbidden":
        known = Design.model_fields if len(problem["loc"]) == 1 else Section.model_fields
        names = ["section" if name == "sections" else name for name in known]
        return f"{path} is no key of it; {did_you_mean(str(problem['loc'][-1]), names)}."
    given = problem.get("input")
    shown = f" = {given!r}" if isinstance(given, str | int | float) and len(str(given)) < 60 else ""
    return f"{path}{shown}: {problem['msg'].removeprefix('Value error, ').rstrip('.')}."


def read(path: Path | str) -> Design:
    """Read a file. Raises DesignError where it cannot be read or used."""
    try:
        text = Path(path).expanduser().read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DesignError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}.") from error
    return parse(text, str(path))


def dump(design: Design) -> str:
    """As TOML; what has its usual value is left out."""
    document = tomlkit.document()
    if design.title:
        document["title"] = design.title
    sections = tomlkit.aot()
    for section in design.sections:
        table = tomlkit.table()
        for name, value in section.model_dump(exclude_defaults=True).items():
            table[name] = tomlkit.string(value, multiline=True) if name == "text" and _lines(value) else value
        sections.append(table)
    # An empty list of tables would vanish, and with it the wish for an empty report.
    document["section"] = sections if design.sections else []
    return tomlkit.dumps(document)


def _lines(text: str) -> bool:
    """Whether it can stand as several lines without a change: a first line break is cut by TOML, a carriage return altered."""
    return "\n" in text and not text.startswith("\n") and "\r" not in text


# --- Kept with the experiment -----------------------------------------------------------------------------------------------------------------


def place(store: Store, experiment_ids: Sequence[int]) -> Path:
    """Where the description of these experiments' report lies, in the files of the store."""
    return report_description(store.folder, experiment_ids)


def remembered(store: Store, experiment_ids: Sequence[int]) -> Design:
    """The description that was kept, else the usual one. Raises DesignError where it cannot be read any more."""
    found = place(store, experiment_ids)
    return read(found) if found.exists() else Design()


def remember(store: Store, experiment_ids: Sequence[int], design: Design) -> None:
    """Keep it; the usual one needs no file. Raises DesignError where it cannot be written."""
    found = place(store, experiment_ids)
    try:
        if design == Design():
            found.unlink(missing_ok=True)
            return
        found.parent.mkdir(parents=True, exist_ok=True)
        beside = found.with_suffix(f".{os.getpid()}")
        beside.write_text(dump(design), encoding="utf-8")
        beside.replace(found)
    except OSError as error:
        raise DesignError(f"The description of the report cannot be kept in {found}: {error.strerror or error}.") from error
