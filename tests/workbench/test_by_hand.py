"""The whole story as a new user lives it: mouse and keyboard on a screen, the window a process of its own, which a crash ends in between.

What is checked comes from the screen, from the report on disk and from the store; nothing of the window is called.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from engines.store import queries
from engines.store.database import Store
from tests.workbench.by_hand import hands
from tests.workbench.by_hand.hands import Person

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("no_supervisor_left")]

EXAMPLE = "Which trick pays on a small LSTM?"


def _states(person: Person) -> list[str]:
    return [status for _run, _variant, status in person.ask("facts")["runs"]]


def _until_view(person: Person, view: str) -> None:
    person.wait(f"the view {view}", lambda: person.ask("facts")["view"] == view)


def _assemble(person: Person) -> None:
    """From the gallery to an experiment of two variants: another head, and a technique whose conflict one click mends."""
    person.click(f"Open: {EXAMPLE}")
    _until_view(person, "experiment")
    for variant in ("int8", "sampled", "adaptive"):
        person.click(variant)
        person.press("ctrl+BackSpace")
        person.wait(f"{variant} to go", lambda variant=variant: not person.ask("find", text=variant))
    person.click("pruned")
    person.wait("the catalogue", lambda: person.reads("Hierarchical softmax"))
    person.click("Head")
    person.click("Class-based softmax")
    person.wait("the other head", lambda: person.reads("head: class based"))
    person.click("Add technique")
    person.click("Pruning")
    person.click("Movement pruning")
    person.wait("the conflict", lambda: person.reads("conflicts with pruning/magnitude"))
    person.click("Mend it: Take pruning/magnitude out of “pruned”")
    person.wait("the experiment to be ready", lambda: person.reads("None. Ready to run."))


def _run_and_compare(person: Person, report: Path) -> None:
    """A smoke test watched to its end, then the comparison, written as a page."""
    person.press("ctrl+shift+Return")
    _until_view(person, "runs")
    person.wait("the first points", lambda: person.ask("facts")["drawn"] > 0)
    assert "done" not in _states(person)[1:]  # They are drawn while runs are still to come.
    person.wait("both runs to end", lambda: _states(person) == ["done", "done"], 180.0)
    person.press("ctrl+shift+c")
    _until_view(person, "compare")
    person.click("Export report  ▾")
    person.click("HTML page …")
    person.wait("the question where to", lambda: person.ask("find", text="Save"))
    person.type(str(report))
    person.press("Return")
    person.wait("the report", lambda: person.reads(f"Written: {report}"))


def _look_again(person: Person) -> None:
    """In a new window: the edits that nobody saved, the runs with their curves, the comparison."""
    person.click("Restore")
    person.wait("the edits", lambda: person.reads("head: class based\n+ movement"))
    assert not person.ask("find", text="int8")
    person.press("ctrl+1")
    _until_view(person, "start")
    person.click(EXAMPLE, within="Recent experiments")
    _until_view(person, "runs")
    person.wait("the curves", lambda: _states(person) == ["done", "done"] and person.ask("facts")["drawn"] > 0)
    person.press("ctrl+shift+c")
    person.wait("the verdicts", lambda: person.reads("2 variants, baseline “full”"))


@pytest.mark.timeout(600)
def test_a_new_user_from_the_gallery_to_the_report_over_a_crash(tmp_path: Path, store_url: str) -> None:
    absent = hands.missing()
    if absent:
        pytest.skip(f"Nobody can use a mouse here: {absent}.")
    own = {name: str(tmp_path / name) for name in ("HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME")}
    report = tmp_path / "report.html"
    with hands.screen() as display:
        person = Person(display, store_url, own)
        try:
            _assemble(person)
            _run_and_compare(person, report)
            person.kill()
            person = Person(display, store_url, own)
            _look_again(person)
        finally:
            person.kill()
    page = report.read_text()
    assert "smoke" in page
    assert all(name in page for name in ("full", "pruned", "softmax/class_based", "pruning/movement"))
    with Store.open(store_url) as store:
        plans: dict[str, Any] = {run.variant: queries.plan(store, run.id) for run in queries.runs(store)}
    assert set(plans) == {"full", "pruned"}
    assert plans["pruned"]["model"]["head"]["id"] == "softmax/class_based"
    assert [each["id"] for each in plans["pruned"]["techniques"]][-1] == "pruning/movement"
    assert plans["full"]["model"]["head"]["id"] == "softmax/full"
