"""Finished runs of a store as teachers: which are offered, and why others cannot teach."""

from __future__ import annotations

from typing import Any

from engines.candidates import candidates
from engines.store import commands, queries
from engines.store.database import Store


def _plan(task: str = "tasks/language_model", **corpus: Any) -> dict[str, Any]:
    return {"task": {"id": task}, "corpus": {"id": "corpora/python_stdlib", "level": "word", **corpus}, "model": {}, "training": {}, "techniques": []}


def _run(store: Store, name: str, plan: dict[str, Any], *, status: str = "done", model: bool = True, smoke: bool = False) -> int:
    variants = [{"name": "a", "plan": plan, "baseline": True, "needs": []}]
    commands.submit(store, name=name, digest="0" * 64, text="", document={}, folder="/", variants=variants, seeds=[3], smoke=smoke)
    run = commands.claim_run(store, commands.register_supervisor(store, "test", 1, 1.0))
    assert run is not None
    commands.set_status(store, run.id, run.claim, "running")
    commands.finish_run(store, run.id, run.claim, status)
    if model:
        folder = store.model_folder(run.id)
        folder.mkdir(parents=True)
        (folder / "plan.json").write_text("{}")
    return run.id


def test_finished_runs_with_a_model_are_told_apart_by_what_fits(store_url: str) -> None:
    student = _plan()
    with Store.open(store_url) as store:
        same = _run(store, "Same", _plan())
        _run(store, "Failed", _plan(), status="failed")
        _run(store, "Without its model", _plan(), model=False)
        _run(store, "Smoke", _plan(), smoke=True)
        otherwise = _run(store, "Fewer words", _plan(max_vocabulary=100))
        letters = _run(store, "Letters", _plan(level="char"))
        classes = _run(store, "Classes", _plan(task="tasks/text_classification"))
        found = candidates(store, student)
        ended = queries.run(store, same).ended
    assert [each.run for each in found] == [classes, letters, otherwise, same]
    by_run = {each.run: each for each in found}
    assert "of the same task" in by_run[classes].why_not
    assert "corpus.level" in by_run[letters].why_not
    assert (by_run[otherwise].why_not, by_run[otherwise].same_text) == ("", False)
    first = by_run[same]
    assert (first.why_not, first.same_text, first.reference, first.experiment, first.seed, first.ended) == ("", True, f"run:{same}", "Same", 3, ended)
