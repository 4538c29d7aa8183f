"""Plugins are found without import, described as JSON, cached by digest; a broken one is an entry with its error and the rest works."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from engines import catalogue
from engines.api import HOOKS

GOOD = '''
from typing import ClassVar
from engines.api import Technique, Trial, certificate, param

class Shrink(Technique):
    """Shrink the step.

    Does nothing when factor = 1.
    """

    paper: ClassVar[str] = "Somebody (2020)."
    was: ClassVar[tuple[str, ...]] = ("steps/shrunk",)
    group: ClassVar[str] = "shrinking"
    conflicts = {"optimization/sgd": "Use Adam."}
    factor: float = param(0.5, "Factor of the step.", unit="1", symbol="f", gt=0, le=1)
    teacher: str = param("", "A variant.", reference="variant")
    file: str = param("", "A file.", path=True)

    def step(self, update, ctx):
        return update

class _Private(Technique):
    """Not a plugin."""

    def step(self, update, ctx):
        return update

@certificate("factor 1 changes nothing", tolerance=1e-9)
def unchanged(trial: Trial) -> float:
    return 0.0
'''

SLOTLESS = '''
from engines.api import Block

class Homeless(Block):
    """A block without a slot."""
'''

Install = Callable[..., Path]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """install("name", {"family/file": text}) puts a distribution with an entry point on the path; returns its package folder."""
    made: list[str] = []

    def make(name: str, files: dict[str, str], *, value: str = "", package: bool = True) -> Path:
        site = tmp_path / name
        folder = site / name
        for id, text in files.items():
            path = folder / f"{id}.py"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        info = site / f"{name}-1.0.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n", encoding="utf-8")
        (info / "entry_points.txt").write_text(f"[workbench.plugins]\nmine = {value or name}\n", encoding="utf-8")
        monkeypatch.syspath_prepend(str(site))
        importlib.invalidate_caches()
        made.append(name)
        return folder

    yield make
    for module in [module for module in sys.modules if module.partition(".")[0] in made]:
        del sys.modules[module]


def test_sources_are_found_without_import(install: Install) -> None:
    folder = install("thirdparty_a", {"steps/shrink": GOOD, "steps/_hidden": "1/0", "steps/explosive": "1/0"})
    found = catalogue.sources()
    assert found["steps/shrink"].path == folder / "steps" / "shrink.py"
    assert found["steps/shrink"].module == "thirdparty_a.steps.shrink"
    assert found["steps/shrink"].distribution == "thirdparty_a"
    assert "steps/explosive" in found
    assert "steps/_hidden" not in found
    assert not [module for module in sys.modules if module.startswith("thirdparty_a")]


def test_built_ins_come_through_the_same_entry_point() -> None:
    found = catalogue.sources()
    assert found["optimization/adam"].distribution == "efficiency-workbench"
    assert found["optimization/adam"].module == "plugins.optimization.adam"


def test_an_entry_says_all(install: Install) -> None:
    install("thirdparty_b", {"steps/shrink": GOOD})
    entry = catalogue.entry("steps/shrink")
    assert json.loads(json.dumps(entry)) == entry
    assert (entry["kind"], entry["family"], entry["title"], entry["hooks"]) == ("technique", "steps", "Shrink the step.", ["step"])
    assert "Does nothing when" in entry["card"]
    assert entry["certificates"] == ["factor 1 changes nothing"]
    assert entry["was"] == ["steps/shrunk"]
    assert entry["conflicts"] == {"optimization/sgd": "Use Adam."}
    factor = entry["parameters"]["properties"]["factor"]
    expected = {"default": 0.5, "exclusiveMinimum": 0, "maximum": 1, "unit": "1", "symbol": "f", "description": "Factor of the step."}
    assert expected.items() <= factor.items()
    assert entry["parameters"]["properties"]["teacher"]["reference"] == "variant"
    assert entry["parameters"]["properties"]["file"]["path"] is True
    assert entry["parameters"]["additionalProperties"] is False
    assert entry["available"] == {"ok": True, "reason": ""}
    assert entry["error"] == ""


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("def broken(:\n", "SyntaxError"),
        ("import a_package_that_is_not_there\n", "No module named 'a_package_that_is_not_there'"),
        ("raise SystemExit(3)\n", "SystemExit: 3"),
        ("1 / 0\n", "ZeroDivisionError"),
        ("", "exactly one plugin class, but defines 0"),
        (GOOD + GOOD.replace("class Shrink", "class Grow"), "defines 2 (Shrink, Grow): one idea, one file"),
        (GOOD.replace("factor: float =", "factor ="), "requires a type annotation"),
        (GOOD.replace("param(0.5,", "param(7.5,"), "less than or equal to 1"),
        (
            GOOD.replace("factor: float = param(0.5,", "factor: Any = param(object(),").replace("ClassVar", "Any, ClassVar", 1),
            "not JSON serializable",
        ),
        (GOOD.replace("def step(self", "def stepp(self", 1), "defines no hook"),
        (SLOTLESS, "has slot = None; a block must name one of embedding, mixer, feedforward, head"),
        (GOOD.replace('"""Shrink the step.\n\n    Does nothing when factor = 1.\n    """', "", 1), "has no docstring"),
        (GOOD.replace("    group:", "    kind: ClassVar[str] = 'idea'\n    group:"), "kind = 'idea'"),
        (
            GOOD.replace("    def step", "    @classmethod\n    def unavailable(cls):\n        raise OSError('no driver')\n\n    def step", 1),
            "no driver",
        ),
        (GOOD.replace('{"optimization/sgd": "Use Adam."}', '["optimization/sgd"]'), "must be a mapping from id to a sentence"),
        (GOOD.replace('("steps/shrunk",)', '"steps/shrunk"'), "must be a tuple of texts"),
    ],
)
def test_a_broken_plugin_is_an_entry_and_the_rest_works(install: Install, text: str, words: str) -> None:
    install("thirdparty_c", {"steps/bad": text, "steps/shrink": GOOD})
    entry = catalogue.entry("steps/bad")
    assert words in entry["error"]
    assert (entry["available"]["ok"], entry["id"]) == (False, "steps/bad")
    assert json.dumps(entry)
    assert catalogue.entry("steps/shrink")["error"] == ""


def test_load_raises_sentences(install: Install) -> None:
    install("thirdparty_d", {"steps/bad": "1 / 0\n", "steps/shrink": GOOD})
    assert catalogue.load("steps/shrink")().factor == 0.5  # type: ignore[attr-defined]
    with pytest.raises(catalogue.BrokenPlugin, match="ZeroDivisionError"):
        catalogue.load("steps/bad")
    with pytest.raises(catalogue.UnknownPlugin, match='no plugin "steps/shrnk"; did you mean "steps/shrink"'):
        catalogue.load("steps/shrnk")


def test_an_id_claimed_twice_names_both(install: Install) -> None:
    install("thirdparty_e", {"steps/shrink": GOOD})
    install("thirdparty_f", {"steps/shrink": GOOD})
    error = catalogue.entry("steps/shrink")["error"]
    assert "thirdparty_e" in error
    assert "thirdparty_f" in error
    with pytest.raises(catalogue.BrokenPlugin, match="Two distributions claim the id steps/shrink"):
        catalogue.load("steps/shrink")


def test_an_entry_point_without_its_package_is_an_entry(install: Install) -> None:
    install("thirdparty_g", {}, value="gone.plugins")
    assert "was not found" in catalogue.entry("thirdparty_g/mine")["error"]


def test_a_file_that_is_no_module_name_is_an_entry(install: Install) -> None:
    install("thirdparty_h", {"steps/two-words": GOOD})
    assert "no module name" in catalogue.entry("steps/two-words")["error"]


def test_the_digest_covers_what_plugins_stand_on(monkeypatch: pytest.MonkeyPatch) -> None:
    read: set[str] = set()
    plain = Path.read_bytes
    monkeypatch.setattr(Path, "read_bytes", lambda path: read.add(path.as_posix()) or plain(path))
    catalogue.digest()
    wanted = ("engines/api.py", "engines/certificate.py", "engines/corpus.py", "engines/toolbox/search/index.py", "plugins/softmax/full.py")
    assert [name for name in wanted if not any(path.endswith(name) for path in read)] == []


def test_the_digest_follows_what_is_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a plugin lacked may be there now: a catalogue from before would go on saying that it is not available."""
    before = catalogue.digest()
    monkeypatch.syspath_prepend(str(tmp_path))
    assert catalogue.digest() == before
    (tmp_path / "needed-1.0.dist-info").mkdir()
    with_it = catalogue.digest()
    (tmp_path / "needed-1.0.dist-info").rename(tmp_path / "needed-1.1.dist-info")
    assert len({before, with_it, catalogue.digest()}) == 3


