"""Timing of cells against a clock that the cells themselves move: order, pairing, stopping, memory, disagreement."""

from __future__ import annotations

import random

import pytest
import torch

from engines.api import Cell, Group
from engines.runtime import outcome, rounds
from engines.runtime.rounds import MOST_ROUNDS, Rounds, Stopped, StudyError

pytestmark = pytest.mark.slow


class Clock:
    """Seconds that only the timed callables move."""

    def __init__(self) -> None:
        self.now = 0.0
        self.calls: list[str] = []

    def __call__(self) -> float:
        return self.now

    def cell(self, curve, seconds, *, value=1.0, **fields):
        """A cell whose calls take `seconds` (a number, or a function without arguments)."""

        def call():
            self.calls.append(curve)
            self.now += seconds() if callable(seconds) else seconds
            return torch.full((2,), value)

        return Cell(curve, lambda shared: call, **fields)


def timed(clock, *groups, seconds=1.0, room=1e12, **options):
    made = Rounds(seconds, clock=clock, room=lambda device: room, **options)
    return list(made.run(groups)), made.left


def test_known_times_come_out_and_steady_ones_end_early():
    clock = Clock()
    found, left = timed(clock, Group(4.0, (clock.cell("slow", 0.003), clock.cell("fast", 0.001, work=10.0))))
    (times,) = found
    assert left == []
    assert times.seconds["slow"] == pytest.approx([0.003] * 8)
    assert times.seconds["fast"] == pytest.approx([0.001] * 8)
    assert times.repeats == {"slow": 1, "fast": 1}
    figures = outcome.Figures(found)
    faster = figures.speedup("fast", "slow", 4.0)
    assert (faster.value, faster.low, faster.high, faster.n) == (pytest.approx(3), pytest.approx(3), pytest.approx(3), 8)
    assert figures.rate("fast", 4.0).value == pytest.approx(10_000)
    assert figures.rate("slow", 4.0) is None


def test_short_calls_fill_a_window_which_is_shorter_than_a_slice_of_the_system():
    clock = Clock()
    (times,) = timed(clock, Group(1.0, (clock.cell("short", 1e-6), clock.cell("longer", 2e-4))))[0]
    assert 480 <= times.repeats["short"] <= 520
    assert times.repeats["longer"] == 3
    assert times.seconds["short"] == pytest.approx([1e-6] * 8)


def test_the_order_within_rounds_is_random_and_each_has_one_turn():
    clock = Clock()
    noise = random.Random(1)
    cells = [clock.cell(name, lambda: noise.uniform(0.006, 0.02)) for name in "abc"]
    timed(clock, Group(1.0, tuple(cells)), seconds=100)
    turns = clock.calls[-2 * 3 * MOST_ROUNDS :]  # in each turn one call that is not timed, and one that is
    order = [tuple(turns[i : i + 6 : 2]) for i in range(0, len(turns), 6)]
    assert all(sorted(each) == ["a", "b", "c"] for each in order)
    assert len(set(order)) == 6
    assert len(order) == MOST_ROUNDS, "noise keeps it going"


def test_drift_moves_seconds_and_leaves_the_ratio():
    clock = Clock()
    group = Group(1.0, (clock.cell("one", lambda: 0.010 * (1 + clock.now)), clock.cell("other", lambda: 0.005 * (1 + clock.now))))
    found, _ = timed(clock, group, seconds=2.0)
    assert found[0].seconds["one"][-1] > 2 * found[0].seconds["one"][0]
    ratio = outcome.Figures(found).speedup("other", "one", 1.0)
    assert ratio.low <= 2.0 <= ratio.high
    assert ratio.high / ratio.low < 1.1


def test_time_ends_it_and_few_rounds_have_no_interval():
    clock = Clock()
    found, _ = timed(clock, Group(1.0, (clock.cell("long", 0.5),)), seconds=1.2)
    assert len(found[0].seconds["long"]) == 3
    estimate = outcome.Figures(found).seconds("long", 1.0)
    assert (estimate.value, estimate.low, estimate.high, estimate.n) == (pytest.approx(0.5), None, None, 3)


