"""Timing on demand: asked for through the store, made by whichever supervisor serves it, the last session counts; and going on until narrow."""

from __future__ import annotations

import json
import platform
from concurrent.futures import ThreadPoolExecutor

import pytest

from engines import interleaving, programmes, retiming, timetable, timing
from engines.cli import main
from engines.comparison import compare
from engines.store import commands, queries
from engines.timekeeping import Timekeeper
from tests.engines.processes import until
from tests.engines.timing.finished import experiment, session

INFER = programmes.INFER


@pytest.fixture
def asked(monkeypatch):
    """Wishes need a supervisor, which these tests play themselves."""
    monkeypatch.setattr(retiming, "ensure_supervisor", lambda url, jobs=None: None)


def timed(store, models=None, **more):
    number = experiment(store, models or {"full": {"rate": 100.0}, "fast": {"rate": 200.0}}, **more)
    assert timing.measure(store, number) == "done"
    return number


def change(store, number, name, **figures):
    """The stand-in model of a variant answers otherwise from now on."""
    run = next(run for run in queries.runs(store, number) if run.variant == name)
    path = store.model_folder(run.id) / "figures.json"
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | figures), encoding="utf-8")


def remarks(store, number):
    """What the comparison says of sessions that there were before; the machine of a test may be disturbed, which it says too."""
    return [each for each in compare(store, [number])["warnings"] if "session" in each]


@pytest.mark.slow
def test_the_last_session_counts_and_the_comparison_says_how_many_there_were(store, asked):
    number = timed(store)
    before = {row.id for row in queries.rounds(store, number)}
    assert remarks(store, number) == []
    change(store, number, "fast", rate=150.0)
    retiming.ask(store, number, {"launches": 3})
    assert timetable.is_due(store, number)
    assert timing.measure(store, number) == "done"
    assert not timetable.is_due(store, number)
    assert timetable.wishes(store, number) == {}
    (again,) = (row for row in queries.rounds(store, number) if row.quantity == INFER and row.id not in before)
    assert again.facts["rounds"] == 6  # two rounds in each of three launches
    found = compare(store, [number])
    assert found["variants"]["fast"]["results"][INFER]["ratio"] == pytest.approx(1.5)
    assert found["control"][INFER]["ratio"] == pytest.approx(1.0)
    assert remarks(store, number) == ["Speed was timed 2 times; the figures are those of the last session alone."]


@pytest.mark.slow
def test_figures_stay_where_the_session_is_called_off_or_fails(store, asked):
    number = timed(store)
    retiming.ask(store, number, {})
    assert timing.measure(store, number, stop=lambda: "Enough.") == "cancelled"
    assert timetable.wishes(store, number) == {}
    assert not timetable.is_due(store, number)
    change(store, number, "fast", fails="It does not load.")
    retiming.ask(store, number, {})
    assert timing.measure(store, number) == "failed"
    found = compare(store, [number])
    assert found["variants"]["fast"]["results"][INFER]["ratio"] == pytest.approx(2.0)
    assert found["variants"]["fast"]["notes"] == []
    assert remarks(store, number) == ["Timing it once more failed, so figures of an earlier session are shown."]


@pytest.mark.slow
def test_a_wish_outlives_its_supervisor_and_can_be_taken_back(store, asked):
    number = timed(store)
    for row in queries.rounds(store, number):  # Every session has a process of its own.
        commands.close_timing(store, row.id, "done", {"process": {"host": platform.node(), "pid": 1, "started": 1.0}})
    retiming.ask(store, number, {})
    assert timing.measure(store, number, stop=lambda: timetable.ORPHANED) == "cancelled"
    assert timetable.is_due(store, number)
    with pytest.raises(retiming.RetimingError, match="already"):
        retiming.ask(store, number, {})
    timetable.cancel(store, number, "No.")
    assert not timetable.is_due(store, number)
    assert session(store, number, INFER).status == "done"


@pytest.mark.slow
def test_a_wish_that_is_taken_back_while_it_waits_is_not_granted(store, asked):
    number = timed(store)
    retiming.ask(store, number, {})
    heard = []
    with ThreadPoolExecutor(1) as other:
        with timing._machine_lock(lambda: "", lambda sentence: None, "another"):
            waiting = other.submit(timing.measure, store, number, tell=heard.append)
            until(lambda: heard, "it waits")
            timetable.cancel(store, number, "No.")
        assert waiting.result() == "cancelled"
    assert heard[-1] == "Cancelled. Called off while it waited for another session."


