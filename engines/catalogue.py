"""The catalogue: every plugin described as JSON, cached by the digest of the plugin sources.

One that cannot be loaded is an entry with its error, and the rest works. Imports no torch: what needs the plugins' code (`load`, `entry`,
`build`) is called in processes that may, others `read` the cached description.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import inspect
import json
import os
import platform
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path
from types import ModuleType
from typing import Any

from engines.api import Block, Plugin, Study, Task, Technique
from engines.discovery import BrokenPlugin, Source, UnknownPlugin, class_of, last_lines, load, source_of, sources
from engines.places import cache_folder

__all__ = ["BrokenPlugin", "CatalogueError", "Source", "UnknownPlugin", "build", "digest", "entry", "load", "read", "sources"]

KEPT = 8
"""Cached catalogues that stay on disk (several environments may share a cache)."""


class CatalogueError(RuntimeError):
    """The catalogue could not be built at all."""


# --- Describing -----------------------------------------------------------------------------------------------------------------------------


def entry(id: str) -> dict[str, Any]:
    """One plugin as JSON; one that cannot be loaded as an entry with `error`. Raises UnknownPlugin."""
    return _entry(source_of(id))


def build() -> dict[str, Any]:
    """{"digest", "plugins": {id: entry}}. Imports every plugin, and torch with them."""
    return {"digest": digest(), "plugins": {id: _entry(source) for id, source in sources().items()}}


def _entry(source: Source) -> dict[str, Any]:
    try:
        plugin, module = class_of(source)
        described = _describe(source, plugin, module)
        json.dumps(described, allow_nan=False)
    except BrokenPlugin as error:
        return _blank(source, str(error))
    except Exception as error:  # noqa: BLE001  a plugin's own class attributes, schema and `unavailable` may fail in any way
        return _blank(source, last_lines(error))
    return described


def _blank(source: Source, error: str) -> dict[str, Any]:
    family, _, name = source.id.partition("/")
    return {
        "id": source.id,
        "kind": "",
        "slot": "",
        "family": family,
        "title": name,
        "card": "",
        "paper": "",
        "numerics": "",
        "parameters": {"type": "object", "properties": {}},
        "requires": [],
        "conflicts": {},
        "after": [],
        "replaces": [],
        "group": "",
        "was": [],
        "hooks": [],
        "residual": False,
        "causal": False,
        "no_layers": "",
        "no_steps": "",
        "certificates": [],
        "expects": "",
        "available": {"ok": not error, "reason": error},
        "source": str(source.path or ""),
        "distribution": source.distribution,
        "error": error,
    }


def _describe(source: Source, plugin: type[Plugin], module: ModuleType) -> dict[str, Any]:
    from pydantic.json_schema import PydanticJsonSchemaWarning  # not needed to read a cached catalogue

    card = inspect.cleandoc(plugin.__doc__ or "")
    reason = plugin.unavailable()
    with warnings.catch_warnings():
        # A default that JSON cannot carry would be dropped from the schema with a warning; the author has to see it.
        warnings.simplefilter("error", PydanticJsonSchemaWarning)
        schema = plugin.model_json_schema()
    if issubclass(plugin, Task) and (own := schema["properties"].pop("evaluate", None)):
        schema["properties"]["evaluate"] = own  # what every task has stands behind what makes this one
    if not schema.get("required"):
        # pydantic does not check defaults by itself, but plans write them down and read them again.
        plugin(**{name: described["default"] for name, described in schema.get("properties", {}).items() if "default" in described})
    described = _blank(source, "") | {
        "kind": plugin.kind,
        "title": card.splitlines()[0].strip(),
        "card": card,
        "paper": plugin.paper,
        "parameters": schema,
        "was": list(plugin.was),
        "certificates": [value.certificate[0] for value in vars(module).values() if inspect.isfunction(value) and hasattr(value, "certificate")],
        "available": {"ok": not reason, "reason": reason},
    }
    if issubclass(plugin, Block):
        described |= {"slot": plugin.slot, "numerics": plugin.numerics, "residual": plugin.residual, "causal": plugin.causal}
    if issubclass(plugin, Technique):
        described |= {
            "numerics": plugin.numerics,
            "requires": list(plugin.requires),
            "conflicts": dict(plugin.conflicts),
            "after": list(plugin.after),
            "replaces": list(plugin.replaces),
            "group": plugin.group,
            "hooks": list(plugin.hooks()),
        }
    if issubclass(plugin, Task):
        described |= {"no_layers": plugin.no_layers, "no_steps": plugin.no_steps}
    if issubclass(plugin, Study):
        described |= {"expects": plugin.expects}
    return described


# --- Caching --------------------------------------------------------------------------------------------------------------------------------


def digest() -> str:
    """SHA-256 of all that the catalogue depends on: plugin files, what they stand on, which packages of which version are installed, and the GPUs
    that this machine shows."""
    known = sources()
    here = Path(__file__).parent
    files = {str(source.path): source.path for source in known.values() if source.path}
    declared = (here / f"{name}.py" for name in ("api", "catalogue", "certificate", "corpus", "discovery", "plugin", "study"))
    files |= {str(path): path for path in (*declared, *(here / "toolbox").rglob("*.py"))}
    seal = hashlib.sha256()
    for id, source in known.items():
        seal.update(f"{id}\0{source.module}\0{source.distribution}\0{source.fault}\0".encode())
    for name, path in sorted(files.items()):
        seal.update(f"{name}\0".encode() + hashlib.sha256(path.read_bytes()).digest())
    gpus = sorted(str(path) for path in Path("/dev").glob("nvidia[0-9]*"))
    facts = [platform.python_version(), platform.node(), *gpus, os.environ.get("CUDA_VISIBLE_DEVICES", "")]
    for name in ("torch", "pydantic"):
        try:
            facts.append(importlib.metadata.version(name))
        except importlib.metadata.PackageNotFoundError:
            facts.append("")
    # By the names of folders alone, which takes a millisecond: what was not available may be so by now.
    facts += sorted({path.name for entry in sys.path if Path(entry).is_dir() for path in Path(entry).glob("*.dist-info")})
    seal.update("\0".join(facts).encode())
    return seal.hexdigest()


def read(*, build: bool = True) -> dict[str, Any]:
    """The catalogue without importing torch here: from the cache, or built by a process of its own.

    build=False: only from the cache; where that is stale, the newest there is (its "digest" differs from `digest()`), else an empty one.
    Raises CatalogueError where the building process dies.
    """
    key = digest()
    folder = _cache_folder()
    cached = _cached(folder / f"{key}.json")
    if cached is not None and cached.get("digest") == key:
        return cached
    if not build:
        newest = [found for path in _stored(folder) if (found := _cached(path)) is not None]
        return newest[0] if newest else {"digest": "", "plugins": {}}
    built = _build_apart()
    _keep(folder, built)
    return built


def _cache_folder() -> Path:
    return cache_folder() / "catalogue"


def _stored(folder: Path) -> list[Path]:
    """Cached catalogues, newest first."""
    return sorted(folder.glob("*.json"), key=lambda path: path.stat().st_mtime, reverse=True)


def _cached(path: Path) -> dict[str, Any] | None:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) and isinstance(found.get("plugins"), dict) else None


def _keep(folder: Path, built: dict[str, Any]) -> None:
    """Write atomically and forget old ones. A cache that cannot be written costs time, nothing else."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=folder, suffix=".part", delete=False, encoding="utf-8") as part:
            json.dump(built, part)
        os.replace(part.name, folder / f"{built['digest']}.json")
        for old in _stored(folder)[KEPT:]:
            old.unlink(missing_ok=True)
    except OSError:
        return


def _build_apart() -> dict[str, Any]:
    command = [sys.executable, "-m", "engines.runtime.inspector", "--catalogue"]
    done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", errors="replace", stdin=subprocess.DEVNULL)
    lines = done.stdout.strip().splitlines()
    try:
        # A plugin may print while it is imported; the catalogue is the last line.
        found = json.loads(lines[-1])
        return {"digest": found["digest"], "plugins": found["plugins"]}
    except (IndexError, ValueError, KeyError, TypeError) as error:
        last = "\n".join(done.stderr.strip().splitlines()[-5:])
        raise CatalogueError(f"The catalogue could not be built (exit code {done.returncode}). {last}") from error
