"""`workbench serve`, `list`, `queue`, `show`, `cancel`, `resume`, `gc`: what is in the store and what happens to it."""

from __future__ import annotations

import argparse
import time
from collections import Counter
from dataclasses import asdict
from typing import Any

from engines import remaining
from engines.console.opening import existing_experiment, existing_run, opened
from engines.console.output import RequestError, columns, note, say, span, split_id, when, write_json
from engines.console.running import watch
from engines.launching import Presence, ensure_supervisor
from engines.probes import MIB
from engines.store import commands, queries
from engines.store.address import store_url
from engines.store.database import Store
from engines.store.rows import ACTIVE, ARCHIVED, FAILED, LOST, QUEUED, RESUMABLE, RunRow

MOVES = ("first", "up", "down", "last")


def serve(arguments: argparse.Namespace) -> int:
    """The supervisor in the foreground."""
    import os

    from engines import serving
    from engines.attendance import LINGER_SECONDS

    url = store_url(arguments.store)
    jobs = arguments.jobs or int(os.environ.get("WORKBENCH_JOBS", "1"))
    if not serving.serve(url, jobs=jobs, stay=True, patience=LINGER_SECONDS + 4):
        raise RequestError(f"Another supervisor serves {url} already and has work or clients; this store needs no second one.")
    return 0


# --- Looking --------------------------------------------------------------------------------------------------------------------------------


def list_experiments(arguments: argparse.Namespace) -> int:
    with opened(arguments, looking=True) as store:
        tags = queries.tags(store)
        everything = queries.experiments(store)
        found = [row for row in everything if _is_wanted(tags.get(row.id, []), arguments)]
        by_experiment: dict[int, Counter[str]] = {row.id: Counter() for row in found}
        for run in queries.runs(store):
            if run.experiment_id in by_experiment:
                by_experiment[run.experiment_id][run.status] += 1
        state = _queue(store)
    if arguments.json:
        write_json(
            [
                {"id": row.id, "name": row.name, "created": row.created, "runs": dict(by_experiment[row.id]), "tags": tags.get(row.id, [])}
                for row in found
            ]
        )
    elif not found and everything:
        say(f"None of the {len(everything)} experiments in {store.url} is to be shown: workbench list --all shows archived ones too.")
    elif not found:
        say(f"No experiments in {store.url} yet. Start one: workbench run FILE, or workbench demo")
    else:
        tagged = ["tags"] if any(tags.get(row.id) for row in found) else []
        rows = [
            [row.id, when(row.created), _counts(by_experiment[row.id]), *[" ".join(tags.get(row.id, [])) for _ in tagged], row.name] for row in found
        ]
        say(columns(["id", "created", "runs", *tagged, "name"], rows))
        if state["runs"]:
            say()
            _print_queue(state)
    return 0


def _is_wanted(tags: list[str], arguments: argparse.Namespace) -> bool:
    return arguments.tag in tags if arguments.tag else arguments.all or ARCHIVED not in tags


def show_queue(arguments: argparse.Namespace) -> int:
    """Show the queue, pause it, let it go on, or move runs in it."""
    looks = arguments.act is None
    if bool(arguments.ids) != (arguments.act in MOVES):
        known = " | ".join(MOVES)
        raise RequestError(f"Name the runs to move, and where: workbench queue {known} ID...; pause, resume and the bare word take no runs.")
    with opened(arguments, looking=looks) as store:
        if arguments.act in MOVES:
            queued = [row.id for row in _named(store, arguments.ids) if row.status == QUEUED]
            if not queued:
                raise RequestError("Nothing to move: none of these runs is queued.")
            commands.move_runs(store, queued, arguments.act)
        elif not looks:
            commands.set_paused(store, arguments.act == "pause")
            if arguments.act == "resume" and queries.queue(store):
                ensure_supervisor(store.url)
        state = _queue(store)
    if arguments.json:
        write_json(state)
    else:
        _print_queue(state)
    return 0


