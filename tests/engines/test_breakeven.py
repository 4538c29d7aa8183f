"""The break-even densities of a machine: of the newest whole study that has some, for the device and threads that are asked for."""

from __future__ import annotations

from typing import Any

from engines import breakeven
from engines.store import commands


def measured(store: Any, machine: str, *rows: dict[str, Any], status: str = "done") -> None:
    number = commands.begin_study(store, "studies/theirs", {}, commands.put_machine(store, machine, {}), "here", 1, 1.0)
    commands.finish_study(store, number, status, result={"break_even": list(rows)} if status == "done" else None)


def row(device: str = "cpu", threads: int = 1, **more: Any) -> dict[str, Any]:
    return {"device": device, "threads": threads, "density": 0.1} | more


def test_the_newest_of_this_machine_and_setting(store):
    assert breakeven.stored(store, "mine", "cpu", 1) == []
    measured(store, "mine", row(density=0.1))
    measured(store, "mine", row(density=0.2), row(threads=2, density=0.3), row("cuda", 0, density=0.4))
    measured(store, "other", row(density=0.9))
    measured(store, "mine", row(density=0.9), status="failed")
    measured(store, "mine")
    assert [each["density"] for each in breakeven.stored(store, "mine", "cpu", 1)] == [0.2]
    assert [each["density"] for each in breakeven.stored(store, "mine", "cpu", 2)] == [0.3]
    assert [each["density"] for each in breakeven.stored(store, "mine", "cuda:0", 4)] == [0.4]
    assert breakeven.stored(store, "mine", "cpu", 3) == []
