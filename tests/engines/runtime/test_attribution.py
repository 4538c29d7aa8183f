"""From lives of storages and counts of an allocator to memory by owner over time."""

from __future__ import annotations

from engines.runtime.attribution import POINTS, Count, Life, read, workspace

MIB = 2**20


def test_workspaces_follow_from_the_changes_of_what_is_counted():
    """200 of a library all along; 30 inside an operator at 3 ms, which leaves 40 more; 1,000 belong to nobody in the step."""
    lives = [Life(100, 0.0, "start", ""), Life(50, 2.0, "forward", "m", died=4.0)]
    counts = [Count(1.0, 1300, 1300, ""), Count(3.0, 1390, 1420, "m"), Count(5.0, 1340, 1340, "")]
    standing, inside = workspace(lives, counts, libraries=240)
    assert (standing.bytes, standing.resizes) == (200, [(3.0, 240)])
    assert (inside.bytes, inside.module, inside.born) == (30, "m", 3.0)


def test_a_long_timeline_keeps_its_peak():
    lives = [Life(1 + (i == 777) * 50, float(i), "forward", "m", died=i + 0.5) for i in range(3000)]
    found = read(lives, [(0.0, "forward")], 3000.0, "cpu")
    assert len(found.times_ms) <= POINTS
    assert max(found.owners["other"]) == found.peak_mib == 51 / MIB
    assert found.peak_ms in found.times_ms


def test_a_storage_that_grows_counts_with_its_new_size():
    life = Life(100, 0.0, "start", "")
    life.resize(1.0, 300)
    found = read([life], [(0.0, "forward")], 2.0, "cpu")
    assert [value * MIB for value in found.owners["other"]] == [100, 300]
