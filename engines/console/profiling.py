"""`workbench profile`, `workbench run --profile`: where a training step spends its time and its memory."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Any

from engines import profiling
from engines.console.opening import existing_run, opened
from engines.console.output import RequestError, columns, note, run_id, say, write_json
from engines.profiles import doubts, outside
from engines.profiling import ProfileError
from engines.store.database import Store

LAYERS, OPERATORS, MODULES = 40, 15, 8
"""Rows that are printed of each table; the JSON has all."""


def profile(arguments: argparse.Namespace) -> int:
    if arguments.steps < 1:
        raise RequestError(f"--steps {arguments.steps}: at least one step has to be timed.")
    with opened(arguments) as store:
        row = existing_run(store, run_id(arguments.id))
        path = profiling.profile(store, row.id, arguments.steps, lambda doing: note(f"r{row.id} {row.variant}: {doing}"))
    found = profiling.read(path)
    if arguments.json:
        write_json(found, arguments.json)
    if arguments.json != "-":
        show(found)
        say()
        say(f"profile: {path}")
        say(f"trace (open it in Perfetto or chrome://tracing): {path.with_name(profiling.TRACE)}")
    return 0


def profile_variants(store: Store, experiment_id: int, *, quiet: bool) -> None:
    """Profile one finished run of every variant. One that cannot be profiled is told, and the others are."""
    for row in profiling.to_profile(store, experiment_id):
        try:
            path = profiling.profile(store, row.id, tell=lambda doing: None)
        except ProfileError as error:
            note(f"r{row.id} {row.variant} is not profiled: {error}")
            continue
        if not quiet:
            found = profiling.read(path)
            step = found["step_ms"]
            phases = ", ".join(f"{name} {step[name]:,.1f}" for name in ("data", "forward", "backward", "optimizer", "other"))
            doubtful = "".join(f" {sentence}" for sentence in doubts(found))
            note(f"r{row.id} {row.variant}: a step takes {step['median']:,.1f} ms ({phases}); profile: {path}{doubtful}")


# --- What is printed ------------------------------------------------------------------------------------------------------------------------


def show(found: Mapping[str, Any]) -> None:
    """A profile as tables."""
    step, profiled = found["step_ms"], found["profiled"]
    say(
        f"A training step takes {step['median']:,.2f} ms (median of {found['steps']} steps of {found['batch']} x {found['length']} tokens on "
        f"{found['device']}, {found['threads']} torch threads; other work used {found['load']['machine_percent']:.0f}% of the machine)."
    )
    if reasons := doubts(found):
        say(f"These times are a hint and no more. {' '.join(reasons)}")
    rows = [[name, f"{step[name]:,.3f}", _half(step, name), _share(step[name], step["median"])] for name in _PHASES]
    say(columns(["", "ms", "middle half", "share"], rows))
    say()
    say(
        f"Layers, each without the modules inside it: {profiled['layers_ms']:,.2f} of {profiled['step_ms']:,.2f} ms a step under the profiler, "
        f"which makes steps {profiled['overhead']:.2f} times as long."
    )
    say(_layers(found["layers"], profiled["step_ms"]))
    say(f"Outside layers: {', '.join(f'{name} {ms:,.2f} ms' for name, ms in sorted(profiled['rest_ms'].items(), key=lambda item: -item[1]))}")
    say()
    rows = [[row["name"], f"{row['calls']:,.0f}", f"{row['self_ms']:,.3f}", _operations(row)] for row in found["operators"][:OPERATORS]]
    say(columns(["operator", "calls", "own ms", "FLOPs"], rows))
    say()
    _show_memory(found["memory"]["peak"])
    if found["uncounted"]:
        say(f"Operations without a formula, in no count: {', '.join(f'{name} ({calls}x)' for name, calls in found['uncounted'].items())}")


_PHASES = ("data", "forward", "backward", "optimizer", "other")


def _layers(rows: list[dict[str, Any]], whole: float) -> str:
    shown = rows
    if len(rows) > LAYERS:
        kept = {row["name"] for row in sorted(rows, key=_time)[-LAYERS:]}
        shown = [row for row in rows if row["name"] in kept]
    table = [
        [row["name"], row["type"], f"{row['parameters']:,}", f"{row['forward_ms']:,.3f}", f"{row['backward_ms']:,.3f}", _share(_time(row), whole),
         _operations(row)]
        for row in shown
    ]  # fmt: skip
    text = columns(["layer", "type", "parameters", "forward ms", "backward ms", "share", "FLOPs"], table)
    if len(shown) < len(rows):
        left = sum(_time(row) for row in rows) - sum(_time(row) for row in shown)
        text += f"\n({len(rows) - len(shown)} more layers: {left:,.3f} ms)"
    return text


def _show_memory(peak: Mapping[str, Any]) -> None:
    owners = ", ".join(f"{owner} {mib:,.1f}" for owner, mib in sorted(peak["owners"].items(), key=lambda item: -item[1]))
    say(f"Tensors hold {peak['total_mib']:,.1f} MiB at the peak of a step: {owners}.")
    if "unseen_mib" in peak:
        say(f"Operators allocate at most {peak['unseen_mib']:,.1f} MiB more inside themselves.")
    for sentence in outside(peak):
        say(sentence)
    say(columns(["made or held by", "MiB"], [[row["name"], f"{row['mib']:,.2f}"] for row in peak["modules"][:MODULES]]))


def _half(step: Mapping[str, Any], phase: str) -> str:
    """The quartiles of a phase; profiles of earlier versions have none."""
    quartiles = step.get("quartiles") or {}
    return "{:,.3f} to {:,.3f}".format(*quartiles[phase]) if phase in quartiles else ""


def _time(row: Mapping[str, Any]) -> float:
    return float(row["forward_ms"] + row["backward_ms"])


def _operations(row: Mapping[str, Any]) -> str:
    return f"{row['flops']:,.0f}" if row.get("flops") else ""


def _share(part: float, whole: float) -> str:
    return f"{part / whole:.1%}" if whole else ""
