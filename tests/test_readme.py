"""What the README shows is true: its experiment is sound, its verbs exist, its plugin is found, holds and trains."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from engines import catalogue, grammar, scaffold
from engines.experiment import dump, parse

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
ID = "gradient/centralise"


def blocks(language: str) -> list[str]:
    """The fenced blocks of one language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", README, flags=re.MULTILINE | re.DOTALL)


EXPERIMENTS = [block for block in blocks("toml") if "experiment" in tomllib.loads(block)]
PLUGINS = [block for block in blocks("python") if "(Technique):" in block]


def test_it_shows_an_experiment_and_a_plugin() -> None:
    assert EXPERIMENTS
    assert len(PLUGINS) == 1


@pytest.mark.parametrize("text", EXPERIMENTS)
def test_an_experiment_is_sound(text: str, tmp_path: Path) -> None:
    experiment = parse(text, tmp_path)
    assert [problem.sentence() for problem in experiment.problems(catalogue.read())] == []
    assert dump(experiment) == text


def test_python_is_python() -> None:
    for block in blocks("python"):
        compile(block, "README.md", "exec")


def test_its_verbs_exist() -> None:
    named = set(re.findall(r"(?:`|^    |\$ |bin/)workbench ([a-z]+)", README, flags=re.MULTILINE))
    assert named
    assert named <= set(grammar.verbs(grammar.build_parser()))


def test_what_it_links_to_is_there() -> None:
    """The screenshot is taken by `make screenshots` and stands in the repository like everything else."""
    links = re.findall(r"\]\(([^)#:]+)\)", README)
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []


# --- The plugin -----------------------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The steps of the README: `new technique`, the block in its place, pip. Returns the environment that sees the package."""
    folder = tmp_path_factory.mktemp("readme") / "my_techniques"
    folder.mkdir()
    scaffold.new_technique(ID, folder)
    path = folder / "my_techniques_plugins" / "gradient" / "centralise.py"
    assert path.exists()
    assert str(path.relative_to(folder)) in README
    path.write_text(PLUGINS[0], encoding="utf-8")
    entry_point = re.search(r"^    (\[project\.entry-points.*\])\n    (\w+ = \"\w+\")$", README, flags=re.MULTILINE)
    assert entry_point is not None
    assert "\n".join(entry_point.groups()) in (folder / "pyproject.toml").read_text(encoding="utf-8")
    target = folder.with_name("site")
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps", "--no-build-isolation", "--target", str(target)]
    done = subprocess.run([*command, str(folder)], capture_output=True, text=True, timeout=180, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(target), str(ROOT)])}


def run(code: str, environment: dict[str, str], folder: Path) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, cwd=folder, timeout=180, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip().splitlines()[-1]


@pytest.mark.slow
def test_the_plugin_is_in_the_catalogue(installed: dict[str, str], tmp_path: Path) -> None:
    entry = json.loads(run(f"import json; from engines import catalogue; print(json.dumps(catalogue.entry({ID!r})))", installed, tmp_path))
    assert (entry["error"], entry["title"], entry["hooks"]) == ("", "Gradient centralisation", ["step"])
    assert entry["parameters"]["properties"]["share"]["maximum"] == 1
    assert len(entry["certificates"]) == 2


@pytest.mark.slow
def test_its_certificates_hold(installed: dict[str, str], tmp_path: Path) -> None:
    code = f"import json; from engines.runtime.verify import verify; print(json.dumps(verify({ID!r}, {{}})))"
    found = json.loads(run(code, installed, tmp_path))
    assert [each["holds"] for each in found] == [True, True]
    assert all(each["statement"] in README for each in found)


@pytest.mark.slow
def test_it_trains_and_changes_what_is_learned(installed: dict[str, str], tmp_path: Path) -> None:
    code = (
        "import json; from pathlib import Path\nfrom tests.engines.runtime import session as small\n"
        "def losses(*techniques):\n"
        "    made = small.trainer(Path('.'), small.plan([{'id': 'optimization/sgd', 'lr': 1.0}, *techniques], budget={'steps': 12}))\n"
        "    made.train()\n"
        "    return small.losses(made)\n"
        f"print(json.dumps([losses(), losses({{'id': {ID!r}}}), losses({{'id': {ID!r}, 'share': 0.0}})]))"
    )
    plain, centralised, silent = json.loads(run(code, installed, tmp_path))
    assert silent == plain
    assert centralised != plain
    assert centralised[-1] < centralised[0]
