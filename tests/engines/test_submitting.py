"""An experiment is checked in full once: what was found sound is not asked about again, unless something it depends on changed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from engines.experiment import parse
from engines.problems import ExperimentError
from engines.store import queries
from engines.store.database import Store
from engines.submitting import checked_plans, submit
from tests.engines.sample import CATALOGUE, TEXT


class Answers:
    """An inspector that was asked so often and answers always the same."""

    def __init__(self, problems: list[dict[str, Any]] | None = None) -> None:
        self.asked = 0
        self.problems = problems or []

    def ask(self, question: str, /, **details: Any) -> dict[str, Any]:
        self.asked += 1
        return {"problems": self.problems}


@pytest.fixture(autouse=True)
def _own_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORKBENCH_CACHE", str(tmp_path / "cache"))


def check(inspector: Answers, folder: Path, text: str = TEXT, catalogue: dict[str, Any] = CATALOGUE) -> dict[str, Any]:
    return checked_plans(parse(text, folder), catalogue, inspector)  # type: ignore[arg-type]


def test_a_sound_experiment_is_asked_about_once(tmp_path: Path) -> None:
    inspector = Answers()
    assert check(inspector, tmp_path) == check(inspector, tmp_path)
    assert inspector.asked == 1


def test_other_plugins_or_other_files_are_asked_about_again(tmp_path: Path) -> None:
    inspector = Answers()
    check(inspector, tmp_path)
    check(inspector, tmp_path, catalogue={**CATALOGUE, "digest": "another"})
    assert inspector.asked == 2
    other = tmp_path / "elsewhere"
    other.mkdir()
    check(inspector, other)
    assert inspector.asked == 3


def test_problems_of_the_inspector_are_told_and_not_remembered(tmp_path: Path) -> None:
    inspector = Answers([{"path": "full.corpus", "value": None, "rule": "The text is empty.", "hint": ""}])
    for _ in range(2):
        with pytest.raises(ExperimentError, match="empty"):
            check(inspector, tmp_path)
    assert inspector.asked == 2


def test_what_the_file_shows_is_told_without_the_inspector(tmp_path: Path) -> None:
    inspector = Answers()
    with pytest.raises(ExperimentError, match="unknown key"):
        check(inspector, tmp_path, TEXT.replace("[training]", "[trainin]"))
    assert inspector.asked == 0


def test_a_cache_that_cannot_be_written_or_is_damaged_costs_only_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inspector = Answers()
    (tmp_path / "file").touch()
    monkeypatch.setenv("WORKBENCH_CACHE", str(tmp_path / "file" / "cache"))
    check(inspector, tmp_path)
    monkeypatch.setenv("WORKBENCH_CACHE", str(tmp_path))
    (tmp_path / "sound.json").write_text('{"not": "a list"')
    check(inspector, tmp_path)
    assert inspector.asked == 2


def test_submitting_queues_every_variant_with_its_text(tmp_path: Path, store_url: str) -> None:
    experiment = parse(TEXT, tmp_path)
    plans = check(Answers(), tmp_path)
    with Store.open(store_url) as store:
        number = submit(store, experiment, plans, CATALOGUE)
        assert queries.experiment(store, number).text == TEXT
        assert [variant.name for variant in queries.variants(store, number)] == list(plans)
        assert len(queries.runs(store, number)) == len(plans) * len(experiment.seeds)
        assert [variant.name for variant in queries.variants(store, number) if variant.baseline] == [experiment.baseline]