def _queue(store: Store) -> dict[str, Any]:
    """What has not ended, in the order of start, with the time left: {paused, low_s, high_s, unmeasured, runs}."""
    active, queued = queries.runs(store, status=ACTIVE), queries.queue(store)
    names = {row.id: row.name for row in queries.experiments(store)}
    peers = [row for number in {run.experiment_id for run in (*active, *queued)} for row in queries.runs(store, number)]
    now = time.time()
    left = remaining.of_runs([*active, *queued], now=now, peers=peers, jobs=len(active))
    rows = []
    for run in (*active, *queued):
        own = remaining.of_runs([run], now=now, peers=peers)
        rows.append(
            {"id": run.id, "experiment": run.experiment_id, "name": names.get(run.experiment_id, ""), "waits": run.waits}
            | _brief(run) | _bounds(own)
        )  # fmt: skip
    return {"paused": queries.paused(store), **_bounds(left), "runs": rows}


def _bounds(left: remaining.Remaining) -> dict[str, Any]:
    """Bounds are absent where nothing is known."""
    known = ({"low_s": left.low} if left.known else {}) | ({"high_s": left.high} if left.known and not left.unended else {})
    return known | {"unmeasured": left.unmeasured}


def _print_queue(state: dict[str, Any]) -> None:
    paused = f", paused since {when(state['paused'])} (workbench queue resume lets it go on)" if state["paused"] else ""
    if not state["runs"]:
        say(f"The queue is empty{paused}.")
        return
    low = state.get("low_s", 0.0)
    left = remaining.Remaining(low, state.get("high_s", low), state["unmeasured"], unended="high_s" not in state)
    say(f"Queue{paused}: {remaining.words(left, span)}")
    rows = []
    for run in state["runs"]:
        status = "waits for another run" if run["waits"] else _state(run)
        bounds = [span(run[key]) for key in ("low_s", "high_s") if key in run]
        own = " to ".join(dict.fromkeys(bounds)) if len(bounds) == 2 else f"at least {bounds[0]}" if bounds else "unknown"
        rows.append([f"r{run['id']}", status, own, run["variant"], run["seed"], f"{run['experiment']} {run['name']}"])
    say(columns(["run", "status", "left", "variant", "seed", "experiment"], rows))


def show(arguments: argparse.Namespace) -> int:
    kind, number = split_id(arguments.id)
    with opened(arguments, looking=True) as store:
        described = _describe_run(store, number) if kind == "run" else _describe_experiment(store, number)
        if arguments.json:
            write_json(described)
        elif kind == "run":
            _print_run(described)
        else:
            _print_experiment(described)
    return 0


def _describe_experiment(store: Store, number: int) -> dict[str, Any]:
    row = existing_experiment(store, number)
    runs = [_brief(run) for run in queries.runs(store, number)]
    variants = [{"name": variant.name, "baseline": variant.baseline, "plan": variant.plan} for variant in queries.variants(store, number)]
    return {"id": row.id, "name": row.name, "created": row.created, "folder": row.folder, "digest": row.digest, "variants": variants, "runs": runs}


def _describe_run(store: Store, number: int) -> dict[str, Any]:
    row = existing_run(store, number)
    folder = store.run_folder(row.id)
    machine = queries.machine(store, row.machine_id) if row.machine_id is not None else None
    return _brief(row) | {
        "advice": row.advice,
        "attempt": row.attempt,
        "log": str(folder / "worker.log"),
        "machine": {"fingerprint": machine.fingerprint, **machine.facts} if machine else None,
        "results": [asdict(each) for each in queries.results(store, [number])],
        "effects": [asdict(each) for each in queries.effects(store, number)],
        "series": [asdict(each) for each in queries.series(store, number)],
        "artifacts": [asdict(each) | {"path": str(each.path)} for each in queries.artifacts(store, number)],
        "events": [asdict(each) for each in queries.events(store, number)],
    }


def _brief(row: RunRow) -> dict[str, Any]:
    return {
        "id": row.id, "variant": row.variant, "seed": row.seed, "status": row.status, "phase": row.phase, "smoke": row.smoke,
        "queued": row.queued, "started": row.started, "ended": row.ended, "reason": row.reason, "progress": row.progress or {},
    }  # fmt: skip