def test_sizes_that_would_take_too_long_are_left_out_with_a_sentence():
    clock = Clock()
    groups = [Group(float(n), (clock.cell("cubic", 1e-3 * n**3, work=n**3),)) for n in (1, 2, 4, 8, 16)]
    found, left = timed(clock, *groups, seconds=0.5)
    assert [times.group.x for times in found] == [1.0, 2.0, 4.0]
    assert [(each.x, each.why.split(",")[0]) for each in left] == [(8.0, "a call would take about 0.51 s"), (16.0, "a call would take about 4.1 s")]
    assert outcome.left_out(left, outcome.Axis("size")) == [
        "cubic: left out at size 8, 16: a call would take about 0.51 s, too long for 6 of them in seconds = 0.5 (at 8)."
    ]


def test_a_far_jump_in_size_is_not_guessed():
    clock = Clock()
    small, large = clock.cell("f", 1e-3, work=1.0), clock.cell("f", 2e-3, work=1e6)
    found, left = timed(clock, Group(1.0, (small,)), Group(100.0, (large,)))
    assert len(found) == 2
    assert left == []


def test_memory_is_looked_at_before_anything_is_made():
    clock = Clock()
    made = []
    big = Group(2.0, (clock.cell("a", 0.01),), build=lambda: made.append(2), host_bytes=900)
    cells = (clock.cell("small", 0.01, host_bytes=100), clock.cell("large", 0.01, host_bytes=800))
    part = Group(1.0, cells, build=lambda: made.append(1), host_bytes=100)
    found, left = timed(clock, part, big, room=1000)
    assert made == [1]
    assert [list(times.seconds) for times in found] == [["small"]]
    assert [(each.curve, each.x) for each in left] == [("large", 1.0), ("a", 2.0)]
    assert all("host memory" in each.why for each in left)


def test_memory_that_runs_out_all_the_same_leaves_the_group_out():
    clock = Clock()

    def build():
        raise MemoryError("no room")

    found, left = timed(clock, Group(1.0, (clock.cell("a", 0.01),), build=build), Group(2.0, (clock.cell("a", 0.01),)))
    assert [times.group.x for times in found] == [2.0]
    assert left[0].why == "the memory ran out (no room)"


@pytest.mark.parametrize("late", ["build", "warm", "round"])
def test_memory_that_runs_out_late_leaves_the_group_out_and_the_study_goes_on(late):
    clock = Clock()

    def beyond():
        return torch.empty(1 << 60, dtype=torch.uint8)

    def second():
        # One call compares values, two warm up, then there are rounds.
        calls = clock.calls.count("b")
        if calls == 2 and late == "warm":
            beyond()
        if calls == 10 and late == "round":
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return 0.01

    cells = (clock.cell("a", 0.01), clock.cell("b", second))
    found, left = timed(clock, Group(1.0, cells, build=beyond if late == "build" else lambda: None), Group(2.0, (clock.cell("a", 0.01),)))
    assert [times.group.x for times in found] == [2.0]
    assert [(each.curve, each.x) for each in left] == [("a", 1.0), ("b", 1.0)]
    assert all(each.why.startswith("the memory ran out (C" if late == "round" else "the memory ran out (can't allocate") for each in left)


def test_a_cell_for_which_the_memory_runs_out_leaves_the_others_to_be_timed():
    clock = Clock()
    large = Cell("large", lambda shared: torch.empty(1 << 60, dtype=torch.uint8).sum)
    found, left = timed(clock, Group(1.0, (large, clock.cell("small", 0.01))))
    assert list(found[0].seconds) == ["small"]
    assert [each.curve for each in left] == ["large"]
    assert left[0].why.startswith("the memory ran out (")


def test_free_memory_is_what_a_container_and_torch_leave(monkeypatch):
    monkeypatch.setattr(rounds, "free_memory_mib", lambda: 3.0)
    assert rounds.free_bytes("cpu") == 3 * 2**20
    for name, value in (("mem_get_info", (100, 1000)), ("memory_reserved", 70), ("memory_allocated", 20)):
        monkeypatch.setattr(torch.cuda, name, lambda device, value=value: value)
    assert rounds.free_bytes("cuda:0") == 150


def test_what_torch_cannot_do_is_left_out_and_the_rest_goes_on():
    clock = Clock()

    def missing():
        raise NotImplementedError('"addmm" not implemented for "Half"\nand more')

    group = Group(1.0, (Cell("half", lambda shared: missing), clock.cell("whole", 0.01)))
    found, left = timed(clock, group)
    assert list(found[0].seconds) == ["whole"]
    assert left[0].why == 'torch cannot do it here ("addmm" not implemented for "Half")'


