"""Profiles of runs in a store: what is refused and how, what is left, and the command line from a file to a profile."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from engines import cli, profiling
from engines.console.profiling import show
from engines.profiling import ProfileError
from engines.store import commands, queries
from engines.store.database import Store, StoreError
from engines.store.rows import EffectRow
from tests.engines.processes import nothing_left, queue
from tests.engines.runtime import session as small
from tests.engines.test_running import EXPERIMENT

pytestmark = pytest.mark.slow


@pytest.fixture
def plan(tmp_path: Path) -> dict:
    """The small LSTM on a text of its own."""
    texts = sorted(Path(cli.__file__).parent.glob("*.py"))
    (tmp_path / "train.txt").write_text("\n".join(path.read_text() for path in texts[:5]))
    corpus = {"id": "corpora/text_files", "train": str(tmp_path / "train.txt"), "level": "char"}
    return small.plan([{"id": "optimization/adam"}], corpus=corpus)


def done(store: Store, plan: dict, *, seeds: int = 1, effects: list[EffectRow] | None = None, variants: tuple[str, ...] = ("full",)) -> list[int]:
    """Runs of a plan that have ended."""
    rows = [{"name": name, "plan": plan, "baseline": not i, "needs": []} for i, name in enumerate(variants)]
    number = commands.submit(store, name="x", digest="", text="", document={}, folder="/", variants=rows, seeds=list(range(seeds)), smoke=False)
    supervisor = commands.register_supervisor(store, "here", 4711, 1.5)
    while (run := commands.claim_run(store, supervisor)) is not None:
        commands.set_status(store, run.id, run.claim, "running")
        commands.put_effects(store, run.id, run.claim, effects or [])
        commands.finish_run(store, run.id, run.claim, "done")
    return [run.id for run in queries.runs(store, number)]


# --- Refusals -----------------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "sentence"),
    [(["r9"], "no run r9"), (["9"], "names an experiment"), (["full"], "is no id"), (["r1", "--steps", "0"], "at least one step")],
)
def test_a_wrong_request_is_a_sentence(store: Store, capsys: pytest.CaptureFixture[str], words: list[str], sentence: str) -> None:
    queue(store, [])
    assert cli.main(["profile", *words, "--store", store.url]) == 2
    assert sentence in capsys.readouterr().err


def test_a_run_that_has_not_ended_is_not_profiled(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    queue(store, [])
    assert cli.main(["profile", "r1", "--store", store.url]) == 2
    assert "Run r1 is queued" in capsys.readouterr().err


def test_a_plugin_that_is_gone_is_named(store: Store, plan: dict, capsys: pytest.CaptureFixture[str]) -> None:
    done(store, plan | {"techniques": [{"id": "optimization/adm"}]})
    assert cli.main(["profile", "r1", "--store", store.url]) == 2
    assert 'did you mean "optimization/adam"' in capsys.readouterr().err


def test_a_text_that_has_changed_is_refused(store: Store, plan: dict) -> None:
    from engines.runtime.profile import profile_run

    done(store, plan, effects=[EffectRow("", "conditions", "", {"corpus": "another"})])
    with pytest.raises(ProfileError, match="corpus has changed since run r1"):
        profile_run(store, 1, 2, time.perf_counter())
    assert queries.artifacts(store, 1) == []


# --- What is left -------------------------------------------------------------------------------------------------------------------------------


def test_a_profile_is_an_artifact_and_a_second_takes_its_place(store: Store, plan: dict) -> None:
    from engines.runtime.profile import profile_run

    done(store, plan)
    first = profile_run(store, 1, 3, time.perf_counter())
    assert len(profiling.read(first)["step_ms"]["each"]) == 3
    second = profile_run(store, 1, 4, time.perf_counter())
    assert first == second
    found = profiling.read(second)
    assert found["steps"] == 4
    artifacts = {row.kind: row for row in queries.artifacts(store, 1)}
    assert set(artifacts) == {"profile", "trace"}
    assert artifacts["profile"].path == str(second)
    for row in artifacts.values():
        assert Path(row.path).stat().st_size == row.bytes
        assert Path(row.path).parent == Path(store.folder) / "runs" / "1" / "profile"
    json.loads(gzip.decompress(Path(artifacts["trace"].path).read_bytes()))


def test_files_are_added_to_ended_runs_only(store: Store) -> None:
    (run,) = queue(store, [])
    with pytest.raises(StoreError, match="Run 1 is queued"):
        commands.add_artifact(store, run, "profile", "profile", "x")
    with pytest.raises(StoreError, match="not in the store"):
        commands.add_artifact(store, 77, "profile", "profile", "x")


def test_one_run_a_variant_is_profiled(store: Store, plan: dict) -> None:
    runs = done(store, plan, seeds=2, variants=("full", "other"))
    found = profiling.to_profile(store, queries.run(store, runs[0]).experiment_id)
    assert [(row.variant, row.seed) for row in found] == [("full", 0), ("other", 0)]


# --- From a file --------------------------------------------------------------------------------------------------------------------------------


def test_a_run_with_its_profile(tmp_path: Path, store_url: str, capsys: pytest.CaptureFixture[str]) -> None:
    texts = sorted(Path(cli.__file__).parent.glob("*.py"))
    for name, some in (("train", texts[2:]), ("valid", texts[:1]), ("test", texts[1:2])):
        (tmp_path / f"{name}.txt").write_text("\n".join(path.read_text() for path in some))
    (tmp_path / "tiny.toml").write_text(EXPERIMENT % 20)

    command = [sys.executable, "-m", "workbench", "run", str(tmp_path / "tiny.toml"), "--profile", "--store", store_url]
    with nothing_left(store_url):
        ran = subprocess.run(command, capture_output=True, text=True, timeout=200)
        assert ran.returncode == 0, ran.stderr
        assert "r1 full: a step takes" in ran.stderr
        with Store.open(store_url) as store:
            assert {row.kind for row in queries.artifacts(store, 1)} >= {"model", "profile", "trace"}
            memory = next(effect for effect in queries.effects(store, 1) if effect.hook == "memory")
            assert memory.facts["owners_mib"]["parameters"] > 0
            assert "memory/owner/activations_mib" in {row.key for row in queries.series(store, 1)}
            path = next(Path(row.path) for row in queries.artifacts(store, 1) if row.kind == "profile")
    show(profiling.read(path))
    printed = capsys.readouterr().out
    for words in ("layers.0.mixer.lstm", "aten::mkldnn_rnn_layer", "MiB at the peak of a step", "median of 10 steps of 4 x 16 tokens on cpu"):
        assert words in printed
