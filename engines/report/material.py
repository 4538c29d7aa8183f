"""All that a report may show, read from the store once: comparison, curves, experiments, machines, remarks about the measuring, profiles."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from engines import observing
from engines.comparison import compare
from engines.profiles import read_profile
from engines.report import figures
from engines.store import queries
from engines.store.database import Store
from engines.store.rows import Curve

CURVES = (
    ("train/loss", "Training loss", "nats a token"),
    ("quality/valid_perplexity", "Validation perplexity", "perplexity"),
    ("quality/valid_reciprocal_rank", "Validation reciprocal rank", "reciprocal rank"),
    ("quality/valid_accuracy", "Validation accuracy", "accuracy"),
    ("quality/valid_nll", "Validation nats per text", "nats"),
    ("quality/valid_context_perplexity", "Validation perplexity of words near each other", "perplexity"),
    ("quality/valid_context_reciprocal_rank", "Validation reciprocal rank of words near each other", "reciprocal rank"),
    ("speed/train_tokens_per_s", "Training speed", "tokens/s"),
    ("memory/host_mib", "Memory of the process", "MiB"),
)
"""(series key, title, title of the axis) of the learning curves."""
PRICES = ("cost/train_s", "cost/train_tokens", "cost/train_flops", "speed/time_to_quality_s")
"""What a variant costs to make."""
_PIXELS = figures.WIDTH // 2
"""Columns a curve is reduced to: two points a column, so a dozen runs stay within a megabyte."""


@dataclass(frozen=True)
class Material:
    """`experiments`: objects with name, text, digest and folder; `machines`: tables of facts; `remarks`: sentences about the measuring itself;
    `profiles`: variant -> profile of a run of it."""

    comparison: Mapping[str, Any]
    curves: Sequence[figures.Figure] = ()
    experiments: Sequence[Any] = ()
    machines: Sequence[Mapping[str, str]] = ()
    remarks: Sequence[str] = ()
    profiles: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def file_name(self, index: int) -> str:
        """What the file of an experiment is called beside a report."""
        return "experiment.toml" if len(self.experiments) == 1 else f"experiment-{index + 1}.toml"


def gather(store: Store, experiment_ids: Sequence[int], comparison: Mapping[str, Any] | None = None) -> Material:
    """Read everything of one or several experiments; `comparison` where it was made already."""
    found = comparison or compare(store, experiment_ids)
    return Material(
        found,
        _curves(store, found),
        [queries.experiment(store, each) for each in found["experiments"]],
        _machines(store, found),
        _remarks(store, found),
        _profiles(store, found),
    )


def _curves(store: Store, comparison: Mapping[str, Any]) -> list[figures.Figure]:
    lines: dict[str, list[tuple[str, int, str, np.ndarray, np.ndarray]]] = {key: [] for key, *_ in CURVES}
    for index, (name, variant) in enumerate(comparison["variants"].items()):
        for run_id in variant["runs"]:
            for series in queries.series(store, run_id):
                if series.key in lines and series.count > 1:
                    x, y = _zigzag(queries.curve(store, series.id, pixels=_PIXELS))
                    lines[series.key].append((name, index, f"{name}, run {run_id}", x, y))
    found = (figures.learning_curves(title, axis, lines[key]) for key, title, axis in CURVES)
    return [figure for figure in found if figure is not None]


def _zigzag(curve: Curve) -> tuple[np.ndarray, np.ndarray]:
    """Lowest and highest value of each column one after the other: a line that touches every spike."""
    if curve.exact:
        return curve.steps, curve.lows
    return np.column_stack([curve.steps, curve.steps_last]).ravel(), np.column_stack([curve.lows, curve.highs]).ravel()


def _profiles(store: Store, comparison: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    found = {name: read_profile(store, variant.get("profile")) for name, variant in comparison["variants"].items()}
    return {name: profile for name, profile in found.items() if profile is not None}


def _machines(store: Store, comparison: Mapping[str, Any]) -> list[dict[str, str]]:
    """The facts of each machine that ran something, as texts."""
    seen: dict[int, dict[str, str]] = {}
    for variant in comparison["variants"].values():
        for run_id in variant["runs"]:
            machine_id = queries.run(store, run_id).machine_id
            if machine_id is not None and machine_id not in seen:
                machine = queries.machine(store, machine_id)
                seen[machine_id] = {str(key): _text(value) for key, value in machine.facts.items() if value not in (None, "", [], {})}
    return list(seen.values())


def _remarks(store: Store, comparison: Mapping[str, Any]) -> list[str]:
    """What observing cost the runs, and why energy was not measured where it was not."""
    runs = [run_id for variant in comparison["variants"].values() for run_id in variant["runs"]]
    rows = queries.effects(store, runs) if runs else []
    cost = observing.summary([row.facts for row in rows if not row.technique and row.hook == observing.HOOK])
    without = [event.text for run_id in runs for event in queries.events(store, run_id) if event.kind == "energy"]
    return [sentence for sentence in dict.fromkeys((cost, *without)) if sentence]


def _text(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_text(each)}" for key, each in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(_text(each) for each in value)
    return f"{value:.4g}" if isinstance(value, float) else str(value)


