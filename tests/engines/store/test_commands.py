"""The life of runs: submitted, claimed, worked on under a claim, ended, cancelled, resumed, lost, timed."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from engines.store import commands, queries
from engines.store.commands import ClaimLost, EffectRow, ResultRow, RoundRow, SeriesBatch
from engines.store.database import Store, StoreError
from engines.store.queries import RunRow

Submit = Callable[..., int]


# --- Submitting and claiming ----------------------------------------------------------------------------------------------------------------


def test_runs_are_queued_seed_by_seed_with_the_runs_they_need(store: Store, submit: Submit) -> None:
    experiment = submit({"teacher": [], "student": ["teacher"]}, seeds=[3, 4], smoke=True)
    rows = queries.runs(store, experiment)
    assert [(row.variant, row.seed) for row in rows] == [("teacher", 3), ("student", 3), ("teacher", 4), ("student", 4)]
    assert [row.needs for row in rows] == [(), (rows[0].id,), (), (rows[2].id,)]
    assert [row.waits for row in rows] == [False, True, False, True]
    assert all(row.status == "queued" and row.smoke and row.attempt == 0 and row.folder == f"runs/{row.id}" for row in rows)
    assert [(row.name, row.position, row.baseline, row.plan) for row in queries.variants(store, experiment)] == [
        ("teacher", 0, True, {"variant": "teacher"}),
        ("student", 1, False, {"variant": "student"}),
    ]
    assert queries.plan(store, rows[1].id) == {"variant": "student"}
    found = queries.experiment(store, experiment)
    assert (found.name, found.folder, found.document, found.deleted) == ("which?", "/data", {"experiment": {}}, None)


def test_a_need_that_is_no_variant_is_refused_whole(store: Store, submit: Submit) -> None:
    with pytest.raises(ValueError, match='"student" needs "techer"'):
        submit({"teacher": [], "student": ["techer"]})
    assert queries.experiments(store) == []


def test_claiming_takes_the_oldest_run_whose_needs_are_done(store: Store, submit: Submit, supervisor: int) -> None:
    experiment = submit({"student": ["teacher"], "teacher": []})
    student, teacher = queries.runs(store, experiment)
    first = commands.claim_run(store, supervisor)
    assert first is not None
    assert (first.id, first.status, first.attempt, first.supervisor_id) == (teacher.id, "starting", 1, supervisor)
    assert len(first.claim) == 32
    assert commands.claim_run(store, supervisor) is None, "the student waits"
    commands.finish_run(store, first.id, first.claim, "done")
    second = commands.claim_run(store, supervisor)
    assert second is not None
    assert second.id == student.id
    assert second.claim != first.claim
    assert commands.claim_run(store, supervisor) is None


def test_runs_of_a_need_that_ended_badly_fail_with_a_reason_down_the_line(store: Store, submit: Submit, supervisor: int) -> None:
    experiment = submit({"a": [], "b": ["a"], "c": ["b"], "d": []})
    first = commands.claim_run(store, supervisor)
    assert first is not None
    commands.finish_run(store, first.id, first.claim, "failed", "It broke.")
    following = commands.claim_run(store, supervisor)
    assert following is not None
    assert following.variant == "d"
    a, b, c, _ = queries.runs(store, experiment)
    assert (a.reason, b.status, c.status) == ("It broke.", "failed", "failed")
    assert b.reason == f'It needs run {a.id} of the variant "a", which failed.'
    assert c.reason == f'It needs run {b.id} of the variant "b", which failed.'


def test_a_claimed_run_carries_the_machine_of_its_supervisor(store: Store, submit: Submit) -> None:
    machine = commands.put_machine(store, "cpu-1", {"cores": 2})
    assert commands.put_machine(store, "cpu-1", {"cores": 2, "torch": "2"}) == machine
    submit({"full": []})
    claimed = commands.claim_run(store, commands.register_supervisor(store, "here", 1, 1.0, machine))
    assert claimed is not None
    assert claimed.machine_id == machine
    assert queries.machine(store, machine).facts == {"cores": 2, "torch": "2"}


# --- Working under a claim ------------------------------------------------------------------------------------------------------------------


def test_what_a_worker_reports(store: Store, run: RunRow) -> None:
    commands.set_process(store, run.id, run.claim, 99, 12.5)
    commands.set_status(store, run.id, run.claim, "running")
    commands.set_phase(store, run.id, run.claim, "training")
    commands.set_progress(store, run.id, run.claim, {"step": 3, "loss": 2.0})
    commands.set_progress(store, run.id, run.claim, {"step": 4, "host_mib": 80.5})
    found = queries.run(store, run.id)
    assert (found.status, found.pid, found.pid_started, found.phase) == ("running", 99, 12.5, "training")
    assert found.progress == {"step": 4, "loss": 2.0, "host_mib": 80.5}
    assert found.active
    assert not found.over
    assert commands.finish_run(store, run.id, run.claim, "done", "", "")
    found = queries.run(store, run.id)
    assert (found.status, found.phase, found.over) == ("done", "", True)
    assert found.ended is not None
    assert found.started is not None
    assert found.ended >= found.started >= found.queued


def test_results_effects_events_and_artifacts_come_back(store: Store, run: RunRow) -> None:
    rows = [
        ResultRow("speed/train_tokens_per_s", 100.0, "tokens/s", "higher", n=3, low=90.0, high=110.0, detail={"n": np.int64(3), "p": Path("/x")}),
        ResultRow("quality/test_perplexity", math.nan, "", "lower", detail={"bad": math.inf}),
        ResultRow("latency/p50_ms", 2.0, "ms", "lower", target="one core"),
    ]
    commands.put_results(store, run.id, run.claim, rows)
    commands.put_results(store, run.id, run.claim, [ResultRow("latency/p50_ms", 1.5, "ms", "lower", target="one core")])
    latency, quality, speed = queries.results(store, [run.id])
    assert (latency.value, latency.target, latency.run_id) == (1.5, "one core", run.id)
    assert (quality.value, quality.detail) == (None, {"bad": None})
    assert (speed.n, speed.low, speed.high, speed.detail) == (3, 90.0, 110.0, {"n": 3, "p": "/x"})

    commands.put_effects(store, run.id, run.claim, [EffectRow("pruning/magnitude", "finish", "Old.", {}), EffectRow("", "training", "9 updates.")])
    commands.put_effects(store, run.id, run.claim, [EffectRow("pruning/magnitude", "finish", f"{n} of 2.", {"zeros": n}) for n in (1, 2)])
    effects = queries.effects(store, [run.id])
    assert [(row.hook, row.sentence) for row in effects] == [("training", "9 updates."), ("finish", "1 of 2."), ("finish", "2 of 2.")]
    assert effects[2].facts == {"zeros": 2}

    for text in ("one", "two"):
        commands.put_event(store, run.id, "info", "start", text)
    first, second = queries.events(store, run.id)
    assert [row.text for row in queries.events(store, run.id, after=first.id)] == ["two"]
    assert second.time >= first.time

    for size in (5, 6):
        commands.put_artifact(store, run.id, run.claim, "model", "finished model", Path("/m"), size)
    (artifact,) = queries.artifacts(store, run.id)
    assert (artifact.path, artifact.bytes, artifact.kind, artifact.name) == ("/m", 6, "model", "finished model")


def test_nothing_is_written_without_the_claim(store: Store, run: RunRow) -> None:
    for claim in ("", "stolen"):
        for write in (
            lambda claim: commands.set_status(store, run.id, claim, "running"),
            lambda claim: commands.set_phase(store, run.id, claim, "model"),
            lambda claim: commands.set_process(store, run.id, claim, 1, 1.0),
            lambda claim: commands.set_progress(store, run.id, claim, {"step": 1}),
            lambda claim: commands.append_points(store, run.id, claim, [SeriesBatch("x", "", "none", [1], [1.0], [1.0])]),
            lambda claim: commands.truncate_points(store, run.id, claim, 0),
            lambda claim: commands.put_results(store, run.id, claim, [ResultRow("x", 1.0)]),
            lambda claim: commands.put_effects(store, run.id, claim, [EffectRow("x", "model", "")]),
            lambda claim: commands.put_artifact(store, run.id, claim, "model", "x", "/x"),
            lambda claim: commands.finish_run(store, run.id, claim, "done"),
        ):
            with pytest.raises(ClaimLost, match=f"Run {run.id}"):
                write(claim)
    assert queries.run(store, run.id) == run
    assert queries.series(store, run.id) == []
    assert queries.results(store, [run.id]) == []


def test_the_first_ending_stands_and_late_samples_still_find_their_place(store: Store, run: RunRow) -> None:
    assert commands.finish_run(store, run.id, run.claim, "done")
    assert not commands.finish_run(store, run.id, run.claim, "failed", "The worker died.")
    assert queries.run(store, run.id).status == "done"
    commands.append_points(store, run.id, run.claim, [SeriesBatch("memory/host_mib", "MiB", "lower", [1], [1.0], [1.0])])
    with pytest.raises(ClaimLost, match="has ended already"):
        commands.set_status(store, run.id, run.claim, "running")
    with pytest.raises(ValueError, match="cannot end as"):
        commands.finish_run(store, run.id, run.claim, "sleeping")


def test_a_lost_run_takes_the_claim_from_a_worker_that_still_lives(store: Store, run: RunRow) -> None:
    assert commands.mark_lost(store, run.id, "The supervisor died.")
    assert not commands.mark_lost(store, run.id, "Again.")
    found = queries.run(store, run.id)
    assert (found.status, found.reason) == ("lost", "The supervisor died.")
    with pytest.raises(ClaimLost):
        commands.append_points(store, run.id, run.claim, [SeriesBatch("x", "", "none", [1], [1.0], [1.0])])


# --- Cancelling, resuming, losing -----------------------------------------------------------------------------------------------------------


def test_cancelling_ends_queued_runs_at_once_and_asks_for_live_ones(store: Store, submit: Submit, supervisor: int) -> None:
    experiment = submit({"a": [], "b": [], "c": []})
    live = commands.claim_run(store, supervisor)
    assert live is not None
    a, b, c = (row.id for row in queries.runs(store, experiment))
    assert commands.request_cancel(store, [a, b]) == [a, b]
    assert [(row.status, row.request) for row in queries.runs(store, experiment)] == [("starting", "cancel"), ("cancelled", ""), ("queued", "")]
    commands.clear_request(store, [a])
    assert queries.run(store, a).request == ""
    assert commands.request_cancel(store, [b]) == []
    assert [row.id for row in queries.runs(store, status=["queued", "starting"])] == [a, c]


def test_resuming_queues_a_run_again_with_the_runs_it_needs(store: Store, submit: Submit, supervisor: int) -> None:
    experiment = submit({"teacher": [], "student": ["teacher"], "other": []})
    teacher, student, other = (row.id for row in queries.runs(store, experiment))
    first = commands.claim_run(store, supervisor)
    assert first is not None
    commands.set_progress(store, teacher, first.claim, {"step": 70})
    commands.finish_run(store, teacher, first.claim, "failed", "It broke.", "Mend it.")
    commands.request_cancel(store, [student, other])
    assert commands.requeue(store, [student]) == [teacher, student]
    assert commands.requeue(store, [student]) == []
    found = queries.run(store, teacher)
    assert (found.status, found.reason, found.claim, found.attempt, found.ended) == ("queued", "", "", 1, None)
    assert found.progress == {"step": 70}, "what its checkpoint is about"
    with pytest.raises(ClaimLost):
        commands.set_progress(store, teacher, first.claim, {"step": 71})
    again = commands.claim_run(store, supervisor)
    assert again is not None
    assert (again.id, again.attempt) == (teacher, 2)


def test_done_and_live_runs_are_not_resumed(store: Store, run: RunRow) -> None:
    assert commands.requeue(store, [run.id, 999]) == []
    commands.finish_run(store, run.id, run.claim, "done")
    assert commands.requeue(store, [run.id]) == []


def test_runs_of_dead_supervisors_of_this_host(store: Store, submit: Submit) -> None:
    submit({"a": [], "b": [], "c": [], "d": []})
    dead, elsewhere, own = (commands.register_supervisor(store, host, 1, 1.0) for host in ("here", "there", "here"))
    ended, left, _, _ = (commands.claim_run(store, each) for each in (dead, dead, elsewhere, own))
    assert ended is not None
    assert left is not None
    commands.finish_run(store, ended.id, ended.claim, "done")
    assert [row.id for row in commands.runs_of_dead(store, own, "here")] == [left.id]


def test_supervisors_say_that_they_live_and_leave(store: Store, supervisor: int) -> None:
    (before,) = queries.supervisors(store, alive=True)
    commands.heartbeat(store, supervisor)
    commands.end_supervisor(store, supervisor)
    (after,) = queries.supervisors(store)
    assert queries.supervisors(store, alive=True) == []
    assert after.heartbeat >= before.heartbeat
    assert after.ended is not None


# --- Timing, notes, tags --------------------------------------------------------------------------------------------------------------------


def test_timing_sessions_come_back_with_their_rounds(store: Store, submit: Submit) -> None:
    experiment = submit({"full": [], "small": []})
    full, small = (row.id for row in queries.variants(store, experiment))
    session = commands.open_timing(store, experiment, "one core", "speed/infer_tokens_per_s", {"unit": "tokens/s"})
    for n in (0, 1):
        measured = [RoundRow(full, n, 0, 10.0 + n), RoundRow(small, n, 1, math.nan), RoundRow(full, n, 2, 11.0 + n, control=True)]
        commands.put_rounds(store, session, measured)
    assert queries.rounds(store, experiment) == []
    (open_session,) = queries.rounds(store, experiment, status=None)
    assert open_session.status == "running"
    commands.close_timing(store, session, "done", {"rounds": 2})
    (found,) = queries.rounds(store, experiment)
    assert (found.target, found.quantity, found.baseline) == ("one core", "speed/infer_tokens_per_s", full)
    assert found.facts == {"unit": "tokens/s", "rounds": 2}
    assert found.values[full] == {0: 10.0, 1: 11.0}
    assert all(math.isnan(value) for value in found.values[small].values())
    assert found.control == {0: 11.0, 1: 12.0}


def test_notes_and_tags(store: Store, submit: Submit) -> None:
    experiment = submit({"full": []})
    commands.put_note(store, experiment, "Looks <odd>.")
    assert [row.text for row in queries.notes(store, experiment)] == ["Looks <odd>."]
    for _ in range(2):
        commands.set_tag(store, experiment, "star")
    assert queries.tags(store) == {experiment: ["star"]}
    commands.set_tag(store, experiment, "star", present=False)
    assert queries.tags(store) == {}


def test_rows_that_are_not_there(store: Store, submit: Submit) -> None:
    for ask in (queries.experiment, queries.run, queries.machine, queries.plan, commands.delete_experiment):
        with pytest.raises(StoreError, match=r"There is no \w+ 7 in"):
            ask(store, 7)
    assert queries.runs(store) == []
    assert queries.results(store, []) == []
