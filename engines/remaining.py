"""How long runs still take, as far as measured progress tells: a range, never a guess without evidence.

A running run is foretold from two paces, its average and its latest; what is still to come beside its training (looks at held-out text,
finishing, evaluation) from runs of the experiment that have ended, less what it has spent so already. A queued run takes as long as runs of
its variant did; while there is none, between half the shortest and twice the longest run of the experiment's other variants. Before the
first evidence a run is counted as unmeasured and is in neither bound. Timing sessions are not in.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from engines.store.rows import DONE, RunRow

FEW = 3
"""With fewer measured runs of a variant their spread is not known; the range is widened by WIDER."""
WIDER = 0.15
OTHERS = 2.0
"""How far a variant may take longer, or less long, than other variants of its experiment."""
ENOUGH = 0.02
"""Share of the budget that must be spent before a pace counts as evidence."""


@dataclass(frozen=True)
class Remaining:
    """Seconds, lowest and highest; unmeasured: runs about which nothing is known, which are in neither.

    unended: whether it is known of no run how long its evaluation and finishing take: then there is no highest.
    """

    low: float = 0.0
    high: float = 0.0
    unmeasured: int = 0
    unended: bool = False

    @property
    def known(self) -> bool:
        """Whether anything is known at all."""
        return self.high > 0 or not self.unmeasured


def of_runs(runs: Iterable[RunRow], *, now: float, peers: Iterable[RunRow] = (), jobs: int = 1) -> Remaining:
    """The time until all these runs have ended, with `jobs` at once. peers: more runs of their experiments, as evidence. now: unix seconds."""
    asked = [run for run in runs if not run.over]
    by_experiment: dict[int, dict[int, RunRow]] = {}
    for run in (*peers, *asked):
        by_experiment.setdefault(run.experiment_id, {})[run.id] = run
    evidence = {number: _Evidence(rows.values(), now) for number, rows in by_experiment.items()}
    found = [evidence[run.experiment_id].of(run) for run in asked]
    known = [each for each in found if each is not None]
    low, high = sum(each[0] for each in known), sum(each[1] for each in known)
    jobs = max(1, min(jobs, len(known)))
    # One after the other it is the sum; side by side at best an even share, at worst the longest one begins last (Graham's bound).
    longest = max((each[1] for each in known), default=0.0)
    first = max(low / jobs, max((each[0] for each in known), default=0.0))
    unended = any(evidence[run.experiment_id].unended for run, each in zip(asked, found, strict=True) if each is not None)
    return Remaining(first, high / jobs + longest * (1 - 1 / jobs), len(asked) - len(known), unended)


def words(left: Remaining, span: Callable[[float], str]) -> str:
    """As a person reads it: "12 min to 15 min left"; span writes seconds."""
    if not left.known:
        return "time left unknown until a run has been under way for a while"
    low, high = span(left.low), span(left.high)
    text = f"about {high} left" if low == high else f"{low} to {high} left"
    if left.unmeasured:
        runs = "1 run" if left.unmeasured == 1 else f"{left.unmeasured} runs"
        return f"at least {low} left, and {runs} of which nothing was measured yet"
    return f"at least {low} left" if left.unended else text


class _Evidence:
    """What the runs of one experiment have shown."""

    def __init__(self, runs: Iterable[RunRow], now: float) -> None:
        self._now = now
        self._whole: dict[int, list[tuple[float, float]]] = {}
        self._beside: dict[int, list[float]] = {}
        """What runs took beside their training: starting, looks at held-out text, finishing, evaluation."""
        rows = list(runs)
        for run in rows:
            if run.status == DONE and run.started and run.ended:
                took = run.ended - run.started
                self._whole.setdefault(run.variant_id, []).append((took, took))
                trained = run.progress.get("seconds")
                if trained is not None:
                    self._beside.setdefault(run.variant_id, []).append(max(0.0, took - trained))
        self.unended = not self._beside and any(self._of_pace(run) is not None for run in rows)
        for run in rows:
            left = self._of_pace(run)
            if left is not None and run.started:
                spent = now - run.started
                self._whole.setdefault(run.variant_id, []).append((spent + left[0], spent + left[1]))

    def of(self, run: RunRow) -> tuple[float, float] | None:
        """Lowest and highest seconds that a run still takes; None where nothing is known."""
        left = self._of_pace(run) if run.active else None
        if left is not None:
            return left
        whole = self._of_variant(run.variant_id)
        if whole is None:
            return None
        spent = self._now - run.started if run.active and run.started else 0.0
        # One that takes longer than any before it: it ends some time, nobody knows when.
        return None if spent > whole[1] else (max(0.0, whole[0] - spent), whole[1] - spent)

    def _of_variant(self, variant: int) -> tuple[float, float] | None:
        own = self._whole.get(variant)
        if own:
            return _range(own)
        others = [each for found in self._whole.values() for each in found]
        if not others:
            return None
        return min(low for low, _ in others) / OTHERS, max(high for _, high in others) * OTHERS

    def _of_pace(self, run: RunRow) -> tuple[float, float] | None:
        """From how far a run is and how fast it goes; None before it has shown that, and where it has trained already."""
        share, trained = run.progress.get("fraction"), run.progress.get("seconds")
        if not run.active or not share or trained is None or not ENOUGH <= share <= 1 or (share == 1 and run.phase != "training"):
            return None
        paces = [trained * (1 - share) / share]
        tokens, rate = run.progress.get("tokens"), run.progress.get("tokens_per_s")
        if tokens and rate:
            paces.append(tokens * (1 - share) / share / rate)
        beside = self._beside.get(run.variant_id) or [each for found in self._beside.values() for each in found] or [0.0]
        passed = max(0.0, self._now - run.started - trained) if run.started else 0.0
        return min(paces) + max(0.0, min(beside) - passed), max(paces) + max(0.0, max(beside) - passed)


def _range(found: Sequence[tuple[float, float]]) -> tuple[float, float]:
    low, high = min(each[0] for each in found), max(each[1] for each in found)
    return (low, high) if len(found) >= FEW else (low * (1 - WIDER), high * (1 + WIDER))
