"""Counters of energy on made-up hardware: what is added, what runs over, what cannot be read, and how sure the figure is."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from engines import energy, meters, probes
from engines.energy import Tally
from engines.meters import NotMeasurable, Rapl

RANGE = 1_000_000


def counter(folder: Path, path: str, name: str, value: int) -> Path:
    made = folder / path
    made.mkdir(parents=True)
    (made / "name").write_text(f"{name}\n")
    (made / "max_energy_range_uj").write_text(f"{RANGE}\n")
    (made / "energy_uj").write_text(f"{value}\n")
    return made / "energy_uj"


@pytest.fixture
def powercap(tmp_path: Path) -> Path:
    """Two packages, one with memory and cores, and what counts them again."""
    for path, name in (
        ("intel-rapl:0", "package-0"), ("intel-rapl:0:0", "core"), ("intel-rapl:0:1", "dram"), ("intel-rapl:1", "package-1"),
        ("intel-rapl:2", "psys"), ("intel-rapl-mmio:0", "package-0"),
    ):  # fmt: skip
        counter(tmp_path, path, name, 100)
    return tmp_path


def set_to(folder: Path, **values: int) -> None:
    for path, value in values.items():
        (folder / path.replace("_", ":").replace("rapl", "intel-rapl") / "energy_uj").write_text(str(value))


def test_packages_and_memory_are_added_and_nothing_is_counted_twice(powercap: Path) -> None:
    meter = Rapl(powercap)
    assert meter.joules() == 0
    set_to(powercap, rapl_0=300_100, rapl_0_0=999_999, rapl_0_1=20_100, rapl_1=1_100, rapl_2=999_999)
    assert meter.joules() == pytest.approx(0.321)
    assert "dram, package-0, package-1" in meter.scope


def test_a_counter_that_begins_anew_goes_on(powercap: Path) -> None:
    meter = Rapl(powercap)
    for value in (900_000, 100, 900_000, 99):
        set_to(powercap, rapl_0=value)
        meter.joules()
    # 100 -> 900,000 -> (over) 100 -> 900,000 -> (over) 99: twice around but one step.
    assert meter.joules() == pytest.approx((2 * (RANGE + 1) - 1) / 1e6)


def test_what_cannot_be_read_says_why(tmp_path: Path, powercap: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(NotMeasurable, match=r"no RAPL counters \(.*none does not exist\)"):
        Rapl(tmp_path / "none")
    (tmp_path / "empty").mkdir()
    with pytest.raises(NotMeasurable, match="the processor has no RAPL counter"):
        Rapl(tmp_path / "empty")
    (powercap / "intel-rapl:1" / "energy_uj").write_text("nonsense")
    with pytest.raises(NotMeasurable, match="does not answer"):
        Rapl(powercap)

    def refuse(self: Path, *arguments: object, **options: object) -> str:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_text", refuse)
    with pytest.raises(NotMeasurable, match="readable for root alone"):
        meters._domain(powercap / "intel-rapl:0")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root reads everything")
def test_a_counter_for_root_alone(powercap: Path) -> None:
    (powercap / "intel-rapl:0" / "energy_uj").chmod(0)
    with pytest.raises(NotMeasurable, match="readable for root alone"):
        Rapl(powercap)


class Bench:
    """A device with a clock: its power can be set, its counter moves every `interval` seconds."""

    scope = "bench"

    def __init__(self, interval: float = 0.1) -> None:
        self.now, self.watts, self.used, self.interval, self.busy = 0.0, 50.0, 0.0, interval, 0.0
        self.shown = 0.0
        self.broken = False

    def sleep(self, seconds: float) -> None:
        """Time passes in steps that hit every move of the counter."""
        end = self.now + seconds
        while self.now < end - 1e-12:
            move = (int(self.now / self.interval + 1e-9) + 1) * self.interval
            step = min(move, end) - self.now
            self.now += step
            self.used += step * self.watts
            if self.now >= move - 1e-12:
                self.shown = self.used

    def clock(self) -> float:
        return self.now

    def joules(self) -> float:
        if self.broken:
            raise NotMeasurable("it fell silent")
        return self.shown

    def busy_percent(self) -> float:
        return self.busy


def rested(bench: Bench) -> Tally:
    return Tally(bench, energy.rest(bench, clock=bench.clock, sleep=bench.sleep), clock=bench.clock)


@pytest.mark.parametrize("phase", [0.0, 0.03, 0.07])
def test_idle_is_subtracted_and_the_bounds_hold_the_truth(phase: float) -> None:
    bench = Bench()
    bench.sleep(phase)
    tally = rested(bench)
    for window in range(3):
        bench.watts = 250.0
        tally.start(window * 1000)
        bench.sleep(2.345)
        tally.stop((window + 1) * 1000)
        bench.watts = 50.0
        bench.sleep(0.77)  # a pause that is not counted
    found = tally.figure()
    assert found.idle.interval == pytest.approx(0.1, abs=0.002)
    truth = 200.0 * 3 * 2.345
    assert abs(found.above_idle - truth) <= found.uncertainty
    assert found.uncertainty < 0.15 * truth
    assert found.joules_per_token == pytest.approx(found.above_idle / 3000)
    assert (found.windows, found.tokens) == (3, 3000)


def test_too_short_too_little_or_silent_is_no_figure() -> None:
    bench = Bench()
    tally = rested(bench)
    tally.start(0)
    bench.sleep(1.0)
    tally.stop(10)
    with pytest.raises(NotMeasurable, match=r"it took 1.0 s, and a window needs 2 s"):
        tally.figure()
    tally.start(10)
    bench.sleep(3.0)
    tally.stop(20)
    with pytest.raises(NotMeasurable, match="cannot tell from"):
        tally.figure()
    bench.broken = True
    tally.start(20)
    tally.note()
    tally.stop(30)
    with pytest.raises(NotMeasurable, match="it fell silent"):
        tally.figure()


def test_a_window_without_work_is_left_out() -> None:
    bench = Bench()
    tally = rested(bench)
    tally.start(5)
    bench.sleep(5.0)
    tally.stop(5)
    tally.stop(9)
    with pytest.raises(NotMeasurable, match=r"it took 0.0 s"):
        tally.figure()


def test_long_windows_are_read_often_enough_for_a_counter_that_runs_over(powercap: Path) -> None:
    bench = Bench()
    idle = energy.rest(bench, clock=bench.clock, sleep=bench.sleep)
    tally = Tally(Rapl(powercap), idle, clock=bench.clock)
    set_to(powercap, rapl_0=100)
    tally.start(0)
    for value in (600_000, 200_000, 800_000, 400_000):  # on, over, on, over
        bench.sleep(energy.NOTE_SECONDS + 1)
        set_to(powercap, rapl_0=value)
        tally.note()
    tally.stop(1)
    assert tally._joules == pytest.approx((400_000 - 100 + 2 * (RANGE + 1)) / 1e6)


def test_a_counter_that_stands_still_or_others_at_work_are_no_idle_power() -> None:
    bench = Bench(interval=0.4)
    with pytest.raises(NotMeasurable, match="fewer than three times"):
        energy.rest(bench, clock=bench.clock, sleep=bench.sleep)
    bench = Bench()
    bench.busy = 40.0
    with pytest.raises(NotMeasurable, match="other work used 40% of the device"):
        energy.rest(bench, clock=bench.clock, sleep=bench.sleep)


class Nvml:
    """One GPU whose driver knows these calls alone."""

    class NVMLError(Exception):
        pass

    def __init__(self, millijoules: int | None) -> None:
        self.millijoules = millijoules

    def nvmlDeviceGetTotalEnergyConsumption(self, handle: object) -> int:
        if self.millijoules is None:
            raise self.NVMLError("Not Supported")
        return self.millijoules


def gpus(nvml: Nvml) -> probes.Gpus:
    made = probes.Gpus()
    made._nvml, made._handles, made.found = nvml, ["handle"], [probes.Gpu(0, "card", 1000.0, "1", "9.0")]
    return made


def test_a_gpu_counts_millijoules_from_when_the_meter_was_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    nvml = Nvml(5_000_000)
    meter = meters.meter_of("cuda:0", gpus(nvml))
    nvml.millijoules = 5_002_500
    assert meter.joules() == pytest.approx(2.5)
    nvml.millijoules = None
    with pytest.raises(NotMeasurable, match="stopped answering"):
        meter.joules()
    with pytest.raises(NotMeasurable, match="no energy counter"):
        meters.meter_of("cuda", gpus(nvml))


def test_every_device_is_counted_or_says_why_not(tmp_path: Path, powercap: Path) -> None:
    assert energy.survey(gpus(Nvml(1)), powercap) == [
        ("cpu", True, "counted by processor (dram, package-0, package-1; RAPL)"),
        ("gpu 0", True, "counted by GPU 0 alone, without its host (NVML)"),
    ]
    (cpu, counted, why), (gpu, *_) = energy.survey(gpus(Nvml(None)), tmp_path / "none")
    assert (cpu, counted, gpu) == ("cpu", False, "gpu 0")
    assert why.startswith("not measurable on this machine: this system has no RAPL counters")
    with pytest.raises(NotMeasurable, match="no energy counter for the device mps"):
        meters.meter_of("mps")
