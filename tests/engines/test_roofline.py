"""The roofline's closed forms, and peaks as they are kept."""

from __future__ import annotations

from pathlib import Path

import pytest

from engines import peaks, roofline

MACHINE = {"device": "cpu", "threads": 1, "flops_per_s": {"float32": 100e9, "bfloat16": 400e9}, "bytes_per_s": 10e9, "launch_us": 2.0}
RIDGE = 10.0
"""Operations a byte at which 100 GFLOP/s and 10 GB/s meet."""


@pytest.mark.parametrize(
    ("flops", "bytes", "launches", "bound"),
    [
        (1e9, 1e9 / (2 * RIDGE), 1, "compute"), (1e9, 2e9 / RIDGE, 1, "memory"), (0.0, 1e6, 1, "memory"), (1e3, 1e3, 1, "launch"),
        (1e9, 1e6, 6000, "launch"),
    ],
)  # fmt: skip
def test_the_bound_is_what_takes_longest(flops: float, bytes: float, launches: float, bound: str) -> None:
    least = max(flops / 100e9, bytes / 10e9)
    found = roofline.attained(flops, bytes, 1e3 * 2 * least, launches, MACHINE)
    assert found.bound == bound
    assert found.attainable_share == pytest.approx(0.5)
    assert found.flops_per_s == pytest.approx(flops / (2 * least))
    if flops:
        # The same by equation (2): attained over the lower of the two roofs.
        assert found.intensity is not None
        assert found.attainable_share == pytest.approx(found.flops_per_s / min(100e9, found.intensity * 10e9))


def test_a_format_has_its_own_roof_and_an_unmeasured_one_that_of_float32() -> None:
    assert roofline.attained(1e9, 1, 10, 1, MACHINE, "bfloat16").attainable_share == pytest.approx(0.25)
    assert roofline.attained(1e9, 1, 10, 1, MACHINE, "float16").attainable_share == pytest.approx(1.0)


def test_a_time_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="must be above 0"):
        roofline.attained(1.0, 1.0, 0.0, 1, MACHINE)


def test_rows_add_times_leave_out_what_was_not_timed_and_say_when_data_is_waited_for() -> None:
    layers = [
        {"name": "a", "flops": 3e9, "bytes": 1e6, "forward_ms": 20.0, "backward_ms": 40.0, "calls": 1},
        {"name": "a.inner", "flops": 1e9, "bytes": 1e6, "ms": 20.0, "calls": 1},
        {"name": "b", "flops": 0.0, "bytes": 1e8, "ms": 20.0, "calls": 1, "operators": 3},
        {"name": "idle", "flops": 1.0, "bytes": 1.0, "forward_ms": None, "backward_ms": 0.0, "calls": 0},
    ]
    found = {row["name"]: row for row in roofline.rows(layers, MACHINE, step_ms={"median": 300.0, "data": 200.0})}
    assert list(found) == ["a", "a.inner", "b", "step"]
    assert (found["a"]["bound"], found["a"]["attainable_share"]) == ("compute", pytest.approx(0.5))
    assert (found["b"]["bound"], found["b"]["intensity"]) == ("memory", 0.0)
    assert (found["step"]["bound"], found["step"]["flops"]) == ("data", 4e9)
    bare = roofline.rows(layers, None, step_ms={"median": 80.0, "data": 1.0})
    assert [row["name"] for row in bare] == ["a", "a.inner", "b"]
    assert all("bound" not in row and row["flops_per_s"] >= 0 for row in bare)


def test_peaks_are_kept_for_each_device_and_number_of_threads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORKBENCH_CACHE", str(tmp_path))
    assert peaks.stored("m", "cpu", 1) is None
    peaks.keep("m", MACHINE)
    peaks.keep("m", MACHINE | {"threads": 2, "launch_us": 3.0})
    peaks.keep("m", MACHINE | {"device": "cuda:0", "threads": 4})
    assert peaks.stored("m", "cpu", 1) == MACHINE
    assert (peaks.stored("m", "cpu", 2) or {})["launch_us"] == 3.0
    assert (peaks.stored("m", "cuda", 1) or {})["device"] == "cuda:0"
    assert peaks.stored("another", "cpu", 1) is None
    assert len(peaks.every("m")) == 3
    (tmp_path / "peaks" / "m.json").write_text("{", encoding="utf-8")
    assert peaks.every("m") == []
