"""What commands take and queries give: frozen rows. Times are unix seconds (UTC), None where it has not happened."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

QUEUED, STARTING, RUNNING, DONE, FAILED, CANCELLED, LOST = "queued", "starting", "running", "done", "failed", "cancelled", "lost"
ACTIVE = (STARTING, RUNNING)
ENDED = (DONE, FAILED, CANCELLED, LOST)
RESUMABLE = (FAILED, CANCELLED, LOST)
WANTED = "wanted"
"""Status of a timing session that somebody asked for and that nobody has begun."""
STARRED, ARCHIVED = "★", "archived"
"""Tags with a meaning of their own: listed first; left out of lists until asked for."""

Floats = np.ndarray[Any, np.dtype[np.float64]]


@dataclass(frozen=True)
class ExperimentRow:
    """An experiment as it was submitted. text: its file; document: the same as JSON; folder: that its paths are relative to."""

    id: int
    name: str
    digest: str
    text: str
    document: dict[str, Any]
    folder: str
    created: float
    deleted: float | None


@dataclass(frozen=True)
class VariantRow:
    id: int
    experiment_id: int
    position: int
    name: str
    plan: dict[str, Any]
    baseline: bool


@dataclass(frozen=True)
class RunRow:
    """One variant, one seed. variant: its name. waits: queued behind runs that are not done yet. folder: relative to the store's folder.

    place: queued runs start in the order of their places.
    """

    id: int
    experiment_id: int
    variant_id: int
    variant: str
    seed: int
    status: str
    smoke: bool
    attempt: int
    needs: tuple[int, ...]
    request: str
    claim: str
    supervisor_id: int | None
    pid: int | None
    pid_started: float | None
    phase: str
    queued: float
    started: float | None
    ended: float | None
    reason: str
    advice: str
    machine_id: int | None
    progress: dict[str, Any]
    folder: str
    place: int = 0
    waits: bool = False

    @property
    def active(self) -> bool:
        return self.status in ACTIVE

    @property
    def over(self) -> bool:
        return self.status in ENDED


@dataclass(frozen=True)
class SeriesBatch:
    """Points to append to one series of a run: steps, unix seconds and values of equal length. NaN is stored as a gap."""

    key: str
    unit: str
    better: str
    steps: Sequence[int]
    times: Sequence[float]
    values: Sequence[float]


@dataclass(frozen=True)
class SeriesRow:
    """A series and its last point (None while it is empty; last_value is NaN where that point is a gap).

    cuts: how often its tail was cut off (a run that resumes from a checkpoint); whoever follows by cursor reads anew when it moves.
    """

    id: int
    run_id: int
    key: str
    unit: str
    better: str
    count: int
    last_step: int | None
    last_time: float | None
    last_value: float | None
    cuts: int = 0


@dataclass(frozen=True)
class Curve:
    """A series, or a window of it, reduced to about as many bins as there are pixels. All arrays have shape (bins,).

    steps, steps_last: lowest and highest step of a bin; lows, highs: its extremes, so that no spike is lost (NaN where all its points are
    gaps); gaps: its points without a value. points: how many points the bins stand for. exact: each bin is one point.
    """

    steps: Floats
    steps_last: Floats
    lows: Floats
    highs: Floats
    gaps: np.ndarray[Any, np.dtype[np.int64]]
    points: int
    exact: bool

    def __len__(self) -> int:
        return len(self.steps)


@dataclass(frozen=True)
class ResultRow:
    """A final figure. n, low, high: how many values it stands for and their interval. run_id is filled in by queries."""

    key: str
    value: float | None
    unit: str = ""
    better: str = "none"
    target: str = ""
    n: int = 1
    low: float | None = None
    high: float | None = None
    detail: Mapping[str, Any] = field(default_factory=dict)
    run_id: int = 0


@dataclass(frozen=True)
class EffectRow:
    """What a technique changed at one hook, measured. run_id is filled in by queries."""

    technique: str
    hook: str
    sentence: str
    facts: Mapping[str, Any] = field(default_factory=dict)
    run_id: int = 0


@dataclass(frozen=True)
class EventRow:
    id: int
    run_id: int
    time: float
    level: str
    kind: str
    text: str


@dataclass(frozen=True)
class ArtifactRow:
    id: int
    run_id: int
    kind: str
    name: str
    path: str
    bytes: int
    sha256: str
    created: float


@dataclass(frozen=True)
class MachineRow:
    id: int
    fingerprint: str
    facts: dict[str, Any]


@dataclass(frozen=True)
class SupervisorRow:
    id: int
    host: str
    pid: int
    pid_started: float
    started: float
    heartbeat: float
    ended: float | None
    machine_id: int | None


@dataclass(frozen=True)
class RoundRow:
    """One timed measurement. n: number of the round; position: its place within the round; control: the baseline's second measurement."""

    variant_id: int
    n: int
    position: int
    value: float
    control: bool = False


@dataclass(frozen=True)
class TimingRow:
    """A timing session and its rounds. values: {variant id: {round: value}}; control: {round: value} of the baseline measured again."""

    id: int
    experiment_id: int
    target: str
    quantity: str
    status: str
    facts: dict[str, Any]
    baseline: int | None
    values: dict[int, dict[int, float]]
    control: dict[int, float]


@dataclass(frozen=True)
class StudyRow:
    """A study that was measured. study: id of the plugin. result: empty until it is done, and where it was only listed."""

    id: int
    study: str
    parameters: dict[str, Any]
    status: str
    machine_id: int | None
    created: float
    ended: float | None
    result: dict[str, Any]
    reason: str
    host: str
    pid: int | None
    pid_started: float | None


@dataclass(frozen=True)
class NoteRow:
    id: int
    experiment_id: int
    run_id: int | None
    time: float
    text: str


@dataclass(frozen=True)
class Freed:
    """What a collection removed for good. kept: deleted experiments that a run still works on."""

    experiments: int
    runs: int
    points: int
    bytes: int
    kept: int
