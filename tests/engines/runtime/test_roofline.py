"""Peaks as they are measured, on this machine, shortened; and the command that stores them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from engines import cli, peaks, probes
from engines.console import doctor
from engines.runtime import roofline


@pytest.fixture
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(roofline, "SECONDS", 0.02)
    monkeypatch.setattr(roofline, "LARGEST_ARRAY_MIB", 8)
    monkeypatch.setattr(roofline, "LARGEST_PRODUCT", {"cpu": 256})


@pytest.mark.slow
@pytest.mark.usefixtures("_short")
def test_peaks_are_plausible_and_say_what_they_rest_on() -> None:
    threads = torch.get_num_threads()
    try:
        found = roofline.measure(torch.device("cpu"), 1)
    finally:
        torch.set_num_threads(threads)
    assert (found["device"], found["threads"]) == ("cpu", 1)
    # From a slow core to a large server.
    assert 1e8 < found["flops_per_s"]["float32"] < 1e14
    assert 1e8 < found["bytes_per_s"] < 1e13
    assert 0.05 < found["launch_us"] < 1000
    assert {"float32", "bytes_per_s", "launch_us"} <= set(found["spread"])
    assert all(spread >= 0 for spread in found["spread"].values())
    assert 0 <= found["load_percent"] <= 100


def test_a_format_without_a_product_is_absent(monkeypatch: pytest.MonkeyPatch) -> None:
    def none(name: str, size: int, device: torch.device) -> None:
        raise NotImplementedError

    monkeypatch.setattr(roofline, "_product", none)
    clock = roofline.Clock(torch.device("cpu"))
    assert roofline._products("float16", clock) is None
    assert clock.spread == {}


@pytest.mark.slow
def test_the_command_measures_stores_and_shows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("WORKBENCH_CACHE", str(tmp_path))
    assert cli.main(["doctor", "--threads", "1"]) == 2
    assert "never measured here" in doctor._peaks()[0].text
    assert cli.main(["doctor", "--measure", "--device", "cpu", "--threads", "1", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["machine"] == probes.fingerprint(probes.machine_facts())
    assert peaks.stored(told["machine"], "cpu", 1) == told["peaks"][0]
    assert "GB/s" in doctor._peaks()[0].text
    assert cli.main(["doctor", "--measure", "--device", "cuda:77"]) == 1
    assert "cuda:77" in capsys.readouterr().err
