"""Data movement: what arrives, what is counted, and what is concluded with and without a GPU."""

from __future__ import annotations

import pytest
import torch

from plugins.studies import data_movement
from plugins.studies.data_movement import HOST_ROWS, HOST_WHOLE, DataMovement
from tests.plugins.studies.figures import every, figures


def test_rates_count_what_is_moved():
    groups = list(DataMovement(mib=[2.0], device="cpu").groups(None))
    assert [cell.work for cell in groups[0].cells] == [2.0 * 2 * 2**20] * 2
    source = groups[0].build()
    assert source.numel() * source.element_size() == 2 * 2**20
    for cell in groups[0].cells:
        assert torch.equal(cell.build(source)(), source)


def test_the_host_alone_decides_nothing_and_says_what_it_saw():
    study = DataMovement(device="cpu")
    known = every(study, lambda curve, x: 1e-3 if x is None else x * 1e-4 * (4 if curve == HOST_ROWS else 1))
    found = study.conclude(figures(list(study.groups(None)), known, stored=lambda device, threads: {"bytes_per_s": 3e10}))
    assert found.outcome == "not decided"
    assert found.reason.startswith("No GPU was measured. The host's side alone: It is faster everywhere; least at ")
    assert found.lines == {"measured peak of main memory": pytest.approx(30.0)}
    assert any(sentence.startswith(f'"{HOST_WHOLE}" is ') and "at 256 MiB" in sentence for sentence in found.findings)
    assert len(study.not_shown()) == 1


@pytest.mark.parametrize(("pinned", "outcome"), [(4e-5, "met"), (4e-4, "refuted")])
def test_with_a_gpu_copies_are_judged_there(monkeypatch, pinned, outcome):
    monkeypatch.setattr(data_movement, "cuda_of", lambda device: "cuda")
    study = DataMovement()
    bus = {"cuda, row by row": 1e-2, "cuda, pageable": 1e-4, "cuda, pinned": pinned, "cuda, in turn": 6e-5, "cuda, overlapped": 4e-5}
    found = study.conclude(figures(list(study.groups(None)), every(study, lambda curve, x: bus.get(curve, 1e-4) * (x or 1))))
    assert found.outcome == outcome
    assert any(sentence.startswith('"cuda, overlapped" is 1.5') for sentence in found.findings)
    assert any(sentence.startswith("Loop over words. Pinned, and not waited for") for sentence in found.findings)
    assert study.not_shown() == ()


@pytest.mark.gpu
def test_copies_to_the_gpu_and_beside_the_work_arrive_whole():
    shared = data_movement.blocks(64, 16)
    for mine, theirs in zip(data_movement.overlapped(shared)(), data_movement.in_turn(shared)(), strict=True):
        torch.testing.assert_close(mine, theirs)
    source = torch.randn(8, data_movement.ROW)
    for made in data_movement.TO_DEVICE.values():
        assert torch.equal(made(source)().cpu(), source)
