"""What the machine does beside the timed work: read, summed up, and said where it moved."""

from __future__ import annotations

import time
from pathlib import Path

import psutil
import pytest

from engines import machinestate
from engines.machinestate import Observer, disturbances, summary

CALM = [{"machine_percent": 1.0, "load_1": 0.5, "frequency_mhz": 3000.0, "throttle_count": 7} for _ in range(3)]


def test_a_state_says_what_can_be_read_and_nothing_else():
    start = time.monotonic()
    found = Observer().state(0.05)
    assert time.monotonic() - start >= 0.05
    assert 0 <= found["machine_percent"] <= 100
    assert found.keys() >= {"load_1", "memory_available_mib"}
    assert all(value is not None for value in found.values())
    assert not any(key.startswith("gpu") for key in found)
    assert Observer().gpu_free_mib() is None


def test_counters_and_clocks_come_from_the_system(tmp_path, monkeypatch):
    for core in range(2):
        folder = tmp_path / f"cpu{core}" / "thermal_throttle"
        folder.mkdir(parents=True)
        (folder / "core_throttle_count").write_text(f"{core + 3}\n", encoding="ascii")
    (tmp_path / "cpu.stat").write_text("usage_usec 5\nnr_periods 9\nnr_throttled 4\n", encoding="ascii")
    monkeypatch.setattr(machinestate, "THROTTLE_COUNTERS", tmp_path)
    monkeypatch.setattr(machinestate, "_CPU_STAT", (str(tmp_path / "nowhere"), str(tmp_path / "cpu.stat")))
    monkeypatch.setattr(psutil, "cpu_freq", lambda: type("Clock", (), {"current": 2400.0})())
    found = Observer().state(0.0)
    assert (found["throttle_count"], found["quota_count"], found["frequency_mhz"]) == (7, 4, 2400.0)
    monkeypatch.setattr(psutil, "cpu_freq", lambda: None)
    assert "frequency_mhz" not in Observer().state(0.0)


def test_free_memory_is_no_more_than_a_container_is_allowed(tmp_path, monkeypatch):
    places = [str(tmp_path / name) for name in ("memory.max", "memory.current", "memory.stat")]
    monkeypatch.setattr(machinestate, "_MEMORY_LIMITS", (places,))
    whole = psutil.virtual_memory().available / 2**20
    assert machinestate.free_memory_mib() == pytest.approx(whole, rel=0.2)
    for place, text in zip(places, (f"{40 * 2**20}\n", f"{30 * 2**20}\n", f"anon 5\ninactive_file {6 * 2**20}\n"), strict=True):
        Path(place).write_text(text, encoding="ascii")
    assert machinestate.free_memory_mib() == 16.0
    Path(places[0]).write_text("max\n", encoding="ascii")
    assert machinestate.free_memory_mib() == pytest.approx(whole, rel=0.2)


def test_a_gpu_is_described_by_its_driver_and_counts_the_others_on_it(monkeypatch):
    class Gpus:
        found = [type("Gpu", (), {"total_mib": 1000.0})()]

        def index_of(self, device):
            return 0

        def figures(self, index):
            return {"clock_mhz": 1500.0, "throttled": 1.0}

        def processes(self, index):
            return 3

        def used_mib(self, index):
            return 400.0

    monkeypatch.setattr(machinestate.probes, "Gpus", Gpus)
    observer = Observer("cuda")
    found = observer.state(0.0, own=2)
    assert (found["gpu_clock_mhz"], found["gpu_throttled"], found["gpu_processes"]) == (1500.0, 1.0, 1)
    assert observer.gpu_free_mib() == 600.0
    assert [words.split(" during")[0] for words in disturbances([found | {"machine_percent": 0.0}])] == [
        "The GPU was slowed by heat or its power limit", "1 other process used the GPU",
    ]  # fmt: skip


def test_what_rest_would_hide_is_read_before_it(monkeypatch):
    asked = []
    monkeypatch.setattr(machinestate.probes.time, "sleep", lambda seconds: asked.append("rest"))
    monkeypatch.setattr(machinestate.probes, "load_facts", lambda: asked.append("load") or {})
    monkeypatch.setattr(machinestate, "_frequency", lambda: asked.append("clock"))

    class Gpus:
        def index_of(self, device):
            return 0

        def figures(self, index):
            asked.append("gpu")
            return {}

        def processes(self, index):
            asked.append("users")
            return 0

    monkeypatch.setattr(machinestate.probes, "Gpus", Gpus)
    Observer("cuda").state(1.0)
    assert asked == ["clock", "gpu", "load", "rest", "load", "users"]


def test_a_calm_machine_is_summed_up_and_not_complained_about():
    assert disturbances(CALM) == []
    assert summary(CALM) == {"load": {"machine_percent": [1.0, 1.0, 1.0], "load_1": [0.5, 0.5, 0.5]}, "frequency": [3000.0] * 3, "throttled": 0}
    assert summary([]) == {}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"machine_percent": 15.0}, "Other work used up to 15% of the machine"),
        ({"machine_percent": 60.0}, "Other work changed during the timing, from 1% to 60% of the machine"),
        ({"frequency_mhz": 2000.0}, "The clock of the processor moved between 2,000 and 3,000 MHz"),
        ({"throttle_count": 9}, "The processor was throttled for heat 2 times"),
        ({"quota_count": 5}, ""),
        ({"gpu_clock_mhz": 900.0}, ""),
    ],
)
def test_what_moved_is_said(change, words):
    states = [*CALM[:2], CALM[2] | change]
    found = disturbances(states)
    assert len(found) == bool(words)
    assert all(sentence.startswith(words) for sentence in found)


def test_processor_time_that_ran_out_is_said():
    states = [CALM[0] | {"quota_count": 5}, CALM[1] | {"quota_count": 6}]
    assert disturbances(states) == ["The processor time allowed to this container ran out 1 time during the timing."]
    assert summary(states)["throttled"] == 1
