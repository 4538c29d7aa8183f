"""The time left: from measured progress, with a range, unknown before the first evidence."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from engines.remaining import Remaining, of_runs, words
from engines.store.rows import RunRow

NOW = 1000.0
BLANK = RunRow(
    id=0, experiment_id=1, variant_id=1, variant="a", seed=0, status="queued", smoke=False, attempt=0, needs=(), request="", claim="",
    supervisor_id=None, pid=None, pid_started=None, phase="", queued=0.0, started=None, ended=None, reason="", advice="", machine_id=None,
    progress={}, folder="",
)  # fmt: skip


def run(number: int, **values: Any) -> RunRow:
    return replace(BLANK, id=number, **values)


def done(number: int, took: float, **values: Any) -> RunRow:
    return run(number, status="done", started=100.0, ended=100.0 + took, **values)


def running(number: int, share: float, seconds: float, **values: Any) -> RunRow:
    progress = {"fraction": share, "seconds": seconds, **values.pop("progress", {})}
    return run(number, status="running", phase="training", started=NOW - seconds, progress=progress, **values)


def left(*runs: RunRow, **options: Any) -> Remaining:
    return of_runs(runs, now=NOW, **options)


def test_nothing_is_known_before_the_first_evidence() -> None:
    found = left(run(1), run(2, status="starting", started=NOW - 1), running(3, 0.001, 0.1))
    assert found == Remaining(0.0, 0.0, 3)
    assert not found.known
    assert words(found, lambda seconds: f"{seconds:.0f} s") == "time left unknown until a run has been under way for a while"


def test_the_two_paces_of_a_running_run_are_the_range() -> None:
    steady = left(running(1, 0.25, 60.0))
    assert (steady.low, steady.high) == (180.0, 180.0)
    # 25% of 4,000 tokens in 60 s; lately 10 tokens/s, at which the other 3,000 take 300 s.
    slower = left(running(1, 0.25, 60.0, progress={"tokens": 1000, "tokens_per_s": 10.0}))
    assert (slower.low, slower.high) == (pytest.approx(180.0), pytest.approx(300.0))


def test_without_a_run_that_ended_there_is_no_highest_bound() -> None:
    found = left(running(1, 0.5, 60.0))
    assert found.unended
    assert words(found, lambda seconds: f"{seconds:.0f} s") == "at least 60 s left"
    assert not left(running(1, 0.5, 60.0), peers=[done(2, 150.0, progress={"seconds": 120.0})]).unended


def test_a_look_at_held_out_text_in_the_middle_does_not_make_the_pace_unknown() -> None:
    looking = replace(running(1, 0.25, 60.0), phase="evaluating")
    assert left(looking).low == 180.0
    assert left(replace(looking, progress={"fraction": 1.0, "seconds": 60.0})) == Remaining(0.0, 0.0, 1, unended=False)


def test_what_comes_after_training_is_taken_from_runs_that_ended() -> None:
    found = left(running(1, 0.5, 60.0), peers=[done(2, 150.0, progress={"seconds": 120.0})])
    assert (found.low, found.high) == (90.0, 90.0)


def test_what_was_spent_beside_training_already_is_not_to_come_again() -> None:
    late = replace(running(1, 0.5, 60.0), started=NOW - 80.0)  # 20 s of it were no training.
    found = left(late, peers=[done(2, 150.0, progress={"seconds": 120.0})])
    assert (found.low, found.high) == (70.0, 70.0)


def test_a_queued_run_takes_as_long_as_its_variant_did() -> None:
    peers = [done(n, took) for n, took in ((1, 90.0), (2, 100.0), (3, 120.0))]
    found = left(run(4), run(5), peers=peers)
    assert (found.low, found.high, found.unmeasured) == (180.0, 240.0, 0)
    one = left(run(4), peers=peers[1:2])
    assert (one.low, one.high) == (pytest.approx(85.0), pytest.approx(115.0)), "one run does not tell the spread"


def test_another_variant_is_bracketed_and_another_experiment_tells_nothing() -> None:
    assert left(run(2, variant_id=2), peers=[done(1, 100.0)]) == Remaining(50.0, 200.0, 0)
    assert left(run(2, variant_id=2, experiment_id=7), peers=[done(1, 100.0)]) == Remaining(0.0, 0.0, 1)


def test_side_by_side_is_between_an_even_share_and_the_longest_last() -> None:
    peers = [done(n, 100.0) for n in (1, 2, 3)]
    found = left(run(4), run(5), run(6), peers=peers, jobs=2)
    assert (found.low, found.high) == (150.0, 200.0)


def test_a_run_that_takes_longer_than_all_before_is_not_foretold() -> None:
    late = run(4, status="running", phase="evaluating", started=NOW - 500.0, progress={"fraction": 1.0})
    assert left(late, peers=[done(1, 100.0)]) == Remaining(0.0, 0.0, 1)


def test_words_say_what_is_missing() -> None:
    def span(seconds: float) -> str:
        return f"{seconds:.0f} s"

    assert words(Remaining(10, 20), span) == "10 s to 20 s left"
    assert words(Remaining(10.1, 10.2), span) == "about 10 s left"
    assert words(Remaining(10, 20, 2), span) == "at least 10 s left, and 2 runs of which nothing was measured yet"
