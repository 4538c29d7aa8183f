"""Threads: counts, where they hurt and help, and the verdict."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from engines.toolbox.studies import thread_counts
from plugins.studies import threads
from plugins.studies.threads import Threads
from tests.plugins.studies.figures import every, figures


@pytest.mark.parametrize(("cores", "counts"), [(1, (1, 2)), (2, (1, 2, 4)), (6, (1, 2, 4, 6, 12)), (8, (1, 2, 4, 8, 16))])
def test_counts_reach_beyond_the_cores(cores, counts):
    assert thread_counts(cores) == counts


def concluded(monkeypatch, waking, *, cores=2, **parameters):
    """Work shared by the cores, and `waking` seconds for every thread but the first."""
    monkeypatch.setattr(threads, "usable_cores", lambda: cores)
    study = Threads(**{"operations": ["matmul"], **parameters})

    def seconds(curve, n):
        count = int(curve.split(", ")[1].split()[0])
        return 2 * n**3 / 100e9 / min(count, cores) + waking * (count - 1)

    return study.conclude(figures(list(study.groups(None)), every(study, seconds), noise=0.002)), study


def test_small_operations_lose_and_large_ones_gain(monkeypatch):
    found, study = concluded(monkeypatch, 5e-6)
    assert found.outcome == "met"
    assert study.counts() == (1, 2, 4)
    two, four = found.findings
    assert two.startswith("matmul with 2 threads: slower than one thread at n = 8, 16, 32, 64, at worst ")
    assert "faster from n = 128 on" in two
    assert four.startswith("matmul with 4 threads (more than there are usable cores): slower")


def test_threads_that_cost_nothing_refute_it(monkeypatch):
    assert concluded(monkeypatch, 0.0)[0].outcome == "refuted"


def test_threads_that_never_help_refute_it(monkeypatch):
    assert concluded(monkeypatch, 1.0)[0].outcome == "refuted"


def test_one_core_decides_nothing(monkeypatch):
    found, study = concluded(monkeypatch, 1e-6, cores=1)
    assert found.outcome == "not decided"
    assert study.not_shown() == ("This machine has one usable core: threads can only take turns on it.",)


def test_a_peak_is_drawn_for_each_count(monkeypatch):
    monkeypatch.setattr(threads, "usable_cores", lambda: 2)
    study = Threads(threads=[1, 2])
    known = every(study, lambda curve, n: 1e-3)
    peaks = lambda device, count: {"flops_per_s": {"float32": 1e11 * count}}  # noqa: E731
    assert study.conclude(figures(list(study.groups(None)), known, stored=peaks)).lines == {
        "measured peak, 1 thread": pytest.approx(100.0), "measured peak, 2 threads": pytest.approx(200.0),
    }  # fmt: skip


def test_nothing_to_do_is_refused():
    with pytest.raises(ValidationError, match="sizes must name at least one"):
        Threads(sizes=[])