@pytest.mark.parametrize(("value", "tolerance", "refused"), [(1.01, 1e-3, True), (1.01, 0.1, False), (float("nan"), 1.0, True)])
def test_alternatives_that_compute_other_values_stop_the_study(value, tolerance, refused):
    clock = Clock()
    group = Group(3.0, (clock.cell("right", 0.01), clock.cell("wrong", 0.01, value=value)), tolerance=tolerance)
    if refused:
        with pytest.raises(StudyError, match="wrong at 3 computes other values than right: the error is"):
            timed(clock, group)
        assert len(clock.calls) == 2, "nothing was timed"
    else:
        assert len(timed(clock, group)[0]) == 1


def test_alternatives_that_share_a_buffer_are_still_compared():
    clock = Clock()
    shared = torch.zeros(3)
    cells = tuple(Cell(name, lambda _, value=value: lambda: shared.fill_(value)) for name, value in (("one", 1.0), ("two", 2.0)))
    with pytest.raises(StudyError, match="two at 1 computes other values"):
        timed(clock, Group(1.0, cells))


def test_results_of_another_shape_stop_the_study():
    cells = (Cell("one", lambda shared: lambda: torch.zeros(3)), Cell("two", lambda shared: lambda: (torch.zeros(3), torch.zeros(1))))
    with pytest.raises(StudyError, match=r"two at 1 gives other results than one: \[\(3,\), \(1,\)\] instead of \[\(3,\)\]"):
        timed(Clock(), Group(1.0, cells))


def test_it_can_be_stopped_between_turns():
    clock = Clock()

    def stop():
        if clock.now > 0.3:
            raise Stopped("enough")

    with pytest.raises(Stopped, match="enough"):
        timed(clock, Group(1.0, (clock.cell("a", 0.1),)), seconds=100, stop=stop)
    assert clock.now < 0.5


def test_progress_counts_cells_and_points_come_as_they_are_known():
    clock = Clock()
    told = []
    groups = [Group(float(n), (clock.cell("a", 0.01), clock.cell("b", 0.01))) for n in (1, 2)]
    made = Rounds(1.0, clock=clock, room=lambda device: 1e12, tell=lambda **event: told.append(event))
    first = next(made.run(groups))
    assert first.group.x == 1.0
    assert told == [{"event": "progress", "done": 0, "total": 4, "x": 1.0, "curves": ["a", "b"]}]
    list(made.run(groups))
    assert [event["done"] for event in told[1:]] == [0, 2, 4]


def test_gradients_are_off_and_threads_are_those_of_the_cell():
    seen = []

    def call():
        seen.append((torch.is_grad_enabled(), torch.get_num_threads()))
        return torch.zeros(1)

    before = torch.get_num_threads()
    try:
        list(Rounds(0.001, room=lambda device: 1e12).run([Group(1.0, (Cell("a", lambda shared: call, threads=2),))]))
    finally:
        torch.set_num_threads(before)
    assert set(seen) == {(False, 2)}


def test_rivals_are_not_compared_but_must_be_finite():
    clock = Clock()
    cells = clock.cell("one", 0.01, value=1.0), clock.cell("other", 0.01, value=2.0)
    found, _ = timed(clock, Group(1.0, cells, tolerance=None))
    assert set(found[0].seconds) == {"one", "other"}
    with pytest.raises(StudyError, match="not finite"):
        timed(clock, Group(1.0, (clock.cell("nan", 0.01, value=float("nan")),), tolerance=None))


def test_memory_is_measured_of_one_call_after_the_rounds_and_only_where_it_is_asked_for():
    clock = Clock()

    def call():
        clock.now += 0.01
        return torch.zeros(1000)

    group = Group(1.0, (Cell("zeros", lambda shared: call),))
    without, _ = timed(clock, group)
    assert without[0].memory == {}
    found, _ = timed(clock, group, memory=True)
    assert found[0].memory == {"zeros": 4000}
    figures = outcome.Figures(found)
    assert figures.memory("zeros", 1.0) == 4000
    assert outcome.Figures(without).memory("zeros", 1.0) is None
