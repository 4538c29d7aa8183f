"""`workbench new technique FAMILY/NAME`: the file of a technique that runs at once, its test, and a package around them where there is none."""

from __future__ import annotations

import keyword
import re
import tomllib
from importlib import resources
from pathlib import Path
from string import Template
from typing import Any

from engines.discovery import GROUP, sources


class ScaffoldError(ValueError):
    """What was asked for cannot be written; the message is a sentence for the user."""


def new_technique(id: str, folder: Path | str) -> list[Path]:
    """Write a technique and its test into the package that lies in `folder`, and the package too where there is none.

    Returns the written files. Existing files are never touched. Raises ScaffoldError with nothing written.
    """
    root = Path(folder).resolve()
    family, name = _words(id)
    if not root.is_dir():
        raise ScaffoldError(f"The folder {root} does not exist. Create it first, or name another with --into.")
    taken = sources().get(id)
    if taken is not None:
        raise ScaffoldError(f"The id {id} is taken by {taken.distribution} ({taken.path}). Choose another name.")
    package, place, _ = _package(root)
    words = {
        "id": id,
        "title": name.replace("_", " ").capitalize(),
        "class_name": "".join(part.capitalize() for part in name.split("_")),
        "module": f"{package}.{family}.{name}",
        "package": package,
        "distribution": package.replace("_", "-"),
    }
    files = {
        place / family / f"{name}.py": _filled("technique.py", words),
        root / "tests" / f"test_{family}_{name}.py": _filled("test_technique.py", words),
    }
    if not (root / "pyproject.toml").exists():
        files[root / "pyproject.toml"] = _filled("pyproject.toml", words)
    if there := [path for path in files if path.exists()]:
        raise ScaffoldError(f"{there[0]} exists already; nothing was written.")
    for part in dict.fromkeys([place, place / family]):
        if not (part / "__init__.py").exists():
            files[part / "__init__.py"] = f'"""Plugins for the Efficiency Workbench{"" if part == place else f": {family}"}."""\n'
    try:
        for path, text in files.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ScaffoldError(f"{error.filename or root} cannot be written: {error.strerror or error}.") from error
    return sorted(files)


def advice(folder: Path | str) -> str:
    """What a person does next to see the technique in the catalogue: the entry point, where it is missing, and the installation."""
    root = Path(folder).resolve()
    package, _, named = _package(root)
    install = f"Install it with `pip install --no-deps --editable {root}`; then it is in `workbench catalogue` and in the window."
    if named or not (root / "pyproject.toml").exists():
        return install
    key = package.partition(".")[0]
    return f'Add to {root / "pyproject.toml"}:\n\n[project.entry-points."{GROUP}"]\n{key} = "{package}"\n\n{install}'


def _words(id: str) -> tuple[str, str]:
    """Family and name of an id, both usable as names of modules."""
    parts = id.split("/")
    if len(parts) != 2:
        raise ScaffoldError(f'"{id}" is no id: write FAMILY/NAME, as in optimization/gradient_noise.')
    for part in parts:
        if not re.fullmatch(r"[a-z][a-z0-9_]*", part) or keyword.iskeyword(part):
            raise ScaffoldError(f'"{part}" in "{id}" cannot name a Python module: use lower-case letters, digits and underscores, a letter first.')
    return parts[0], parts[1]


def _package(root: Path) -> tuple[str, Path, bool]:
    """(dotted name, folder, whether an entry point names it) of the package that plugins go into."""
    path = root / "pyproject.toml"
    if not path.exists():
        package = f"{_plain(root.name)}_plugins"
        return package, root / package, True
    try:
        project: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8")).get("project", {})
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise ScaffoldError(f"{path} cannot be read: {error}") from error
    points = project.get("entry-points", {}).get(GROUP, {})
    for package in points.values():
        parts = str(package).split(".")
        for place in (root.joinpath(*parts), root.joinpath("src", *parts)):
            if place.is_dir() or place.parent == root:
                return str(package), place, True
    if points:
        names = ", ".join(map(str, points.values()))
        raise ScaffoldError(f"{path} names {names} under {GROUP}, but no such folder lies in {root} or {root / 'src'}.")
    name = _plain(str(project.get("name", root.name)))
    for own in (root / name, root / "src" / name):
        if own.is_dir():
            return f"{name}.plugins", own / "plugins", False
    return f"{name}_plugins", root / f"{name}_plugins", False


def _plain(name: str) -> str:
    """A name of a distribution or folder as one of a module."""
    plain = re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")
    return plain if plain[:1].isalpha() else f"my_{plain}".rstrip("_")


def _filled(template: str, words: dict[str, str]) -> str:
    text = (resources.files("resources") / "scaffold" / f"{template}.txt").read_text(encoding="utf-8")
    return Template(text).substitute(words)
