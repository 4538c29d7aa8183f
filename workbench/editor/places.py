"""From a problem's key path to the place in the window where it is shown. No Qt."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from engines.merging import Merged, Part
from engines.problems import Problem


@dataclass
class Trouble:
    """What is wrong with one part: sentences about the whole of it, and one sentence for each of its parameters."""

    whole: list[str] = field(default_factory=list)
    parameters: dict[str, str] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.whole or self.parameters)


def sentence(problem: Problem) -> str:
    """Rule and hint as a sentence to stand beside the field, where path and value are seen anyway."""
    text = problem.rule + (f"; {problem.hint}" if problem.hint else "")
    return text[:1].upper() + text[1:] + ("" if text.endswith((".", "?", "!")) else ".")


def below(path: str, place: str) -> bool:
    """Whether a key path is `place` or lies below it."""
    return path == place or path.startswith((place + ".", place + "["))


def trouble_of(part: Part | None, problems: Sequence[Problem]) -> Trouble:
    """The problems that belong to a part of the model or recipe."""
    trouble = Trouble()
    if part is None:
        return trouble
    for problem in problems:
        key = next((key for key, place in part.places.items() if below(problem.path, place)), None)
        if key is None and problem.path.startswith(part.path + "."):
            key = re.split(r"[.\[]", problem.path[len(part.path) + 1 :])[0]
        if key == "id" or (key is None and problem.path == part.path):
            trouble.whole.append(sentence(problem))
        elif key is not None:
            trouble.parameters.setdefault(key, sentence(problem))
    return trouble


def scope_of(problem: Problem) -> int | None:
    """The variant whose tables hold the problem; None for the base."""
    match = re.match(r"variant\[(\d+)\]", problem.path)
    return int(match[1]) if match else None


def parts_of(merged: Merged) -> dict[str, Part | None]:
    """The parts of a variant by the name of the card that shows them: corpus, task, model (whole), embedding, head, layer/N/mixer ..."""
    parts: dict[str, Part | None] = {"corpus": merged.corpus, "task": merged.task, "embedding": merged.embedding, "head": merged.head}
    parts["model"] = merged.whole
    for number, layer in enumerate(merged.layers or []):
        parts[f"layer/{number}/mixer"] = layer.mixer
        parts[f"layer/{number}/feedforward"] = layer.feedforward
    for number, part in enumerate(merged.recipe):
        parts[f"technique/{number}"] = part
    return parts


def key_of(name: str, part: Part | None) -> str:
    """The key of a part in `engines.differences` by the name of its card: "model.layers[0].mixer", "techniques.pruning/magnitude"."""
    if name.startswith("technique/"):
        return f"techniques.{part.id if part else ''}"
    if name in ("corpus", "task", "model"):
        return name
    return "model." + re.sub(r"^layer/(\d+)/", r"layers[\1].", name)


def card_of(problem: Problem, merged: Merged) -> tuple[str, str]:
    """The card and the parameter where a problem is shown; empty texts where it belongs to the experiment as a whole."""
    for name, part in parts_of(merged).items():
        trouble = trouble_of(part, [problem])
        if trouble:
            return name, next(iter(trouble.parameters), "")
    return "", problem.path.rpartition(".")[2]
