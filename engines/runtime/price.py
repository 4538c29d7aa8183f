"""The price of a finished model: seconds, tokens and operations of everything that it needed, other runs and the work after training included.

Seconds count training steps (the wait for data included, validation and checkpoints not) and the whole of `finish`: fine-tuning, calibration,
validation that a technique asks for, packing. Tokens are those trained on. Operations are those of one counted step for every token trained on;
passes without a step (calibration in `finish`) are not among them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from engines.api import Figure
from engines.runtime.context import Session
from engines.runtime.flops import Work
from engines.store import queries
from engines.store.database import Store
from engines.teachers import COSTS, HOOK

KEYS = COSTS


@dataclass(frozen=True)
class Trained:
    """What had been spent when training ended and `finish` began."""

    tokens: int
    seconds: float

    @classmethod
    def of(cls, session: Session) -> Trained:
        return cls(session.tokens, session.seconds)


def own_price(session: Session, trained: Trained, work: Work | None, work_tokens: int) -> list[tuple[Figure, dict[str, Any]]]:
    """What the run itself spent, with the parts of it; operations only where a step was counted."""
    fine_tuning = session.seconds - trained.seconds
    seconds = Figure("cost/train_s", session.seconds + session.finishing, "s", "lower")
    tokens = Figure("cost/train_tokens", float(session.tokens), "tokens", "lower")
    found: list[tuple[Figure, dict[str, Any]]] = [
        (seconds, {"finishing_s": fine_tuning + session.finishing, "fine_tuning_s": fine_tuning}),
        (tokens, {"fine_tuning_tokens": session.tokens - trained.tokens}),
    ]
    if work is not None:
        flops = Figure("cost/train_flops", work.flops * session.tokens / work_tokens, "FLOP", "lower")
        found.append((flops, {"estimate": f"one step of {work_tokens} tokens, times all tokens trained on", "uncounted": work.uncounted}))
    return found


def price_of_needed(store: Store, needs: Iterable[int], read: Mapping[str, Any] | None = None) -> dict[str, float | None]:
    """What the needed runs and those that they needed spent, each run once; None where one of them has no such figure.

    read: the facts of the models that were read (`engines.teachers.HOOK`), runs and files of other experiments among them.
    """
    every: set[int] = set()
    files: dict[str, Mapping[str, float]] = {}
    waiting = [*needs, *_runs_and_files(read or {}, files)]
    while waiting:
        run_id = waiting.pop()
        if run_id not in every:
            every.add(run_id)
            waiting += queries.run(store, run_id).needs
            for row in queries.effects(store, [run_id]):
                if not row.technique and row.hook == HOOK:
                    waiting += _runs_and_files(row.facts, files)
    total: dict[str, float | None] = dict.fromkeys(KEYS, 0.0)
    spent = [{row.key: row.detail.get("own", row.value) for row in queries.results(store, run_id) if row.key in KEYS} for run_id in every]
    for own in (*spent, *files.values()):
        for key, so_far in total.items():
            total[key] = None if so_far is None or own.get(key) is None else so_far + own[key]
    return total


def _runs_and_files(facts: Mapping[str, Any], files: dict[str, Mapping[str, float]]) -> list[int]:
    """The runs among the models that were read; files are put into `files`, SHA-256 -> what it says that it cost."""
    read = facts.get("teachers", ())
    files.update({each["sha256"]: each["price"] or {} for each in read if "price" in each})
    return [int(each["run"]) for each in read if each.get("run") is not None]
