"""`workbench new technique`: what it writes runs, passes its test, and is found once it is installed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from engines import scaffold

ROOT = Path(__file__).parents[2]


def _pytest(folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120, check=False)


@pytest.mark.slow
def test_a_new_package_runs_and_passes_its_own_test(tmp_path: Path) -> None:
    lab = tmp_path / "My Lab-2"
    lab.mkdir()
    written = scaffold.new_technique("descent/shaky_steps", lab)
    assert [str(path.relative_to(lab)) for path in written] == [
        "my_lab_2_plugins/__init__.py",
        "my_lab_2_plugins/descent/__init__.py",
        "my_lab_2_plugins/descent/shaky_steps.py",
        "pyproject.toml",
        "tests/test_descent_shaky_steps.py",
    ]
    assert "class ShakySteps(Technique):" in (lab / "my_lab_2_plugins/descent/shaky_steps.py").read_text(encoding="utf-8")
    assert "pip install" in scaffold.advice(lab)
    done = _pytest(lab)
    assert done.returncode == 0, done.stdout + done.stderr
    ruff = [sys.executable, "-m", "ruff", "check", "--isolated", "--line-length", "150", str(lab)]
    linted = subprocess.run(ruff, capture_output=True, text=True, check=False)
    assert linted.returncode == 0 or "No module named ruff" in linted.stderr, linted.stdout


def test_a_second_technique_goes_into_the_same_package(tmp_path: Path) -> None:
    scaffold.new_technique("descent/shaky_steps", tmp_path)
    before = (tmp_path / "pyproject.toml").read_text(encoding="utf-8")
    written = scaffold.new_technique("descent/calm_steps", tmp_path)
    assert sorted(path.name for path in written) == ["calm_steps.py", "test_descent_calm_steps.py"]
    assert (tmp_path / "pyproject.toml").read_text(encoding="utf-8") == before


def test_a_package_that_is_there_gets_the_file_and_a_hint(tmp_path: Path) -> None:
    (tmp_path / "src" / "lab").mkdir(parents=True)
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "Lab"\nversion = "1"\n', encoding="utf-8")
    written = scaffold.new_technique("descent/shaky_steps", tmp_path)
    assert tmp_path / "src/lab/plugins/descent/shaky_steps.py" in written
    hint = scaffold.advice(tmp_path)
    assert '[project.entry-points."workbench.plugins"]\nlab = "lab.plugins"' in hint
    (tmp_path / "pyproject.toml").write_text(
        '[project]\nname = "Lab"\nversion = "1"\n[project.entry-points."workbench.plugins"]\nlab = "lab.plugins"\n', encoding="utf-8"
    )
    assert tmp_path / "src/lab/plugins/descent/calm.py" in scaffold.new_technique("descent/calm", tmp_path)
    assert "entry-points" not in scaffold.advice(tmp_path)


@pytest.mark.parametrize(
    ("id", "words"),
    [
        ("steps", "write FAMILY/NAME"),
        ("a/b/c", "write FAMILY/NAME"),
        ("Steps/x", "cannot name a Python module"),
        ("steps/two-words", "cannot name a Python module"),
        ("steps/class", "cannot name a Python module"),
        ("steps/_x", "cannot name a Python module"),
        ("../x", "cannot name a Python module"),
        ("optimization/adam", "is taken by efficiency-workbench"),
    ],
)
def test_wrong_ids_are_sentences_and_write_nothing(tmp_path: Path, id: str, words: str) -> None:
    with pytest.raises(scaffold.ScaffoldError, match=words):
        scaffold.new_technique(id, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_files_are_never_overwritten(tmp_path: Path) -> None:
    scaffold.new_technique("descent/shaky_steps", tmp_path)
    with pytest.raises(scaffold.ScaffoldError, match="exists already; nothing was written"):
        scaffold.new_technique("descent/shaky_steps", tmp_path)
    with pytest.raises(scaffold.ScaffoldError, match="does not exist"):
        scaffold.new_technique("descent/x", tmp_path / "nowhere")
    (tmp_path / "pyproject.toml").write_text("[project", encoding="utf-8")
    with pytest.raises(scaffold.ScaffoldError, match="cannot be read"):
        scaffold.new_technique("descent/x", tmp_path)
