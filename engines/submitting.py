"""From an experiment to queued runs: checked in full before anything starts, the same way from the command line and from a notebook."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from engines.asking import Inspector
from engines.experiment import Experiment, dump
from engines.places import cache_folder
from engines.problems import ExperimentError, Problem
from engines.store import commands
from engines.store.database import Store
from engines.teachers import model_folder, run_of

REMEMBERED = 200
"""How many experiments that were found sound are remembered."""


def checked_plans(
    experiment: Experiment, catalogue: Mapping[str, Any], inspector: Inspector, runs: Path | None = None
) -> dict[str, dict[str, Any]]:
    """The plans of a sound experiment. Raises ExperimentError with everything that is wrong.

    What the file alone shows is checked here; then the inspector builds every part, which takes seconds, so an experiment that was found
    sound with these plugins, settings and files is not asked about again. runs: folder of the runs of the store, for recipes that name one.
    """
    experiment.check(catalogue)
    plans = experiment.plans(catalogue)
    key = _key(plans, str(catalogue.get("digest", "")), runs)
    sound = _remembered()
    if key in sound:
        return plans
    found = inspector.ask("validate", plans=plans, runs=str(runs or ""))["problems"]
    if found:
        raise ExperimentError([Problem(each["path"], each.get("value"), each["rule"], each.get("hint", "")) for each in found])
    _remember([*sound, key])
    return plans


def submit(store: Store, experiment: Experiment, plans: Mapping[str, Mapping[str, Any]], catalogue: Mapping[str, Any], *, smoke: bool = False) -> int:
    """Store a checked experiment with its variants and queued runs; returns its id."""
    needs = experiment.needs(catalogue)
    variants = [
        {"name": name, "plan": plan, "baseline": name == experiment.baseline, "needs": list(needs.get(name, []))} for name, plan in plans.items()
    ]
    return commands.submit(
        store,
        name=experiment.name,
        digest=experiment.digest(),
        text=dump(experiment),
        document=experiment.data,
        folder=str(experiment.folder),
        variants=variants,
        seeds=list(experiment.seeds),
        smoke=smoke,
    )


# --- What was found sound -------------------------------------------------------------------------------------------------------------------


def _key(plans: Mapping[str, Any], catalogue_digest: str, runs: Path | None) -> str:
    """Changes with anything the check depends on: the plans, the plugins, and the files and runs the plans name."""
    texts = set(_texts(dict(plans)))
    models = [str(model_folder(runs, run) / "plan.json") for text in texts if runs and (run := run_of(text)) is not None]
    files = [(path, *_stamp(path)) for path in sorted([*filter(os.path.isabs, texts), *models])]
    return hashlib.sha256(json.dumps([plans, catalogue_digest, files], sort_keys=True).encode()).hexdigest()


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        for item in value.values():
            yield from _texts(item)
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item)
    elif isinstance(value, str):
        yield value


def _stamp(path: str) -> tuple[float, int]:
    try:
        status = os.stat(path)
        if not os.path.isdir(path):
            return status.st_mtime, status.st_size
        # The user's own code in a folder that a plan names.
        with os.scandir(path) as entries:
            edited = [entry.stat().st_mtime for entry in entries if entry.name.endswith(".py") and entry.is_file()]
        return max(edited, default=0.0), len(edited)
    except OSError:
        return 0.0, -1


def _memory() -> Path:
    return cache_folder() / "sound.json"


def _remembered() -> list[str]:
    try:
        found = json.loads(_memory().read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return []
    return [key for key in found if isinstance(key, str)] if isinstance(found, list) else []


def _remember(keys: list[str]) -> None:
    """Written atomically. A cache that cannot be written costs the next check its seconds, nothing else."""
    path = _memory()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=path.parent, suffix=".part", delete=False, encoding="utf-8") as part:
            json.dump(keys[-REMEMBERED:], part)
        os.replace(part.name, path)
    except OSError:
        return
