"""The machine view: facts, the load now, other machines of the store, the doctor."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from PySide6.QtWidgets import QLabel
from pytestqt.qtbot import QtBot

from engines import peaks, probes
from engines.store import commands
from engines.store.database import Store
from workbench.desk import Desk
from workbench.surveying import looks
from workbench.views.machine import MachineView

FINDINGS = [
    {"name": "python", "state": "ok", "text": "3.11"},
    {"name": "gpu", "state": "note", "text": "no NVIDIA driver answers"},
    {"name": "torch", "state": "broken", "text": "not installed"},
]


PEAKS = {
    "device": "cpu", "threads": 1, "flops_per_s": {"float32": 9.1e10, "bfloat16": 2.4e11}, "bytes_per_s": 1.15e10, "launch_us": 3.4,
    "measured": 1.76e9, "load_percent": 30.0,
}  # fmt: skip


@pytest.fixture(autouse=True)
def no_peaks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cache folder without peaks of an earlier test."""
    monkeypatch.setenv("WORKBENCH_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def view(qtbot: QtBot, desk: Desk, store_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[MachineView]:
    """Its doctor is a program that answers at once; the real one is tested with the command line."""
    desk.set_store(Store.open(store_url))
    made = MachineView(desk)
    qtbot.addWidget(made)
    answer = json.dumps({"ok": False, "findings": FINDINGS})
    start = made.doctor.start
    monkeypatch.setattr(made.doctor, "start", lambda _arguments: start(["-c", f"import sys; print({answer!r}); sys.exit(1)"]))
    made.resize(1180, 740)
    yield made
    made.leave()


def words(view: MachineView) -> str:
    return "\n".join(found.text() for found in view.findChildren(QLabel) if not found.isHidden())


def test_facts_load_and_findings(qtbot: QtBot, view: MachineView) -> None:
    view.show()
    qtbot.waitUntil(lambda: bool(view.findings.shown) and bool(view.verdict.text()), timeout=20_000)
    facts = probes.machine_facts()
    text = words(view)
    assert facts["cpu"] in text
    assert f"{facts['memory_mib']:,} MiB" in text
    assert probes.fingerprint(facts) in text
    assert [finding["name"] for finding in view.findings.shown] == ["torch", "gpu", "python"]
    assert "1 thing does not work." in text
    assert len(view.percent.trace.values) >= 1
    qtbot.waitUntil(lambda: bool(view.counters.shown), timeout=20_000)
    assert "counted by" in view.counters.shown[0]["text"] or "not measurable on this machine: " in view.counters.shown[0]["text"]


def test_it_looks_only_while_it_is_shown(qtbot: QtBot, view: MachineView) -> None:
    view.show()
    qtbot.waitUntil(lambda: bool(view.state), timeout=20_000)
    assert view._timer.isActive()
    view.hide()
    assert not view._timer.isActive()


def test_peaks_are_shown_and_measured(qtbot: QtBot, view: MachineView, monkeypatch: pytest.MonkeyPatch) -> None:
    view.show()
    qtbot.waitUntil(lambda: "Never measured on this machine" in view.peaks.words.text(), timeout=20_000)
    asked: list[list[str]] = []
    start = view.peaks.program.start

    def play(arguments: list[str]) -> None:
        asked.append(arguments)
        peaks.keep(probes.fingerprint(probes.machine_facts()), PEAKS)
        start(["-c", "import sys; print('Measuring cpu, 1 thread ...', file=sys.stderr)"])

    monkeypatch.setattr(view.peaks.program, "start", play)
    view.peaks.button.click()
    assert view.peaks.button.text() == "Stop"
    qtbot.waitUntil(lambda: bool(view.peaks.table.figures.rows), timeout=20_000)
    assert asked == [["-m", "workbench", "doctor", "--measure"]]
    assert view.peaks.button.text() == "Measure"
    model = view.peaks.table.figures
    assert [model.index(0, column).data() for column in range(7)] == ["cpu, 1 thread", "91", "240", "–", "–", "11.5", "3.40"]
    assert "other work used 30% of the machine" in view.peaks.words.text()


def test_other_machines_differ_in_words(qtbot: QtBot, view: MachineView, desk: Desk) -> None:
    facts = probes.machine_facts()
    assert desk.store is not None
    commands.put_machine(desk.store, probes.fingerprint(facts), facts)
    commands.put_machine(desk.store, "0" * 16, {**facts, "host": "elsewhere", "versions": {**facts["versions"], "torch": "1.0"}})
    view.show()
    qtbot.waitUntil(lambda: "elsewhere" in words(view), timeout=20_000)
    assert "this machine as it is now" in words(view)
    assert "differs in torch 1.0." in words(view)


@pytest.mark.parametrize(
    ("state", "kind", "said"),
    [
        ({"machine_percent": 3.0, "load_1": 0.1, "timing": False}, "ok", "Quiet: 3% in use"),
        ({"machine_percent": 3.0, "load_1": 1.4, "timing": False}, "warning", "load average 1.4 on 2 cores"),
        ({"machine_percent": 80.0, "load_1": 0.1, "timing": False}, "warning", "80% in use"),
        ({"machine_percent": 80.0, "load_1": 0.1, "timing": True}, "info", "timing session holds the machine"),
        ({"machine_percent": 3.0, "load_1": 0.1, "timing": False, "slowed": True}, "warning", "is being slowed down"),
    ],
)
def test_whether_it_is_a_good_moment(state: dict[str, Any], kind: str, said: str) -> None:
    found, sentence = looks.verdict(state, 2)
    assert found == kind
    assert said in sentence


def test_throttling_in_words() -> None:
    assert looks.throttling({}) == "Whether the processor is slowed down cannot be read here."
    found = looks.throttling({"throttle_count": 0, "quota_count": 12})
    assert found == "Slow-downs of the processor since it started: by heat none, by the limit of its container 12."


def test_a_counter_that_rises_between_two_looks_is_throttling(monkeypatch: pytest.MonkeyPatch) -> None:
    lookout = looks.Lookout()
    counts = iter([7, 7, 9])
    monkeypatch.setattr("engines.machinestate.Observer.processor", lambda _self: {"throttle_count": next(counts)})
    assert [lookout.now()["slowed"] for _ in range(3)] == [False, False, True]


def test_what_a_gpu_does_not_say_is_absent() -> None:
    assert looks.gpu_words({}) == ""
    assert looks.gpu_words({"busy_percent": 40.0, "clock_mhz": 1500.0, "throttled": 1.0}) == "40% busy, 1,500 MHz, slowed down by heat or power"


def test_figures_of_a_gpu_leave_out_what_the_driver_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    class Refused(Exception):
        pass

    def refuse(*_: object) -> float:
        raise Refused

    gpus = probes.Gpus()
    gpus._handles = [object()]
    gpus._nvml = SimpleNamespace(
        NVMLError=Refused, NVML_TEMPERATURE_GPU=0, NVML_CLOCK_SM=0, nvmlClocksThrottleReasonSwThermalSlowdown=32,
        nvmlClocksThrottleReasonHwSlowdown=8, nvmlClocksThrottleReasonSwPowerCap=4, nvmlDeviceGetPowerUsage=refuse,
        nvmlDeviceGetMemoryInfo=lambda _handle: SimpleNamespace(used=3 * probes.MIB), nvmlDeviceGetTemperature=refuse,
        nvmlDeviceGetUtilizationRates=lambda _handle: SimpleNamespace(gpu=40), nvmlDeviceGetClockInfo=lambda *_: 1500,
        nvmlDeviceGetCurrentClocksThrottleReasons=lambda _handle: 4,
    )  # fmt: skip
    assert gpus.figures(0) == {"used_mib": 3.0, "busy_percent": 40.0, "clock_mhz": 1500.0, "throttled": 1.0}
    assert gpus.figures(1) == {}
