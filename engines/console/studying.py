"""`workbench study`: one operation measured over sizes, its curves as a table, and what they say."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Mapping
from typing import Any

from engines import catalogue as catalogues
from engines import studying
from engines.console.opening import opened
from engines.console.output import RequestError, columns, note, say, when, write_json
from engines.following import interruptible
from engines.keypaths import KeyPathError, assignment
from engines.probes import MIB
from engines.report.labels import figure
from engines.store import queries
from engines.store.database import Store
from engines.store.rows import CANCELLED, DONE, StudyRow

EXITS = {DONE: 0, CANCELLED: 130}
FAILED = 1
MOST_COLUMNS = 6
"""Curves that stand side by side in a table."""
LINE_SECONDS = 10.0
"""Without a terminal it says at most this often how far it is."""


def study(arguments: argparse.Namespace) -> int:
    """Exit code 0 done, 1 failed, 130 interrupted. Raises RequestError, StudyRefused before anything is measured."""
    if arguments.id is None or arguments.id.isdigit():
        if arguments.changes:
            raise RequestError("--set changes a parameter of a study that is measured: name one, as in workbench study studies/matmul.")
        with opened(arguments, looking=True) as store:
            return _show(store, int(arguments.id), arguments.json) if arguments.id else _list(store, arguments.json)
    parameters = _parameters(arguments.changes)
    studying.check(catalogues.read(), arguments.id, parameters)
    with opened(arguments) as store:
        return _measure(store, arguments.id, parameters, arguments)


def _parameters(changes: list[str]) -> dict[str, Any]:
    try:
        return dict(assignment(change) for change in changes)
    except KeyPathError as error:
        raise RequestError(str(error)) from error


def _measure(store: Store, id: str, parameters: Mapping[str, Any], arguments: argparse.Namespace) -> int:
    with interruptible() as interruption, watching(quiet=arguments.quiet) as display:
        last = studying.measure(store, id, parameters, hear=display.hear, wanted=lambda: not interruption.count)
    status = last["status"]
    if status != DONE:
        number = f"study {last['id']}" if last["id"] else id
        note(f"{number}: {status}. {last['reason']}")
        return EXITS.get(status, FAILED)
    return _show(store, last["id"], arguments.json)


def _list(store: Store, out: str | None) -> int:
    found = catalogues.read()["plugins"]
    known = [entry for _, entry in sorted(found.items()) if entry["kind"] == "study"]
    rows = queries.studies(store)
    if out:
        measured = [{key: getattr(row, key) for key in ("id", "study", "parameters", "status", "created", "ended", "reason")} for row in rows]
        write_json({"studies": [{key: entry[key] for key in ("id", "title", "expects")} for entry in known], "measured": measured}, out)
        return 0
    say(columns(["id", "title"], [[entry["id"], entry["title"]] for entry in known]))
    if rows:
        say()
        say(columns(["number", "study", "status", "when", ""], [[row.id, row.study, row.status, when(row.created), row.reason] for row in rows]))
    return 0


def _show(store: Store, number: int, out: str | None) -> int:
    if all(row.id != number for row in queries.studies(store)):
        raise RequestError(f"There is no study {number} in {store.url}; workbench study lists those there are.")
    row = queries.study(store, number)
    if out:
        write_json({"id": row.id, "study": row.study, "status": row.status, "parameters": row.parameters, "reason": row.reason, **row.result}, out)
    if out != "-":
        say(text(row))
    return 0


# --- As text --------------------------------------------------------------------------------------------------------------------------------


def text(row: StudyRow) -> str:
    """A study that was measured, as plain text."""
    if not row.result:
        return f"{row.id} {row.study}: {row.status}. {row.reason}".strip()
    found = row.result
    parts = [f"{row.id} {row.study}: {found['title']}", *_curves(found), *_steps(found)]
    parts.append("\n".join(f"- {sentence}" for sentence in found["findings"]))
    expected = found["expectation"]
    parts.append(f"Expectation: {expected['sentence']}\n{expected['outcome'].capitalize()}. {expected['reason']}")
    if found["not_shown"]:
        parts.append("Not shown:\n" + "\n".join(f"- {sentence}" for sentence in found["not_shown"]))
    return "\n\n".join(part for part in parts if part)


def _curves(found: Mapping[str, Any]) -> list[str]:
    if not found["curves"]:
        return []
    if any(point.get("facts") for curve in found["curves"] for point in curve["points"]):
        return _settings(found)
    x, y = found["x"], found["y"]
    at = [{point["x"]: point for point in curve["points"]} for curve in found["curves"]]
    rows = [[f"{each:g}", *(_cell(points.get(each)) for points in at)] for each in sorted({value for points in at for value in points})]
    exponents = [curve["exponent"] for curve in found["curves"]]
    if any(exponents):
        rows.append(["exponent", *(f"{e['value']:.2f} [{e['low']:.2f}, {e['high']:.2f}]" if e else "" for e in exponents)])
    headings = [x["name"], *(curve["name"] for curve in found["curves"])]
    lines = [f"{line['name']}: {figure(line['value'])} {y['unit']}" for line in found["lines"]]
    unit = f" in {y['unit']}" if y["unit"] else ""
    heading = f"{y['name']}{unit}, {y['better']} is better; median [95% interval]"
    lines += [f"{curve['name']}: {curve['note']}" for curve in found["curves"] if curve["note"]]
    return [f"{heading}; exponents are of the time of one call", _table(headings, rows), *_memory(found), "\n".join(lines)]


def _table(headings: list[str], rows: list[list[str]]) -> str:
    """A column a curve; many curves are rows instead, which a terminal can hold."""
    if len(headings) - 1 <= MOST_COLUMNS:
        return columns(headings, rows)
    turned = [list(row) for row in zip(headings, *rows, strict=True)]
    return columns(turned[0], turned[1:])


def _settings(found: Mapping[str, Any]) -> list[str]:
    """One row a setting, with all that is known of it, where that is what the curves are made of."""
    y = found["y"]
    paired = [(curve["name"], point) for curve in found["speedups"] for point in curve["points"]]
    ratios = {(name, point["x"]): f"{figure(point['value'])}x{_limits(point, '')}" for name, point in paired}
    points = [(curve["name"], point) for curve in found["curves"] for point in curve["points"]]
    facts = list(dict.fromkeys(name for _, point in points for name in point.get("facts", {})))
    rows = [
        [
            name, point.get("setting", ""), _cell(point), ratios.get((name, point["x"]), ""),
            *(figure(point["facts"][fact]) if fact in point.get("facts", {}) else "" for fact in facts),
        ]
        for name, point in points
    ]  # fmt: skip
    over = next((f"times as fast as {curve['over']}" for curve in found["speedups"]), "")
    heading = f"{y['name']} in {y['unit']}, {y['better']} is better; median [95% interval]"
    return [heading, columns(["curve", "setting", y["name"], over, *facts], rows)]


def _memory(found: Mapping[str, Any]) -> list[str]:
    """The table of peak memory, where the study measured it."""
    curves = found["curves"]
    at = [{point["x"]: point["memory_bytes"] for point in curve["points"] if "memory_bytes" in point} for curve in curves]
    xs = sorted({x for points in at for x in points})
    if not xs:
        return []
    rows = [[f"{x:g}", *(figure(points[x] / MIB) if x in points else "" for points in at)] for x in xs]
    exponents = [curve.get("memory_exponent") for curve in curves]
    if any(exponents):
        rows.append(["exponent", *(f"{e['value']:.2f} [{e['low']:.2f}, {e['high']:.2f}]" if e else "" for e in exponents)])
    headings = [found["x"]["name"], *(curve["name"] for curve in curves)]
    return ["peak memory of a call in MiB, lower is better; of one call, by what torch allocates", _table(headings, rows)]


def _cell(point: Mapping[str, Any] | None) -> str:
    if point is None:
        return ""
    return f"{figure(point['value'])}{_limits(point, '')}"


def _limits(of: Mapping[str, Any], prefix: str) -> str:
    low, high = of.get(f"{prefix}low"), of.get(f"{prefix}high")
    return "" if low is None or high is None else f" [{figure(low)}, {figure(high)}]"


def _steps(found: Mapping[str, Any]) -> list[str]:
    rows = []
    for step in found["steps"]:
        ratios = [f"{figure(step[key])}x{_limits(step, f'{key}_')}" if key in step else "" for key in ("gain", "ratio")]
        rows.append([step["name"], f"{figure(step['value'])} {step['unit']}{_limits(step, '')}", *ratios])
    return [found["steps_title"], columns(["step", "time", "than the step before", "in all"], rows)] if rows else []


# --- Progress -------------------------------------------------------------------------------------------------------------------------------


def watching(*, quiet: bool) -> Silence:
    """The display that fits standard error."""
    if quiet:
        return Silence()
    return Bar() if sys.stderr.isatty() else Lines()


class Silence:
    """--quiet."""

    def __enter__(self) -> Silence:
        return self

    def __exit__(self, *error: object) -> None:
        return None

    def hear(self, line: Mapping[str, Any]) -> None:
        return None


class Lines(Silence):
    """Plain lines: that it waits, that it begins, every now and then how far it is, what is left out."""

    def __init__(self) -> None:
        self._said = time.monotonic()

    def hear(self, line: Mapping[str, Any]) -> None:
        told = sentence(line)
        if line["event"] == "progress":
            if time.monotonic() - self._said < LINE_SECONDS:
                return
            self._said = time.monotonic()
        if told:
            note(told)


class Bar(Silence):
    """rich: one bar over all cells."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn

        self._bars = Progress(
            TextColumn("{task.description}", markup=False), BarColumn(bar_width=24), TextColumn("{task.percentage:>3.0f}%"),
            console=Console(stderr=True, highlight=False), refresh_per_second=2, transient=True,
        )  # fmt: skip
        self._task = self._bars.add_task("starting", total=1.0)

    def __enter__(self) -> Bar:
        self._bars.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._bars.stop()

    def hear(self, line: Mapping[str, Any]) -> None:
        told = sentence(line)
        if line["event"] == "progress":
            self._bars.update(self._task, completed=line["done"] / max(1, line["total"]), description=told)
        elif told:
            self._bars.console.print(told, markup=False, soft_wrap=True)


def sentence(line: Mapping[str, Any]) -> str:
    """What a line of the process says to a person; the empty string for one that says nothing."""
    match line["event"]:
        case "waiting":
            return str(line["sentence"])
        case "begun":
            return f"Study {line['id']}: {line['title']} (Ctrl+C stops it)"
        case "left":
            return f"Left out: {line['curve']}" + ("" if line["x"] is None else f" at {line['x']:g}") + f": {line['why']}."
        case "progress":
            place = "" if line["x"] is None else f", now at {line['x']:g}"
            return f"{line['done']} of {line['total']} cells{place}"
    return ""
