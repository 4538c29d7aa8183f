"""When a quality was reached: between two looks, never invented, with what teachers took and without what never reached it."""

from __future__ import annotations

import math

import pytest

from engines.comparison import compare
from engines.reaching import Goal, first_reached
from engines.store import commands
from engines.store.commands import ResultRow, SeriesBatch

VALID = "quality/valid_perplexity"
GOAL = Goal(VALID, 60.0, "lower", True)


@pytest.mark.parametrize(
    ("looks", "found"),
    [
        ([(10, 100.0), (20, 70.0), (30, 50.0)], (25.0, 20, 30)),  # halfway between 70 and 50
        ([(10, 100.0), (20, 60.0)], (20.0, 10, 20)),
        ([(10, 55.0), (20, 50.0)], (10, 0.0, 10)),  # before the first look: known from above alone
        ([(10, 100.0), (20, math.nan), (30, 50.0)], (26.0, 10, 30)),  # a gap is no look
        ([(10, 100.0), (20, 50.0), (30, 90.0), (40, 40.0)], (18.0, 10, 20)),  # the first time counts
        ([(10, 100.0), (20, 61.0)], None),
        ([], None),
    ],
)  # fmt: skip
def test_the_moment_lies_between_two_looks(looks, found):
    assert first_reached(looks, GOAL) == (None if found is None else pytest.approx(found))


def test_more_may_be_better():
    assert first_reached([(10, 0.2), (20, 0.6)], Goal("quality/valid_accuracy", 0.5, "higher", True)) == pytest.approx((17.5, 10, 20))


def finished(store, curves, *, quality=None, needed=None, final=None, finishing=None, clock=True):
    """Runs of seeds 0 and 1 whose validation took these values after 10, 20, 30 s; returns the comparison.

    needed: variant -> seconds of needed runs; finishing: variant -> seconds after training; final: variant -> figure of its finished model.
    """
    plan = {"measure": {"margin": 0.02, "metrics": [], "quality": quality}, "techniques": []}
    rows = [{"name": name, "plan": plan | {"variant": name}, "baseline": name == "full", "needs": []} for name in curves]
    experiment = commands.submit(store, name="E", digest="d", text="", document={}, folder="", variants=rows, seeds=[0, 1])
    supervisor = commands.register_supervisor(store, "host", 1, 1.0)
    while (run := commands.claim_run(store, supervisor)) is not None:
        values = curves[run.variant][run.seed]
        steps = list(range(100, 100 * len(values) + 1, 100))
        others = (needed or {}).get(run.variant, 0.0)
        batches = [SeriesBatch(VALID, "", "lower", steps, [1.0] * len(steps), values)]
        if clock:
            batches.append(SeriesBatch("progress/seconds", "s", "none", steps, [1.0] * len(steps), [10.0 * (n + 1) for n in range(len(steps))]))
        commands.set_status(store, run.id, run.claim, "running")
        commands.append_points(store, run.id, run.claim, batches)
        last = (finishing or {}).get(run.variant, 0.0)
        spent = 10.0 * len(values) + last
        figures = [
            ResultRow(VALID, (final or {}).get(run.variant, values[-1]), "", "lower"),
            ResultRow("cost/train_s", spent + others, "s", "lower", detail={"own": spent, "of_needed_runs": others, "finishing_s": last}),
        ]
        commands.put_results(store, run.id, run.claim, figures)
        commands.finish_run(store, run.id, run.claim, "done")
    return compare(store, [experiment])


FULL = [[100.0, 70.0, 50.0], [100.0, 80.0, 58.0]]
KEY = "speed/time_to_quality_s"


def test_without_a_stated_quality_it_is_the_worst_of_the_baselines_final_figures(store):
    found = finished(store, {"full": FULL, "fast": [[60.0, 56.0, 50.0], [70.0, 46.0, 40.0]]})
    assert found["goal"] == {"key": VALID, "value": 58.0, "stated": False}
    full, fast = (found["variants"][name]["results"][KEY] for name in ("full", "fast"))
    assert full["points"] == {"0": pytest.approx(26.0), "1": pytest.approx(30.0)}
    assert fast["points"] == {"0": pytest.approx(15.0), "1": pytest.approx(15.0)}
    assert (full["value"], full["low"], full["high"]) == (pytest.approx(28.0), 20.0, 30.0)
    assert fast["ratio"] == pytest.approx((15 / 26 + 15 / 30) / 2)
    assert fast["verdict"] == "not enough data"  # whole runs, made one after another


def test_seconds_of_a_teacher_come_before_the_first_look(store):
    found = finished(store, {"full": FULL, "taught": FULL}, quality=60.0, needed={"taught": 30.0})
    full, taught = (found["variants"][name]["results"][KEY] for name in ("full", "taught"))
    assert taught["value"] == pytest.approx(full["value"] + 30.0)
    assert (taught["low"], taught["high"]) == (full["low"] + 30.0, full["high"] + 30.0)


def test_seconds_of_finishing_are_needed_whenever_training_stops(store):
    found = finished(store, {"full": FULL, "packed": FULL}, quality=60.0, finishing={"packed": 4.0})
    full, packed = (found["variants"][name]["results"][KEY] for name in ("full", "packed"))
    assert packed["value"] == pytest.approx(full["value"] + 4.0)


def test_what_never_reached_it_is_absent_and_said(store):
    found = finished(store, {"full": FULL, "half": [[100.0, 59.0], [100.0, 90.0]], "never": [[100.0], [99.0]]}, quality=60)
    half, never = found["variants"]["half"], found["variants"]["never"]
    assert list(half["results"][KEY]["points"]) == ["0"]
    assert half["notes"] == ["Seed 1 did not reach a validation perplexity of 60; the time to it is that of the other seeds."]
    assert KEY not in never["results"]
    assert never["notes"] == ["Did not reach a validation perplexity of 60 (its best seed ended at 99), so there is no time to it."]
    assert all(row["key"] != KEY for row in never["savings"]["price"])


def test_a_near_miss_says_how_near(store):
    found = finished(store, {"full": [[60.0], [60.0]], "rounded": [[60.004], [60.01]]}, quality=60)
    told = "Did not reach a validation perplexity of 60 (its best seed missed it by 0.01%), so there is no time to it."
    assert told in found["variants"]["rounded"]["notes"]


def test_a_model_that_was_changed_after_training_is_judged_when_it_is_finished(store):
    found = finished(store, {"full": FULL, "pruned": FULL, "ruined": FULL}, quality=60, final={"pruned": 59.0, "ruined": 75.0})
    pruned = found["variants"]["pruned"]
    assert pruned["results"][KEY]["points"] == {"0": 30.0, "1": 30.0}
    assert pruned["notes"] == ["Changed after training: the time to a quality is that of the finished model, which was judged once."]
    assert KEY not in found["variants"]["ruined"]["results"]


def test_runs_without_a_clock_beside_their_looks_have_no_such_time(store):
    found = finished(store, {"full": FULL}, clock=False)
    assert KEY not in found["variants"]["full"]["results"]
    assert found["variants"]["full"]["notes"] == []
