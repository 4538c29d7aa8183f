"""Everything that the store knows about one run, read in a thread for its page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from engines.store.database import Store
    from engines.store.rows import ArtifactRow, EffectRow, EventRow, RunRow

GROUPS = (
    ("quality/", "Quality"), ("speed/", "Speed"), ("latency/", "Speed"), ("memory/", "Memory"), ("size/", "Size"), ("compute/", "Work"),
    ("executed/", "Work"), ("moved/", "Work"), ("nominal/", "Size"), ("energy/", "Energy"), ("cost/", "Price"),
)  # fmt: skip


@dataclass(frozen=True)
class Figure:
    """A result of the run; low, high: its own interval where it has one. seeds: (lowest, highest, how many) over the variant's finished runs."""

    group: str
    name: str
    value: float | None
    unit: str
    low: float | None
    high: float | None
    seeds: tuple[float, float, int] | None


@dataclass(frozen=True)
class Facts:
    """baseline: the name of the variant that this one is held against, empty where it is that itself. differences: (key, there, here)."""

    run: RunRow
    baseline: str
    differences: Sequence[tuple[str, str, str]]
    plan: Mapping[str, Any]
    figures: Sequence[Figure]
    effects: Sequence[EffectRow]
    events: Sequence[EventRow]
    artifacts: Sequence[ArtifactRow]
    machine: Mapping[str, Any]
    folder: Path
    needs: Sequence[str]

    @property
    def has_model(self) -> bool:
        """Whether a finished model lies in its folder."""
        return self.run.status == "done" and (self.folder / "model" / "plan.json").exists()


def read(store: Store, run_id: int) -> Facts:
    """Raises StoreError where the run is gone."""
    from engines.differences import differences, text
    from engines.store import queries

    run = queries.run(store, run_id)
    variants = queries.variants(store, run.experiment_id)
    plan = queries.plan(store, run_id)
    baseline = next((each for each in variants if each.baseline), None)
    other = baseline is not None and baseline.id != run.variant_id
    found = differences(baseline.plan, plan) if other and baseline is not None else []
    siblings = [each.id for each in queries.runs(store, run.experiment_id, status="done") if each.variant_id == run.variant_id]
    machine = queries.machine(store, run.machine_id).facts if run.machine_id is not None else {}
    needed = [queries.run(store, need) for need in run.needs]
    return Facts(
        run=run,
        baseline=baseline.name if other and baseline is not None else "",
        differences=[(str(each["key"]), text(each["old"]), text(each["new"])) for each in found],
        plan=plan,
        figures=_figures(queries, store, run_id, siblings),
        effects=queries.effects(store, run_id),
        events=queries.events(store, run_id),
        artifacts=queries.artifacts(store, run_id),
        machine=machine,
        folder=Path(store.folder) / (run.folder or f"runs/{run.id}"),
        needs=[f"{row.variant} (run {row.id}, {row.status})" for row in needed],
    )


def _figures(queries: Any, store: Store, run_id: int, siblings: Sequence[int]) -> list[Figure]:
    from engines.report import labels

    spread: dict[tuple[str, str], list[float]] = {}
    for row in queries.results(store, siblings):
        if row.value is not None:
            spread.setdefault((row.key, row.target), []).append(row.value)
    found = []
    for row in queries.results(store, run_id):
        values = spread.get((row.key, row.target), [])
        seeds = (min(values), max(values), len(values)) if len(values) > 1 else None
        name = labels.name(f"{row.key}@{row.target}" if row.target else row.key)
        found.append(Figure(group_of(row.key), name, row.value, row.unit, row.low, row.high, seeds))
    places = {heading: place for place, (_, heading) in enumerate(GROUPS)}
    return sorted(found, key=lambda figure: places.get(figure.group, len(places)))


def group_of(key: str) -> str:
    """The heading that a result stands under."""
    return next((heading for start, heading in GROUPS if key.startswith(start)), "Other")