def test_the_digest_follows_the_sources(install: Install) -> None:
    before = catalogue.digest()
    folder = install("thirdparty_i", {"steps/shrink": GOOD})
    installed = catalogue.digest()
    (folder / "steps" / "shrink.py").write_text(GOOD.replace("0.5", "0.25"), encoding="utf-8")
    assert len({before, installed, catalogue.digest()}) == 3
    assert catalogue.digest() == catalogue.digest()


def test_read_builds_once_and_then_reads_the_cache(install: Install, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORKBENCH_CACHE", str(tmp_path / "cache"))
    builds: list[int] = []

    def apart() -> dict[str, object]:
        builds.append(1)
        return {"digest": catalogue.digest(), "plugins": {"steps/shrink": catalogue.entry("steps/shrink")}}

    monkeypatch.setattr(catalogue, "_build_apart", apart)
    folder = install("thirdparty_j", {"steps/shrink": GOOD})
    assert catalogue.read(build=False) == {"digest": "", "plugins": {}}
    first = catalogue.read()
    assert catalogue.read() == first
    assert len(builds) == 1
    (folder / "steps" / "shrink.py").write_text(GOOD + "\n", encoding="utf-8")
    stale = catalogue.read(build=False)
    assert stale == first
    assert stale["digest"] != catalogue.digest()
    (cached,) = (tmp_path / "cache" / "catalogue").glob("*.json")
    cached.write_text("{ torn", encoding="utf-8")
    assert catalogue.read()["plugins"] == first["plugins"]
    assert len(builds) == 2


def test_an_unwritable_cache_costs_nothing_but_time(install: Install, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    monkeypatch.setenv("WORKBENCH_CACHE", str(tmp_path / "file"))
    monkeypatch.setattr(catalogue, "_build_apart", lambda: {"digest": "x", "plugins": {}})
    assert catalogue.read() == {"digest": "x", "plugins": {}}


def test_a_builder_that_dies_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalogue.sys, "executable", "/bin/false")
    monkeypatch.setattr(catalogue.subprocess, "run", lambda *args, **kw: subprocess.CompletedProcess(args, -11, "", "Fatal: fell over\n"))
    with pytest.raises(catalogue.CatalogueError, match=r"exit code -11.*fell over"):
        catalogue._build_apart()


@pytest.mark.slow
def test_the_real_catalogue_is_read_without_torch(tmp_path: Path) -> None:
    code = (
        "import sys, json\nfrom engines import catalogue\nfound = catalogue.read()\nassert 'torch' not in sys.modules\n"
        "assert found['digest'] == catalogue.digest()\nprint(json.dumps(found))"
    )
    environment = {**os.environ, "WORKBENCH_CACHE": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    plugins = json.loads(done.stdout)["plugins"]
    assert {id: entry["error"] for id, entry in plugins.items() if entry["error"]} == {}
    for entry in plugins.values():
        assert entry["title"]
        assert entry["kind"] != "block" or entry["slot"] in ("embedding", "mixer", "feedforward", "head", "model")
        assert set(entry["hooks"]) <= set(HOOKS)
