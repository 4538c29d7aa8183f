"""A variant beside its baseline, as the rules that explain it see the two."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Result = Mapping[str, Any]

OPERATIONS = frozenset({"compute/flops_per_token", "compute/executed_flops_per_token", "cost/train_flops"})


@dataclass(frozen=True)
class Case:
    """Results of both by key, and what stands behind them. recorded: hook -> facts of what the engine itself recorded (work, memory).

    price: key -> {"total", "own", "of_needed_runs", ...} of one run; profile: of a run of the variant; peaks: of the machine; break_even: of
    sparse formats on the machine (`engines.breakeven`); trained_alike: whether every training loss equals the baseline's. siblings: results of
    the other finished variants that are made of the same model, by name; simulated: the savings that exist on paper alone (`engines.savings`).
    """

    results: Mapping[str, Result]
    baseline: Mapping[str, Result]
    margin: float = 0.02
    metrics: Sequence[str] = ()
    effects: Sequence[Mapping[str, Any]] = ()
    new_techniques: Sequence[str] = ()
    recorded: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    baseline_recorded: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    control: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    price: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    profile: Mapping[str, Any] | None = None
    peaks: Mapping[str, Any] | None = None
    break_even: Sequence[Mapping[str, Any]] = ()
    trained_alike: bool = False
    siblings: Mapping[str, Mapping[str, Result]] = field(default_factory=dict)
    simulated: Sequence[Mapping[str, Any]] = ()

    def ratio(self, key: str) -> float | None:
        """None where it was not measured, and of operations where some are in no count, since what was counted then says nothing."""
        result = self.results.get(key)
        return None if result is None or (key in OPERATIONS and self.uncounted) else result["ratio"]

    @property
    def uncounted(self) -> list[str]:
        """Operators of either that have no formula."""
        names = (each.get("work", {}).get("uncounted", {}) for each in (self.recorded, self.baseline_recorded))
        return sorted({name for found in names for name in found})

    @property
    def work(self) -> str:
        """Key of the operations of scoring a token: what kernels execute where that was counted."""
        executed = "compute/executed_flops_per_token"
        return executed if executed in self.results and executed in self.baseline else "compute/flops_per_token"

    def fell(self, ratio: float | None) -> bool:
        return ratio is not None and ratio < 1 / (1 + self.margin)

    def rose(self, ratio: float | None) -> bool:
        return ratio is not None and ratio > 1 + self.margin

    def stayed(self, ratio: float | None) -> bool:
        return ratio is not None and not self.fell(ratio) and not self.rose(ratio)

    def timed(self, bare: str) -> Iterator[tuple[str, Result, Result]]:
        """(target, result, the baseline's) of a quantity wherever its ratio has an interval."""
        for key, result in self.results.items():
            if key.split("@")[0] == bare and result["ratio_low"] is not None and key in self.baseline:
                yield key.partition("@")[2], result, self.baseline[key]
