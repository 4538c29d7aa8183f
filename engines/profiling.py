"""Profiles of runs from outside: the process that makes one, and the file that it leaves. No torch."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from engines.hearing import heard
from engines.store import queries
from engines.store.database import Store
from engines.store.rows import DONE, RunRow

MODULE = "engines.runtime.profile"
PROFILE, TRACE = "profile.json", "trace.json.gz"
STEPS = 10


class ProfileError(RuntimeError):
    """A run that cannot be profiled, or a profile that failed; the message is a sentence for the user."""


def refusal(run: RunRow) -> str:
    """Why a run cannot be profiled, as a sentence; empty where it can."""
    if not run.over:
        return f"Run r{run.id} is {run.status}: its training is profiled apart from it, when it has ended."
    return ""


def profile(store: Store, run_id: int, steps: int = STEPS, tell: Callable[[str], None] = lambda doing: None) -> Path:
    """Profile a run in a process of its own; returns its profile.json. tell: gets what the process does, as it begins.

    Ctrl+C ends the process. Raises ProfileError.
    """
    run = queries.run(store, run_id)
    if reason := refusal(run):
        raise ProfileError(reason)
    log = store.run_folder(run_id) / "profile.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    words = ["-m", MODULE, "--store", store.url, "--run", str(run_id), "--steps", str(steps)]
    with log.open("wb") as errors:
        found, code = heard(words, errors, lambda said: tell(str(said["doing"])) if "doing" in said else None)
    if "error" in found:
        raise ProfileError(found["error"])
    if "profile" not in found:
        raise ProfileError(f"The profile of run r{run_id} was not made: its process ended with code {code}. Its log: {log}")
    return Path(found["profile"])


def to_profile(store: Store, experiment_id: int) -> list[RunRow]:
    """One run of each variant of an experiment, in the order of the variants: the finished one of the lowest seed."""
    found: dict[int, RunRow] = {}
    for run in queries.runs(store, experiment_id, status=DONE):
        if run.variant_id not in found or run.seed < found[run.variant_id].seed:
            found[run.variant_id] = run
    return [found[variant.id] for variant in queries.variants(store, experiment_id) if variant.id in found]


def read(path: Path) -> dict[str, Any]:
    """A profile.json. Raises ProfileError where it is none."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ProfileError(f"There is no profile in {path}: {error}.") from error
    return dict(found)
