"""What is measured from outside, held against what is known."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from engines import probes


def test_resident_memory_of_another_process() -> None:
    code = "data = bytearray(b'x') * 100_000_000; print('ready', flush=True); input()"
    child = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert child.stdout is not None
        child.stdout.readline()
        assert 95 < probes.resident_mib(child.pid) < 160
    finally:
        child.kill()
        child.communicate()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux resets the high-water mark")
def test_the_peak_is_of_the_phase_after_a_reset() -> None:
    code = """
from engines import probes
def phase(mib):
    block = bytearray(b'x') * (mib * 2**20)
    return len(block)
phase(200)
before = probes.peak_resident_mib()
assert probes.reset_peak()
phase(50)
print(before, probes.peak_resident_mib())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    before, after = map(float, done.stdout.split())
    assert before > 200
    assert 50 < after < before - 100


def test_facts_do_not_change_and_name_what_matters() -> None:
    facts = probes.machine_facts()
    assert probes.fingerprint(facts) == probes.fingerprint(probes.machine_facts())
    assert facts["cores"] >= 1
    assert facts["memory_mib"] > 100
    assert facts["cpu"]
    assert facts["versions"]["torch"]
    assert probes.fingerprint(facts | {"memory_mib": 1}) != probes.fingerprint(facts)


def test_probing_imports_no_torch() -> None:
    code = "import sys; from engines import probes; probes.machine_facts(); probes.load_facts(); print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "False"


def test_a_process_is_its_pid_and_its_start() -> None:
    own = os.getpid()
    assert probes.is_alive(own, probes.started(own))
    assert not probes.is_alive(own, probes.started(own) - 50)
    child = subprocess.Popen([sys.executable, "-c", ""])
    began = probes.started(child.pid)
    child.wait()
    assert not probes.is_alive(child.pid, began)


@pytest.mark.parametrize(("name", "text"), [("memory.events", "low 0\noom 3\noom_kill 2\n"), ("memory.oom_control", "under_oom 0\noom_kill 2\n")])
def test_out_of_memory_kills_of_a_control_group_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, text: str) -> None:
    before = probes.out_of_memory_kills()
    (tmp_path / name).write_text(text)
    known = probes._memory_events()
    monkeypatch.setattr(probes, "_memory_events", lambda: [*known, tmp_path / name])
    assert probes.out_of_memory_kills() == before + 2


def test_devices_without_a_driver_are_none() -> None:
    gpus = probes.Gpus()
    if gpus.found:
        pytest.skip("there is a GPU")
    assert gpus.index_of("cuda") is None
    assert gpus.used_mib(0) is None


def test_cuda_devices_are_found_among_the_visible_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    gpus = probes.Gpus()
    gpus.found = [probes.Gpu(i, "card", 1000.0, "1", "9.0") for i in range(4)]
    assert gpus.index_of("cuda:1") == 1
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,3")
    assert gpus.index_of("auto") == 2
    assert gpus.index_of("cuda:1") == 3
    assert gpus.index_of("cuda:2") is None
    assert gpus.index_of("cpu") is None


@pytest.mark.gpu
def test_gpu_memory_is_the_drivers() -> None:
    import torch

    gpus = probes.Gpus()
    index = gpus.index_of("cuda")
    assert index is not None
    before = gpus.used_mib(index)
    block = torch.empty(512 * 2**20, dtype=torch.uint8, device="cuda")
    after = gpus.used_mib(index)
    assert before is not None
    assert after is not None
    assert after - before >= 500
    del block
