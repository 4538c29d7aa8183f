"""The price of a finished model: seconds, tokens and operations of everything that it needed, other runs and the work after training included.

Seconds count training steps (the wait for data included, validation and checkpoints not) and the whole of `finish`: fine-tuning, calibration,
validation that a technique asks for, packing. Tokens are those trained on. Operations are those of one counted step for every token trained on;
passes without a step (calibration in `finish`) are not among them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from engines.api import Figure
from engines.runtime.context import Session
from engines.runtime.flops import Work
from engines.store import queries
from engines.store.database import Store

KEYS = ("cost/train_s", "cost/train_tokens", "cost/train_flops")


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


def price_of_needed(store: Store, needs: Iterable[int]) -> dict[str, float | None]:
    """What the needed runs and those that they needed spent, each run once; None where one of them has no such figure."""
    every: set[int] = set()
    waiting = list(needs)
    while waiting:
        run_id = waiting.pop()
        if run_id not in every:
            every.add(run_id)
            waiting += queries.run(store, run_id).needs
    total: dict[str, float | None] = dict.fromkeys(KEYS, 0.0)
    for run_id in every:
        own = {row.key: row.detail.get("own", row.value) for row in queries.results(store, run_id) if row.key in KEYS}
        for key, so_far in total.items():
            total[key] = None if so_far is None or own.get(key) is None else so_far + own[key]
    return total