def _print_experiment(found: dict[str, Any]) -> None:
    say(f'Experiment {found["id"]} "{found["name"]}", {when(found["created"])}, files relative to {found["folder"]}')
    say()
    rows = [
        [f"r{run['id']}", run["variant"], run["seed"], _state(run), _took(run), run["reason"] if run["status"] != "done" else ""]
        for run in found["runs"]
    ]
    say(columns(["run", "variant", "seed", "status", "took", ""], rows))


def _print_run(found: dict[str, Any]) -> None:
    say(f"Run r{found['id']}: {found['variant']}, seed {found['seed']}, {_state(found)}, attempt {found['attempt']}")
    for heading, text in (("started", when(found["started"])), ("took", _took(found)), ("reason", found["reason"]), ("advice", found["advice"])):
        if text:
            say(f"{heading}: {text}")
    say(f"log: {found['log']}")
    for artifact in found["artifacts"]:
        say(f"{artifact['kind']}: {artifact['path']}")
    if found["results"]:
        say()
        say(columns(["result", "value", "unit"], [[_key(row), _figure(row["value"]), row["unit"]] for row in found["results"]]))
    if found["effects"]:
        say()
        for effect in found["effects"]:
            say(f"{effect['technique'] or 'run'} ({effect['hook']}): {effect['sentence']}")
    if found["events"]:
        say()
        for event in found["events"]:
            say(f"{when(event['time'])}  {event['level']:<7}  {event['text']}")


def _counts(statuses: Counter[str]) -> str:
    return ", ".join(f"{count} {status}" for status, count in sorted(statuses.items())) or "none"


def _state(run: dict[str, Any]) -> str:
    share = run["progress"].get("fraction")
    return f"running, {run['phase'] or 'training'} {share:.0%}" if run["status"] == "running" and share is not None else run["status"]


def _took(run: dict[str, Any]) -> str:
    return span(run["ended"] - run["started"]) if run["ended"] and run["started"] else ""


def _key(result: dict[str, Any]) -> str:
    return f"{result['key']}@{result['target']}" if result["target"] else str(result["key"])


def _figure(value: float | None) -> str:
    return "" if value is None else f"{value:,.6g}"


# --- Changing -------------------------------------------------------------------------------------------------------------------------------


def _named(store: Store, ids: list[str]) -> list[RunRow]:
    """The runs that ids of runs and experiments name, each once."""
    found: dict[int, RunRow] = {}
    for text in ids:
        kind, number = split_id(text)
        if kind == "run":
            found[number] = existing_run(store, number)
        else:
            existing_experiment(store, number)
            found |= {row.id: row for row in queries.runs(store, number)}
    return list(found.values())


def cancel(arguments: argparse.Namespace) -> int:
    with opened(arguments) as store:
        open_runs = [row.id for row in _named(store, arguments.ids) if not row.over]
        if open_runs:
            commands.request_cancel(store, open_runs)
        if arguments.json:
            write_json({"cancelling": open_runs})
        elif open_runs:
            note(f"Cancelling {', '.join(f'r{run}' for run in open_runs)}.")
        else:
            note("Nothing to cancel: these runs have ended.")
    return 0


def resume(arguments: argparse.Namespace) -> int:
    with opened(arguments) as store, Presence(store.url):
        wanted = (FAILED, LOST) if arguments.failed else RESUMABLE
        ended = [row.id for row in _named(store, arguments.ids) if row.status in wanted]
        if not ended:
            raise RequestError(f"Nothing to resume: none of these runs is {'failed or lost' if arguments.failed else 'failed, cancelled or lost'}.")
        commands.requeue(store, ended)
        ensure_supervisor(store.url, jobs=arguments.jobs)
        code = watch(store, ended, quiet=arguments.quiet, jobs=arguments.jobs)
        if arguments.json:
            write_json([_brief(queries.run(store, run)) for run in ended])
        return code


def collect(arguments: argparse.Namespace) -> int:
    with opened(arguments) as store:
        freed = commands.gc(store)
    if arguments.json:
        write_json(asdict(freed))
        return 0
    say(f"Freed {freed.experiments} deleted experiments with {freed.runs} runs and {freed.points:,} points, {freed.bytes / MIB:,.1f} MiB of files.")
    if freed.kept:
        note(f"{freed.kept} deleted experiments stay while their runs are under way.")
    return 0
