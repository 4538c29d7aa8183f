"""What is wrong with an experiment file, said so that a person can mend it: key path, value, rule, and what to do."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong.

    path: where it stands, as in `variant[1].model.head.cutoffs`; empty for the file as a whole.
    value: what stands there (JSON); None where something is missing.
    rule: what should hold, as the rest of a sentence ("must be at least 1").
    hint: what to do, or a name that was probably meant; may be empty.
    """

    path: str
    value: Any
    rule: str
    hint: str = ""

    def sentence(self) -> str:
        """The problem as one line of text."""
        place = self.path or "The experiment"
        shown = "" if self.value is None else f" = {shorten(self.value)}"
        hint = f"; {self.hint}" if self.hint else ""
        return f"{place}{shown}: {self.rule}{hint}"

    def as_json(self) -> dict[str, Any]:
        """The problem as the inspector sends it: {path, value, rule, hint}."""
        return asdict(self)


class ExperimentError(ValueError):
    """An experiment that cannot be run. `problems` holds all that is known to be wrong, not only the first."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = list(problems)
        super().__init__("\n".join(problem.sentence() for problem in self.problems))


def shorten(value: Any, longest: int = 80) -> str:
    """A value as JSON, cut in the middle where it is longer than `longest` characters."""
    text = json.dumps(value, ensure_ascii=False, default=str)
    half = longest // 2 - 2
    return text if len(text) <= longest else f"{text[:half]} ... {text[-half:]}"


def closest(name: str, known: Iterable[str]) -> list[str]:
    """Up to three known names that resemble `name`, best first. The part behind the slash of an id may stand alone."""
    names = sorted(set(known))
    tails = [candidate for candidate in names if candidate.rpartition("/")[2] == name.rpartition("/")[2]]
    lowered = {candidate.lower(): candidate for candidate in names}
    alike = [lowered[match] for match in difflib.get_close_matches(name.lower(), list(lowered), n=3, cutoff=0.6)]
    return list(dict.fromkeys([*tails, *alike]))[:3]


def did_you_mean(name: str, known: Iterable[str], *, listed: bool = True) -> str:
    """'did you mean "softmax/adaptive"?'; without a resemblance the known names where they are few (and `listed`); else the empty string."""
    names = sorted(set(known))
    if near := closest(name, names):
        return f"did you mean {' or '.join(json.dumps(candidate, ensure_ascii=False) for candidate in near)}?"
    return f"known: {', '.join(names)}" if listed and 0 < len(names) <= 12 else ""


def names_in(hint: str) -> list[str]:
    """The names that `did_you_mean` found alike and put into a hint, best first."""
    return [json.loads(quoted) for quoted in re.findall(r'"(?:[^"\\]|\\.)*"', hint)] if hint.startswith("did you mean ") else []


def join(path: str, *keys: str | int) -> str:
    """`join("variant", 1, "model")` is `variant[1].model`; keys that are not plain words are quoted."""
    for key in keys:
        if isinstance(key, int):
            path = f"{path}[{key}]"
        else:
            plain = bool(key) and not set(key) & set('."[]= \n')
            path = f"{path}{'.' if path else ''}{key if plain else json.dumps(key, ensure_ascii=False)}"
    return path
