"""The example experiments as the start page shows them: read from `resources/gallery.toml` and the files it names, without loading the engine."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workbench.theme import RESOURCES

FOLDER = RESOURCES / "experiments"
SENTENCES = 2
"""Of the comment at the head of a file that a card shows."""


@dataclass(frozen=True)
class Example:
    """One example: its question, what its file says of it, what it takes, and what it needs of the person (a file)."""

    path: Path
    title: str
    about: str
    takes: str
    plugins: frozenset[str]
    wants_file: str


@dataclass(frozen=True)
class Group:
    title: str
    about: str
    examples: tuple[Example, ...]


def groups() -> list[Group]:
    """All groups with their examples, read anew."""
    listed = tomllib.loads((RESOURCES / "gallery.toml").read_text(encoding="utf-8"))["group"]
    return [Group(each["title"], each["about"], tuple(read(FOLDER / f"{stem}.toml") for stem in each["examples"])) for each in listed]


def read(path: Path) -> Example:
    """What a card says of an experiment file."""
    text = path.read_text(encoding="utf-8")
    document = tomllib.loads(text)
    experiment = document["experiment"]
    corpus = experiment["corpus"] if isinstance(experiment["corpus"], Mapping) else {}
    file = str(corpus.get("train", ""))
    missing = file if file and not (path.parent / file).exists() else ""
    return Example(path, experiment["name"], _about(text), _takes(document), frozenset(_plugins(document)), missing)


def unavailable(example: Example, catalogue: Mapping[str, Any] | None) -> str:
    """Why the example cannot run on this machine yet; empty where it can, or where the catalogue is not known."""
    plugins = (catalogue or {}).get("plugins", {})
    entries = [plugins[name] for name in sorted(example.plugins) if name in plugins]
    return next((entry["available"]["reason"] for entry in entries if not entry["available"]["ok"]), "")


def _about(text: str) -> str:
    """The first sentences of the comment at the head of the file, but for the question that is its title."""
    head = []
    for line in text.splitlines():
        if not line.startswith("#"):
            break
        head.append(line.lstrip("# ").replace("`", ""))
    sentences = re.split(r"(?<=[.?:!])\s+(?=[A-Z])", " ".join(head))
    told = [sentence for sentence in sentences if not sentence.endswith("?")] or sentences
    return " ".join(told[:SENTENCES])


def _takes(document: Mapping[str, Any]) -> str:
    experiment, count = document["experiment"], len(document.get("variant", []))
    budget = " and ".join(f"{value:,} {name}" for name, value in experiment["budget"].items() if value)
    seeds = len(experiment.get("seeds", [0]))
    parts = [f"{count} variants", budget or "nothing is trained", f"{seeds} seeds" if seeds > 1 else ""]
    return " · ".join(part for part in parts if part)


def _plugins(value: Any, key: str = "") -> Iterator[str]:
    """Every text of a file that may be the id of a plugin; a task without its family is given it."""
    if isinstance(value, Mapping):
        for name, inner in value.items():
            yield from _plugins(inner, name)
    elif isinstance(value, list):
        for inner in value:
            yield from _plugins(inner, key)
    elif isinstance(value, str) and key in ("id", "task", "corpus", "techniques", "mixer", "feedforward", "head", "embedding"):
        yield value if "/" in value else f"tasks/{value}"
