"""Limits of targets against figures: which figure judges where, what is said, and what was not measured."""

from __future__ import annotations

import pytest

from engines.limits import held_against


def result(value, low=None, high=None):
    return {"value": value, "low": low, "high": high}


CPU = {"name": "one core", "device": "cpu", "max_memory": 300.0, "max_latency_ms": 2.0}


def test_values_at_the_limit_are_within_and_above_it_are_not():
    within = {"memory/infer_peak_host_mib@one core": result(300.0), "latency/p95_ms@one core": result(2.0)}
    assert held_against([CPU], within) == ([], [])
    beyond = {"memory/infer_peak_host_mib@one core": result(300.1), "latency/p95_ms@one core": result(2.5)}
    exceeded, unchecked = held_against([CPU], beyond)
    assert unchecked == []
    assert exceeded == [
        'Peak memory 300.1 MiB is over max_memory = 300 of target "one core".',
        '95th percentile of latency 2.5 ms is over max_latency_ms = 2 of target "one core".',
    ]


def test_an_interval_that_includes_the_limit_is_said():
    exceeded, _ = held_against([CPU | {"max_memory": None}], {"latency/p95_ms@one core": result(2.1, 1.9, 2.3)})
    assert exceeded[0].endswith('max_latency_ms = 2 of target "one core"; its interval, 1.9 to 2.3, includes the limit.')
    exceeded, _ = held_against([CPU | {"max_memory": None}], {"latency/p95_ms@one core": result(2.2, 2.1, 2.3)})
    assert "includes" not in exceeded[0]


@pytest.mark.parametrize("device", ["cuda:1", "auto"])
def test_a_gpu_is_held_to_its_own_memory(device):
    target = {"name": "gpu", "device": device, "max_memory": 300.0}
    results = {"memory/infer_peak_host_mib@gpu": result(900.0), "memory/infer_peak_device_mib@gpu": result(200.0)}
    assert held_against([target], results) == ([], [])
    results["memory/infer_peak_device_mib@gpu"] = result(400.0)
    assert held_against([target], results)[0] == ['Peak device memory 400 MiB is over max_memory = 300 of target "gpu".']


def test_what_was_not_measured_is_not_within():
    other = {"memory/infer_peak_host_mib@two cores": result(900.0), "latency/p95_ms": result(900.0)}
    exceeded, unchecked = held_against([CPU], other)
    assert exceeded == []
    assert unchecked[0] == 'max_memory = 300 of target "one core" is not checked: its peak memory was not measured.'
    assert len(unchecked) == 2
    assert held_against([{"name": "x"}], {}) == ([], [])
