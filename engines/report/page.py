"""The comparison as one self-contained HTML file: no script, nothing loaded from elsewhere, every text escaped."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from engines import differences, observing, savings
from engines.comparison import compare
from engines.profiles import read_profile
from engines.report import figures, labels, profile_pictures, sentences
from engines.report.forest import forest
from engines.store import queries
from engines.store.database import Store
from engines.store.rows import Curve

RESOURCES = Path(__file__).resolve().parents[2] / "resources"
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
_PIXELS = figures.WIDTH // 2
"""Columns a curve is reduced to: two points a column, so a dozen runs stay within a megabyte."""
_PRICES = ("cost/train_s", "cost/train_tokens", "cost/train_flops", "speed/time_to_quality_s")


def write_html(store: Store, experiment_ids: Sequence[int], path: Path | str) -> Path:
    """Write the report of one or several experiments; returns where it lies."""
    comparison = compare(store, experiment_ids)
    text = html(
        comparison,
        curves=_curves(store, comparison),
        experiments=[queries.experiment(store, each) for each in comparison["experiments"]],
        machines=_machines(store, comparison),
        remarks=_remarks(store, comparison),
        profiles=_profiles(store, comparison),
    )
    found = Path(path)
    found.parent.mkdir(parents=True, exist_ok=True)
    found.write_text(text, encoding="utf-8")
    return found.resolve()


def html(
    comparison: Mapping[str, Any], *, curves: Sequence[figures.Figure] = (), experiments: Sequence[Any] = (), machines: Sequence[Any] = (),
    remarks: Sequence[str] = (), profiles: Mapping[str, Mapping[str, Any]] | None = None,
) -> str:  # fmt: skip
    """The page. `experiments`: objects with text, digest and folder; `machines`: tables of facts; `remarks`: sentences about the measuring
    itself; `profiles`: variant -> profile of a run of it."""
    environment = Environment(
        loader=FileSystemLoader(RESOURCES / "report"), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    columns = labels.columns(comparison)
    variants = comparison["variants"]
    shown = [*columns, *_PRICES]
    every_key = [*columns, *labels.other_keys(comparison, columns)]
    light, dark = _colours("light"), _colours("dark")
    return environment.get_template("page.html.j2").render(
        comparison=comparison,
        facts=_facts(comparison),
        baseline_index=list(variants).index(comparison["baseline"]),
        indices={name: index for index, name in enumerate(variants)},
        forest=forest(comparison, columns),
        savings_columns=(compact := savings.shown(comparison)),
        savings_groups=[(group, sum(1 for _ in run)) for group, run in groupby(compact, key=lambda column: column[0])],
        savings_head=savings.head,
        savings_cell=savings.cell,
        value=differences.text,
        goal=comparison.get("goal"),
        conditions=sentences.conditions(comparison.get("conditions", {})),
        profiles={name: (each, profile_pictures.pictures(each), profile_pictures.layers(each)) for name, each in (profiles or {}).items()},
        headline=sentences.headline(comparison),
        method=sentences.method(comparison),
        columns=columns,
        others=labels.other_keys(comparison, shown),
        units={key: result["unit"] for variant in variants.values() for key, result in variant["results"].items()},
        parts={name: sentences.of_variant(variant, every_key) for name, variant in variants.items()},
        scatters=_scatters(comparison, columns),
        curves=curves,
        prices=[(key, rows) for key in _PRICES if (rows := figures.bars(comparison, key))],
        machines=machines,
        remarks=remarks,
        experiments=experiments,
        light=light,
        dark=dark,
        colours=sum(name.startswith("series-") for name in light),
        written=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        version=_version(),
        name=labels.name,
        short=labels.short,
        figure=labels.figure,
        ratio=labels.ratio,
        interval=labels.interval,
        state=labels.state,
        over_limits=labels.over_limits,
        over=labels.OVER,
    )


def _facts(comparison: Mapping[str, Any]) -> list[str]:
    variants = comparison["variants"].values()
    runs = sum(len(variant["runs"]) for variant in variants)
    done = sum(variant["status"].get("done", 0) for variant in variants)
    made, margin = comparison["verdicts"]["made"], comparison["margin"]
    return [f"{len(variants)} variants", f"{done} of {runs} runs done", f"{made} verdicts", f"margin {margin:.1%}"]


def _scatters(comparison: Mapping[str, Any], columns: Sequence[str]) -> list[figures.Figure]:
    """Quality against what it costs: the first judging quality key over speed, memory and size."""
    quality = next((key for key in columns if key.startswith("quality/")), None)
    if quality is None:
        return []
    wanted = [key for key in columns if key.startswith(("speed/", "memory/", "size/"))]
    found = (figures.scatter(comparison, key, quality) for key in wanted)
    return [figure for figure in found if figure is not None]


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


def _colours(theme: str) -> dict[str, str]:
    """The window's own colours, so that report and window look alike."""
    table = json.loads((RESOURCES / "theme" / f"{theme}.json").read_text(encoding="utf-8"))
    series = {f"series-{index}": colour for index, colour in enumerate(table["series"])}
    return {key: value for key, value in table.items() if isinstance(value, str)} | series


def _version() -> str:
    try:
        return version("efficiency-workbench")
    except PackageNotFoundError:
        return "(not installed)"
