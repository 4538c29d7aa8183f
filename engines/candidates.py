"""The finished runs of a store as teachers of a variant: which fit, and why others do not. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from engines.store import queries
from engines.store.database import Store
from engines.teachers import unfit


@dataclass(frozen=True)
class Candidate:
    """A finished run with its model. ended: Unix time in seconds. why_not: why it cannot teach the variant, a sentence; empty where it may.

    same_text: whether it was trained on the very corpus of the variant; else its tokens are compared before training.
    """

    run: int
    variant: str
    seed: int
    experiment: str
    task: str
    ended: float
    same_text: bool
    why_not: str

    @property
    def reference(self) -> str:
        """As a recipe names it."""
        return f"run:{self.run}"


def candidates(store: Store, student: Mapping[str, Any]) -> list[Candidate]:
    """Every finished run of the store whose model is there, smoke tests left out, the latest first. student: the plan of the variant.

    Task and level of the text are compared; tokens and classes only the inspector and the run itself know.
    """
    runs = [run for run in queries.runs(store, status="done") if not run.smoke and (store.model_folder(run.id) / "plan.json").exists()]
    names = {row.id: row.name for row in queries.experiments(store)}
    plans = {variant.id: variant.plan for each in {run.experiment_id for run in runs} for variant in queries.variants(store, each)}
    found = []
    for run in sorted(runs, key=lambda each: each.id, reverse=True):
        plan = plans[run.variant_id]
        why_not = unfit(f"run:{run.id}", plan, _level(plan), student, _level(student))
        same = plan["corpus"] == student["corpus"]
        found.append(
            Candidate(run.id, run.variant, run.seed, names[run.experiment_id], plan["task"]["id"], run.ended or run.queued, same, why_not)
        )
    return found


def _level(plan: Mapping[str, Any]) -> dict[str, Any]:
    level = plan["corpus"].get("level")
    return {"level": level} if level else {}
