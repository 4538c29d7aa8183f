"""Rows of runs that no store holds."""

from __future__ import annotations

from engines.store.rows import RunRow


def runs(count: int) -> list[RunRow]:
    """Runs of one experiment that are at work, each of its own variant."""
    return [
        RunRow(
            id=number, experiment_id=1, variant_id=number, variant=f"variant {number}", seed=0, status="running", smoke=False, attempt=1, needs=(),
            request="", claim="", supervisor_id=None, pid=None, pid_started=None, phase="training", queued=0.0, started=0.0, ended=None, reason="",
            advice="", machine_id=None, progress={}, folder="",
        )
        for number in range(count)
    ]  # fmt: skip
