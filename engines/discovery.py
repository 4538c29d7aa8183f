"""Plugins: found without import, loaded one by one.

Each entry point of the group `workbench.plugins` names a package; every file `<package>/<family>/<name>.py` in it is one plugin with the id
`family/name`. Built-ins come the same way. Importing a plugin usually imports torch, so `load` is called only in processes that may.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import inspect
import json
import traceback
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import get_args

from engines.api import HOOKS, Axis, Block, Plugin, Slot, Study, Technique
from engines.problems import did_you_mean

GROUP = "workbench.plugins"
KINDS = ("block", "technique", "task", "corpus", "study")


@dataclass(frozen=True)
class Source:
    """A plugin's file, known without importing it. `fault`: why it cannot be loaded, where that is known already."""

    id: str
    module: str
    path: Path | None
    distribution: str
    fault: str = ""


class UnknownPlugin(LookupError):
    """No plugin has this id; the message says which one was perhaps meant."""


class BrokenPlugin(RuntimeError):
    """A plugin that cannot be loaded; the message is the reason."""


# --- Finding --------------------------------------------------------------------------------------------------------------------------------


def sources() -> dict[str, Source]:
    """Every plugin file of every installed distribution by id. Runs no plugin code."""
    found: dict[str, Source] = {}
    for source in _scan():
        other = found.get(source.id)
        if other is None:
            found[source.id] = source
        elif other.path != source.path:
            fault = f"Two distributions claim the id {source.id}: {other.distribution} and {source.distribution}. Uninstall one or rename its file."
            found[source.id] = Source(source.id, source.module, source.path, f"{other.distribution}, {source.distribution}", fault)
    return dict(sorted(found.items()))


def _scan() -> Iterator[Source]:
    for point in sorted(importlib.metadata.entry_points(group=GROUP), key=lambda point: (point.value, point.name)):
        distribution = point.dist.name if point.dist else point.name
        folders = _folders(point.value)
        if not folders:
            fault = f"The package {point.value!r} that {distribution} names under {GROUP} was not found. Reinstall {distribution}."
            yield Source(f"{distribution}/{point.name}", point.value, None, distribution, fault)
        for folder in folders:
            for path in sorted(folder.glob("*/*.py")):
                family, name = path.parent.name, path.stem
                if not name.startswith("_") and family.isidentifier() and not family.startswith("_"):
                    fault = "" if name.isidentifier() else f"{path.name} is no module name. Use letters, digits and underscores."
                    yield Source(f"{family}/{name}", f"{point.value}.{family}.{name}", path, distribution, fault)


def _folders(package: str) -> list[Path]:
    """Where a package lies, without importing it or its parents."""
    top, *rest = package.split(".")
    try:
        spec = importlib.util.find_spec(top)
    except (ImportError, ValueError):
        return []
    places = [Path(place).joinpath(*rest) for place in (spec.submodule_search_locations or [] if spec else [])]
    return [place for place in places if place.is_dir()]


# --- Loading --------------------------------------------------------------------------------------------------------------------------------


def load(id: str) -> type[Plugin]:
    """The class of one plugin. Raises UnknownPlugin, or BrokenPlugin with the reason."""
    return class_of(source_of(id))[0]


def source_of(id: str) -> Source:
    """Where the plugin of an id lies. Raises UnknownPlugin."""
    known = sources()
    if id not in known:
        hint = did_you_mean(id, known)
        raise UnknownPlugin(f"There is no plugin {json.dumps(id)}{f'; {hint}' if hint else '.'}")
    return known[id]


def class_of(source: Source) -> tuple[type[Plugin], ModuleType]:
    """Import one plugin file: its class and its module. Raises BrokenPlugin."""
    if source.fault:
        raise BrokenPlugin(source.fault)
    try:
        module = importlib.import_module(source.module)
    except (Exception, SystemExit) as error:  # a plugin file may raise anything; its error is what the user has to see
        raise BrokenPlugin(last_lines(error)) from error
    classes = [
        value
        for name, value in vars(module).items()
        if inspect.isclass(value) and issubclass(value, Plugin) and value.__module__ == module.__name__ and not name.startswith("_")
    ]
    plugins = [value for value in classes if value.kind]
    if len(plugins) != 1:
        names = ", ".join(value.__name__ for value in plugins) or "none"
        raise BrokenPlugin(f"{source.path} must define exactly one plugin class, but defines {len(plugins)} ({names}): one idea, one file.")
    plugin = plugins[0]
    if fault := _fault(plugin):
        raise BrokenPlugin(f"{plugin.__name__} in {source.path} {fault}")
    return plugin, module


def _fault(plugin: type[Plugin]) -> str:
    """What is wrong with a class that could be imported; the empty string where nothing is."""
    if plugin.kind not in KINDS:
        return f"has kind = {plugin.kind!r}; it must be one of {', '.join(KINDS)}."
    if issubclass(plugin, Block) and getattr(plugin, "slot", None) not in get_args(Slot):
        return f"has slot = {getattr(plugin, 'slot', None)!r}; a block must name one of {', '.join(get_args(Slot))}."
    if issubclass(plugin, Technique):
        if not plugin.hooks():
            return f"defines no hook; a technique must define at least one of {', '.join(HOOKS)}."
        if not isinstance(plugin.conflicts, Mapping):
            return f"has conflicts = {plugin.conflicts!r}; it must be a mapping from id to a sentence."
    if issubclass(plugin, Study) and not all(isinstance(getattr(plugin, name, None), Axis) for name in ("x", "y")):
        return "names no axes; a study must say what x and y are, each an Axis."
    if issubclass(plugin, Study) and not str(getattr(plugin, "expects", "")).strip():
        return "expects nothing; a study must say in a sentence what its figures meet or refute."
    for name in ("was", "requires", "after", "replaces"):
        given = getattr(plugin, name, ())
        if isinstance(given, str) or not all(isinstance(item, str) for item in given):
            return f"has {name} = {given!r}; it must be a tuple of texts."
    if not (plugin.__dict__.get("__doc__") or "").strip():
        return "has no docstring; its first line is the title, the whole is the card."
    return ""


def last_lines(error: BaseException) -> str:
    """The end of a traceback from the plugin's own file on, without the import machinery."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if "importlib" not in frame.filename and frame.filename != __file__]
    what = [line for line in "".join(traceback.format_exception_only(error)).splitlines() if "For further information visit" not in line]
    return f"{''.join(traceback.format_list(frames[-3:]))}{chr(10).join(what)}".strip()