def test_any_supervisor_hears_a_wish(store, asked, monkeypatch):
    """Also one in whose care no run of the experiment ended."""
    number = experiment(store, {"full": {"rate": 100.0}, "fast": {"rate": 200.0}})
    session_of_file = commands.open_timing(store, number, "", INFER, {"unit": "tokens/s", "better": "higher"})
    commands.close_timing(store, session_of_file, "done")
    keeper = Timekeeper(store)
    assert not keeper.pending
    retiming.ask(store, number, {"rounds": 12})
    assert keeper.pending
    started = []
    monkeypatch.setattr(keeper, "_start", started.append)
    keeper.start_next()
    assert started == [number]
    for row in queries.supervisors(store):
        commands.end_supervisor(store, row.id)
    assert timetable.is_pending(store, number)  # the next one hears it


@pytest.mark.parametrize(
    ("models", "more", "reason"),
    [
        ({"full": {"rate": 1.0}, "broken": None}, {}, "Only its baseline has a finished model"),
        ({"full": None, "fast": {"rate": 1.0}}, {}, "Its baseline has no finished model"),
        ({"full": {"rate": 1.0}, "fast": {"rate": 1.0}}, {"smoke": True}, "smoke test"),
    ],
)
def test_what_cannot_be_timed_is_refused_with_its_reason(store, asked, models, more, reason):
    number = experiment(store, models, **more)
    with pytest.raises(retiming.RetimingError, match=reason):
        retiming.ask(store, number, {})
    assert not timetable.wishes(store, number)


def test_wrong_settings_and_a_paused_queue_are_refused(store, asked, capsys):
    number = experiment(store, {"full": {"rate": 1.0}, "fast": {"rate": 1.0}})
    with pytest.raises(retiming.RetimingError, match=r"measure\.launches.*must not exceed rounds, which is 4"):
        retiming.ask(store, number, {"rounds": 4, "launches": 5})
    assert main(["time", str(number), "--limit", "-1", "--store", store.url]) == 2
    assert "measure.limit" in capsys.readouterr().err
    commands.set_paused(store, True)
    with pytest.raises(retiming.RetimingError, match="paused"):
        retiming.ask(store, number, {})
    assert main(["time", "77", "--store", store.url]) == 2
    assert "There is no experiment 77" in capsys.readouterr().err


@pytest.mark.slow
def test_it_goes_on_until_the_ratios_are_narrow(store):
    """The noise of the first launches is over by then: with them alone the interval would stay wide."""
    settings = {"rounds": 6, "launches": 3, "limit": 60.0}
    models = {"full": {"rate": 100.0}, "fast": {"rate": 200.0, "noise": 0.05}}
    short = timed(store, models, measure=settings)
    assert session(store, short, INFER).facts["rounds"] == 6
    long = timed(store, models, measure=settings | {"until_narrow": True, "margin": 0.05})
    facts = session(store, long, INFER).facts
    assert facts["rounds"] > 6
    assert facts["ended"] == "Every ratio is known as closely as the margin."


@pytest.mark.slow
def test_it_ends_when_the_limit_is_spent_on_loading(store, monkeypatch):
    models = {"full": {"rate": 100.0}, "shaky": {"rate": 90.0, "noise": 0.5}}
    number = experiment(store, models, measure={"rounds": 6, "launches": 3, "limit": 5.0, "until_narrow": True})
    spent = {"loading_s": 0.0, "warm_up_s": 0.0, "rounds_s": 0.0}
    load = interleaving.Crew.launch

    def slow(crew, *arguments, **options):
        crew.spent["loading_s"] += 1.0
        return load(crew, *arguments, **options)

    monkeypatch.setattr(interleaving.Crew, "launch", slow)
    assert timing.measure(store, number) == "done"
    facts = session(store, number, INFER).facts
    assert facts["spent"].keys() == spent.keys()
    assert 6 < facts["rounds"] <= 12
    assert "the loading of models included (measure.limit)" in facts["ended"]
