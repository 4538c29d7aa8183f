"""The directions between packages, by import-linter and, for what a linter cannot see, by fresh processes."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PYTHON = [path for folder in ("workbench", "engines", "plugins", "tests") for path in (ROOT / folder).rglob("*.py")]
LIMIT = 500


def _modules_after(statement: str) -> set[str]:
    """The top-level modules that are loaded after running a statement in a fresh interpreter."""
    code = f"import sys\n{statement}\nprint('\\n'.join(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True, timeout=120)
    return set(done.stdout.split())


def test_contracts_between_packages_hold() -> None:
    done = subprocess.run([sys.executable, "-m", "importlinter.cli", "lint", "--no-cache"], capture_output=True, text=True, cwd=ROOT, timeout=120)
    if "No module named" in done.stderr:
        done = subprocess.run([Path(sys.executable).parent / "lint-imports", "--no-cache"], capture_output=True, text=True, cwd=ROOT, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("statement", "absent"),
    [
        ("import engines.api", {"torch", "PySide6", "sqlalchemy", "numpy"}),
        ("import engines.experiment", {"torch", "PySide6", "sqlalchemy"}),
        ("import engines.serving", {"torch", "PySide6"}),
        ("import engines.cli", {"torch", "PySide6", "sqlalchemy"}),
        ("import engines.notebook", {"torch", "PySide6"}),
        ("import engines.comparison", {"torch", "PySide6"}),
        ("import workbench.__main__", {"torch", "PySide6"}),
        ("import workbench.window", {"torch"}),
    ],
)
def test_importing_stays_light(statement: str, absent: set[str]) -> None:
    assert not absent & _modules_after(statement)


def test_all_window_modules_import_without_torch() -> None:
    modules = [".".join(path.relative_to(ROOT).with_suffix("").parts) for path in (ROOT / "workbench").rglob("*.py")]
    names = [name.removesuffix(".__init__") for name in modules]
    assert "torch" not in _modules_after("\n".join(f"import {name}" for name in names))


@pytest.mark.slow
def test_building_the_catalogue_leaves_cuda_alone() -> None:
    code = "from engines import catalogue\ncatalogue.build()\nimport torch\nassert not torch.cuda.is_initialized()"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, timeout=120)


@pytest.mark.slow
@pytest.mark.parametrize("package", ["torch", "PySide6", "pyqtgraph", "sqlalchemy", "alembic"])
def test_each_heavy_package_has_one_home(package: str) -> None:
    homes = {
        "torch": ("engines/runtime", "engines/toolbox", "plugins"), "PySide6": ("workbench",), "pyqtgraph": ("workbench",),
        "sqlalchemy": ("engines/store",), "alembic": ("engines/store",),
    }[package]  # fmt: skip
    strangers = [
        str(path.relative_to(ROOT))
        for path in PYTHON
        if not path.is_relative_to(ROOT / "tests")
        and not any(path.is_relative_to(ROOT / home) for home in homes)
        and package in {name.split(".")[0] for name in _imports(path)}
    ]
    assert strangers == []


def test_plugin_files_see_only_the_author_surface() -> None:
    wrong = [
        (str(path.relative_to(ROOT)), name)
        for path in (ROOT / "plugins").rglob("*.py")
        for name in _imports(path)
        if name.split(".")[0] in {"workbench", "plugins", "tests"}
        or (name.startswith("engines") and not re.match(r"engines(\.api|\.toolbox)\b", name) and name != "engines")
    ]
    assert wrong == []


def test_views_do_not_import_each_other() -> None:
    wrong = [
        (path.name, name) for path in (ROOT / "workbench" / "views").glob("*.py") for name in _imports(path) if name.startswith("workbench.views")
    ]
    assert wrong == []


def test_no_import_circles() -> None:
    import grimp

    graph = grimp.build_graph("workbench", "engines", "plugins", exclude_type_checking_imports=True, cache_dir=None)
    circles = []
    for module in sorted(graph.modules):
        for imported in graph.find_modules_directly_imported_by(module):
            if graph.find_shortest_chain(imported, module):
                circles.append(f"{module} <-> {imported}")
    assert circles == []


def test_files_stay_short_and_package_files_empty() -> None:
    long = [f"{path.relative_to(ROOT)}: {count}" for path in PYTHON if (count := len(path.read_text(encoding="utf-8").splitlines())) > LIMIT]
    assert long == []
    for path in PYTHON:
        if path.name == "__init__.py":
            body = ast.parse(path.read_text(encoding="utf-8")).body
            assert all(isinstance(node, ast.Expr) for node in body), f"{path} holds more than a docstring"


def test_the_readme_tour_names_what_is_there() -> None:
    """Every path in the tour exists, and every package folder and engine module is in it."""
    tour = (ROOT / "README.md").read_text(encoding="utf-8").split("## A tour of the tree")[1].split("\n## ")[0]
    named = set(re.findall(r"`([\w./-]+)`", tour))
    missing = [name for name in named if not (ROOT / name).exists()]
    assert missing == []
    for folder in ("engines", "engines/runtime", "engines/store", "engines/report", "engines/toolbox", "workbench", "workbench/views"):
        for path in (ROOT / folder).glob("*.py"):
            if path.name != "__init__.py":
                name = str(path.relative_to(ROOT))
                assert name in named or f"{folder}/" in named, f"{name} is not in the README's tour"


def _imports(path: Path) -> set[str]:
    """Dotted names that a file imports, TYPE_CHECKING blocks left out."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    skipped = {
        id(child) for node in ast.walk(tree) if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test) for child in ast.walk(node)
    }
    names: set[str] = set()
    for node in ast.walk(tree):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names if node.module == "engines"}
    return names
