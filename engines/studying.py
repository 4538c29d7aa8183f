"""Start the process that measures a study, follow it, stop it. No torch.

What it says line by line is described in `engines.runtime.study`.
"""

from __future__ import annotations

import json
import platform
import queue
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from engines import probes
from engines.launching import process_environment
from engines.merging import Part
from engines.parameters import check_parameters
from engines.problems import ExperimentError, did_you_mean
from engines.stopwatches import STEADY_ALLOCATOR
from engines.store import commands, queries
from engines.store.database import Store
from engines.store.rows import CANCELLED, FAILED, LOST, RUNNING

MODULE = "engines.runtime.study"
LOOK_SECONDS = 0.2
PATIENCE_SECONDS = 5.0
"""How long a study that was told to stop may take for the call that it is in."""


class StudyFailed(RuntimeError):
    """A study that could not be measured; the message is its reason."""


class StudyRefused(ValueError):
    """A study that cannot be measured as asked; the message is a sentence for each thing that is wrong."""


def check(catalogue: Mapping[str, Any], id: str, parameters: Mapping[str, Any]) -> None:
    """Raise StudyRefused for an id that names no study, one that cannot run here, and parameters that break their schema: all at once."""
    plugins = catalogue["plugins"]
    studies = [name for name, entry in plugins.items() if entry["kind"] == "study"]
    entry = plugins.get(id)
    if entry is None or (entry["kind"] != "study" and not entry["error"]):
        what = f"is a {entry['kind']}, not a study" if entry else "names no study of the catalogue"
        hint = did_you_mean(id, studies) or f"there are {', '.join(studies)}"
        raise StudyRefused(f'"{id}" {what}; {hint}')
    if not entry["available"]["ok"]:
        raise StudyRefused(f"{id} cannot run here: {entry['available']['reason']}")
    problems = check_parameters(Part({"id": id, **parameters}, {key: key for key in parameters}, ""), entry)
    if problems:
        raise StudyRefused(str(ExperimentError(problems)))


def command(url: str, id: str, parameters: Mapping[str, Any]) -> list[str]:
    """The command line of the process."""
    return [sys.executable, "-m", MODULE, "--store", url, "--study", id, "--parameters", json.dumps(dict(parameters))]


def environment() -> dict[str, str]:
    """The environment of the process: as it is, with an allocator that keeps its memory."""
    return process_environment() | STEADY_ALLOCATOR


def measure(
    store: Store, id: str, parameters: Mapping[str, Any], *, hear: Callable[[dict[str, Any]], None], wanted: Callable[[], bool] = lambda: True
) -> dict[str, Any]:
    """Measure a study in its process; returns its last line: {"event": "ended", "id", "status", "reason"}.

    hear: gets every line. wanted: asked often; False stops the study. Raises StudyRefused before anything was measured.
    """
    settle(store)
    with tempfile.TemporaryFile() as errors:
        # A session of its own: Ctrl+C on a terminal reaches us, and we tell it.
        process = subprocess.Popen(
            command(store.url, id, parameters), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True, encoding="utf-8",
            env=environment(), start_new_session=True,
        )  # fmt: skip
        lines: queue.Queue[dict[str, Any] | None] = queue.Queue()
        reader = threading.Thread(target=_read, args=(process, lines), name="study", daemon=True)
        reader.start()
        try:
            last = _follow(process, lines, hear, wanted)
        finally:
            with suppress(OSError):
                process.stdin.close()  # type: ignore[union-attr]
            if process.poll() is None:
                with suppress(subprocess.TimeoutExpired):
                    process.wait(PATIENCE_SECONDS)
                process.kill()
            process.wait()
            reader.join()
            process.stdout.close()  # type: ignore[union-attr]
        if last.get("event") == "refused":
            raise StudyRefused(last["sentence"])
        if last.get("event") == "ended":
            return last
        errors.seek(0)
        return _died(store, last.get("id"), process.returncode, errors.read().decode("utf-8", errors="replace"), wanted())


def _read(process: subprocess.Popen[str], lines: queue.Queue[dict[str, Any] | None]) -> None:
    for line in process.stdout or ():
        with suppress(ValueError):
            said = json.loads(line)
            if isinstance(said, dict):  # A plugin may print what is JSON by chance.
                lines.put(said)
    lines.put(None)


def _follow(
    process: subprocess.Popen[str], lines: queue.Queue[dict[str, Any] | None], hear: Callable[[dict[str, Any]], None], wanted: Callable[[], bool]
) -> dict[str, Any]:
    """The line it ended with, or {"id": its row or None} where it died without one."""
    number, told = None, 0.0
    while True:
        if not told and not wanted():
            told = time.monotonic()
            with suppress(OSError):
                process.stdin.write("Interrupted.")  # type: ignore[union-attr]
                process.stdin.close()  # type: ignore[union-attr]
        if told and time.monotonic() - told > PATIENCE_SECONDS:
            return {"id": number}
        try:
            line = lines.get(timeout=LOOK_SECONDS)
        except queue.Empty:
            continue
        if line is None:
            return {"id": number}
        if line.get("event") == "begun":
            number = line["id"]
        hear(line)
        if line.get("event") in ("ended", "refused"):
            return line


def _died(store: Store, number: int | None, code: int | None, said: str, wanted: bool) -> dict[str, Any]:
    """A process that left no last line: the store is told in its place."""
    words = said.strip().splitlines()
    how = f"signal {-code}" if code is not None and code < 0 else f"exit code {code}"
    last = f" Its last words: {words[-1]}" if words else ""
    status, reason = (FAILED, f"Its process died ({how}).{last}") if wanted else (CANCELLED, "Interrupted.")
    if number is not None:
        commands.finish_study(store, number, status, reason=reason)
    return {"event": "ended", "id": number, "status": status, "reason": reason}


def settle(store: Store) -> None:
    """Studies of this machine that are running by their row, but whose process has gone, become lost."""
    for row in queries.studies(store):
        here = row.status == RUNNING and row.host == platform.node() and row.pid is not None and row.pid_started is not None
        if here and not probes.is_alive(row.pid or 0, row.pid_started or 0.0):
            commands.finish_study(store, row.id, LOST, reason="Its process was killed, or the machine went down; nothing of it was kept.")
