"""The inspector: answers what needs the plugins' code but no run, as JSON lines.

    stdin   {"id": 1, "ask": "shapes", "plan": {...}}
    stdout  {"id": 1, "answer": {...}}   or   {"id": 1, "error": "sentence"}

It ends when its standard input does. Whatever plugins print goes to standard error. Questions and their fields are the functions below;
`--catalogue` prints the catalogue as one line and ends.
"""

from __future__ import annotations

import json
import math
import os
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from engines import catalogue
from engines.api import CorpusError
from engines.catalogue import BrokenPlugin, UnknownPlugin


def _catalogue() -> dict[str, Any]:
    return catalogue.build()


def _validate(plans: Mapping[str, Mapping[str, Any]], runs: str = "") -> dict[str, Any]:
    """runs: folder of the runs of the store, where recipes may name one."""
    from engines.runtime.validate import problems

    return {"problems": [problem.as_json() for problem in problems(plans, Path(runs) if runs else None)]}


def _shapes(plan: Mapping[str, Any]) -> dict[str, Any]:
    from engines.runtime.shapes import shapes

    return shapes(plan)


def _matches(plan: Mapping[str, Any]) -> dict[str, Any]:
    from engines.runtime.shapes import matches

    return {"matches": matches(plan)}


def _verify(plugin: str, trial: Mapping[str, Any] | None = None) -> list[dict[str, Any]]:
    from engines.runtime.verify import verify

    return verify(plugin, trial)


def _trial(trial: Mapping[str, Any]) -> None:
    """Whether certificates can be checked on this trial at all; an error where not."""
    from engines.runtime.verify import trial_of

    trial_of(trial)


def _generate(
    store: str, run: int, prompt: str = "", tokens: int = 100, temperature: float = 1.0, top_k: int = 0, seed: int = 0
) -> dict[str, Any]:
    from engines.runtime import generate

    found = generate.finished(store, run)
    return generate.generate(found, prompt, tokens=tokens, temperature=temperature, top_k=top_k, seed=seed)


def _probability(store: str, run: int, text: str) -> dict[str, Any]:
    from engines.runtime import generate

    return generate.probability(generate.finished(store, run), text)


def _neighbours(store: str, run: int, plus: Sequence[str], minus: Sequence[str] = (), k: int = 10) -> dict[str, Any]:
    from engines.runtime import neighbours

    return neighbours.neighbours(*neighbours.vectors(store, run), plus, minus, k)


def _projection(store: str, run: int, words: Sequence[str] = (), most: int = 200) -> dict[str, Any]:
    from engines.runtime import neighbours

    return neighbours.projection(*neighbours.vectors(store, run), words, most)


QUESTIONS: dict[str, Callable[..., Any]] = {
    "catalogue": _catalogue,
    "validate": _validate,
    "shapes": _shapes,
    "matches": _matches,
    "verify": _verify,
    "trial": _trial,
    "generate": _generate,
    "probability": _probability,
    "neighbours": _neighbours,
    "projection": _projection,
}


def reply(line: str) -> dict[str, Any]:
    """The answer to one line. Never raises for what a plugin or a question does wrong."""
    number: Any = None
    try:
        question = json.loads(line)
        number = question.pop("id", None)
        name = question.pop("ask")
        if name not in QUESTIONS:
            return {"id": number, "error": f"There is no question {name!r}; known: {', '.join(QUESTIONS)}."}
        return {"id": number, "answer": _plain(QUESTIONS[name](**question))}
    except (Exception, SystemExit) as error:  # noqa: BLE001  plugin code may raise anything: who asked has to see it, and the next may ask
        traceback.print_exc()
        return {"id": number, "error": sentence(error)}


def sentence(error: BaseException) -> str:
    """An error as it is shown: our own are sentences already; others get their type and the place in the code where they came from."""
    home = type(error).__module__  # The program that was started calls itself __main__: plugins never are.
    known = isinstance(error, (CorpusError, UnknownPlugin, BrokenPlugin)) or type(error) is ValueError
    ours = known or home.startswith("engines.") or home == "__main__"
    if ours and str(error):
        return str(error)
    last = traceback.extract_tb(error.__traceback__)[-1:]
    place = f" ({os.path.basename(last[0].filename)}, line {last[0].lineno})" if last else ""
    return f"{type(error).__name__}: {error}{place}"


def _plain(value: Any) -> Any:
    """JSON has neither infinity nor NaN: what is not finite is null."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, (list, tuple)) else value


def own_stdout() -> IO[str]:
    """Standard output for the protocol alone; from now on file descriptor 1 leads to standard error, for C code too."""
    private = os.dup(1)
    os.dup2(2, 1)
    return os.fdopen(private, "w", encoding="utf-8", newline="\n")


def main(arguments: list[str]) -> int:
    out = own_stdout()
    if arguments == ["--catalogue"]:
        out.write(json.dumps(_plain(catalogue.build())) + "\n")
        out.flush()
        return 0
    if arguments:
        print(f"Unknown argument {arguments[0]!r}: the inspector takes --catalogue or none.", file=sys.stderr)  # noqa: T201
        return 2
    import torch

    # A person waits for an answer, but a run that is being timed must not: one thread is enough.
    torch.set_num_threads(1)
    for line in sys.stdin.buffer:
        if line.strip():
            out.write(json.dumps(reply(line.decode("utf-8", errors="replace")), ensure_ascii=False) + "\n")
            out.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
