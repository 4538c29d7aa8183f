"""From the lives of storages in one training step to its memory by owner: over time, and at the peak by owner and module. No torch."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate, pairwise
from typing import Any

from engines.probes import MIB

PARAMETERS, GRADIENTS, OPTIMIZER, ACTIVATIONS, OTHER, WORKSPACE = OWNERS = (
    "parameters", "gradients", "optimizer", "activations", "other", "workspace",
)  # fmt: skip
"""activations: born in a forward pass and alive when its backward pass begins, or born where that computes a forward pass again.
other: buffers, the batch, what is carried from step to step, what techniques keep, and what comes and goes inside a phase (gradients of
activations among it). workspace: what the device's allocator holds beside tensors, for libraries (cuBLAS keeps tens of MiB a thread), inside
kernels, and by rounding; only where that was counted."""

OUTSIDE = "(outside)"
"""What is done in no call of the model: the step's own arithmetic, techniques, a teacher."""
POINTS = 400
"""A timeline is reduced to so many points at most."""


@dataclass
class Life:
    """A storage: bytes, when it was born (ms since the step began), in which phase, by which module, and when it died (None: it outlived us).

    owner: where it is known from outside; else it follows from the phases. resizes: (ms, bytes from then on).
    """

    bytes: int
    born: float
    phase: str
    module: str
    owner: str = ""
    died: float | None = None
    resizes: list[tuple[float, int]] = field(default_factory=list)

    def resize(self, at: float, size: int) -> None:
        self.resizes.append((at, size))
        self.bytes_now = size

    def __post_init__(self) -> None:
        self.bytes_now = self.bytes


@dataclass(frozen=True)
class Count:
    """What a device's allocator said after an operator: bytes that it holds then, and the most since the operator began."""

    at: float
    held: int
    most: int
    module: str


@dataclass(frozen=True)
class Reading:
    """Memory of one step. times_ms, owners: what each owner held after each of the chosen moments, MiB. Milliseconds are those of the watched
    step, which is slower than others.

    peak_mib: the highest sum; owners_mib, modules: what it was made of. phases: {"name", "start_ms", "end_ms"}.
    """

    device: str
    times_ms: list[float]
    owners: dict[str, list[float]]
    phases: list[dict[str, Any]]
    peak_ms: float
    peak_mib: float
    owners_mib: dict[str, float]
    other_mib: dict[str, float]
    """What `other` was made of, by the phase of birth: start (there before the step), data, forward, backward, update."""
    modules: list[dict[str, Any]]
    """{"name", "mib", "owners_mib"} by falling size. Parameters, their gradients and optimiser state belong to the module that has them, all else
    to the one that made it."""

    def timeline(self) -> list[dict[str, float]]:
        """{"ms", owner: MiB ...} for each moment."""
        return [{"ms": ms} | {owner: series[i] for owner, series in self.owners.items()} for i, ms in enumerate(self.times_ms)]


def read(lives: Sequence[Life], phases: Sequence[tuple[float, str]], end: float, device: str) -> Reading:
    """phases: (ms, name) where each began."""
    backward = [at for at, name in phases if name == "backward"]
    owners = [life.owner or _owner(life, backward) for life in lives]
    changes: list[tuple[float, int, int]] = []
    for place, life in enumerate(lives):
        changes += ((at, more, place) for at, more in _changes(life))
    # What dies at a moment makes room for what is born at the same.
    changes.sort()
    held: defaultdict[str, int] = defaultdict(int)
    each: defaultdict[int, int] = defaultdict(int)
    moments: list[tuple[float, dict[str, int]]] = []
    most, peak_ms, at_peak = -1, 0.0, {}
    for i, (at, change, place) in enumerate(changes):
        held[owners[place]] += change
        each[place] += change
        if i + 1 < len(changes) and changes[i + 1][0] == at:
            continue
        total = sum(held.values())
        if total > most:
            most, peak_ms, at_peak = total, at, dict(each)
        moments.append((at, dict(held)))
    chosen = _reduced(moments)
    known = [owner for owner in OWNERS if owner != WORKSPACE or WORKSPACE in owners]
    by_owner: defaultdict[str, int] = defaultdict(int)
    by_phase: defaultdict[str, int] = defaultdict(int)
    by_module: defaultdict[str, defaultdict[str, int]] = defaultdict(lambda: defaultdict(int))
    for place, size in at_peak.items():
        by_owner[owners[place]] += size
        if owners[place] == OTHER:
            by_phase[lives[place].phase] += size
        by_module[lives[place].module][owners[place]] += size
    return Reading(
        device=device,
        times_ms=[round(at, 4) for at, _ in chosen],
        owners={owner: [moment.get(owner, 0) / MIB for _, moment in chosen] for owner in known},
        phases=_spans(phases, end),
        peak_ms=peak_ms,
        peak_mib=max(most, 0) / MIB,
        owners_mib={owner: by_owner[owner] / MIB for owner in known},
        other_mib={phase: size / MIB for phase, size in by_phase.items() if size},
        modules=_rows(by_module),
    )


def workspace(lives: Sequence[Life], counts: Sequence[Count], libraries: int) -> list[Life]:
    """What an allocator counted beyond tensors, as lives of their own. counts: the last one of the end of the step; libraries: bytes that libraries
    held then.

    Memory that was there all the time and belongs to nothing that the step touched is in the counts too, so it is their changes that tell:

        workspace at t = libraries + (counted at t - counted at the end) - (tensors at t - tensors at the end)                        (1)
    """
    changes = sorted(change for life in lives for change in _changes(life))
    times = [at for at, _ in changes]
    totals = [0, *accumulate(size for _, size in changes)]

    def tensors(at: float) -> int:
        return totals[bisect_right(times, at)]

    last = counts[-1]
    rest = libraries - last.held + tensors(last.at)
    standing = Life(max(0, rest + counts[0].held - tensors(counts[0].at)), 0.0, "start", OUTSIDE, WORKSPACE)
    found = [standing]
    for count in counts:
        held = max(0, rest + count.held - tensors(count.at))
        if held != standing.bytes_now:
            standing.resize(count.at, held)
        inside = rest + count.most - tensors(count.at) - held
        if inside > 0:
            found.append(Life(inside, count.at, "inside", count.module, WORKSPACE, math.nextafter(count.at, math.inf)))
    return found


def _changes(life: Life) -> Iterator[tuple[float, int]]:
    """(ms, bytes more) of one storage."""
    size = life.bytes
    yield life.born, size
    for at, resized in life.resizes:
        yield at, resized - size
        size = resized
    if life.died is not None:
        yield life.died, -size


def _owner(life: Life, backward: Sequence[float]) -> str:
    """Whose a storage is that no parameter, gradient or optimiser has."""
    if life.phase == "recomputed":
        return ACTIVATIONS
    if life.phase != "forward":
        return OTHER
    begins = next((at for at in backward if at >= life.born), None)
    return ACTIVATIONS if begins is not None and (life.died is None or life.died >= begins) else OTHER


def _rows(by_module: Mapping[str, Mapping[str, int]]) -> list[dict[str, Any]]:
    rows = [
        {"name": name, "mib": sum(own.values()) / MIB, "owners_mib": {owner: size / MIB for owner, size in own.items() if size}}
        for name, own in by_module.items()
        if any(own.values())
    ]
    return sorted(rows, key=lambda row: -float(row["mib"]))


def _spans(phases: Sequence[tuple[float, str]], end: float) -> list[dict[str, Any]]:
    """Phases as intervals; those in which nothing was asked of the device are passed over."""
    begun = [(at, name) for i, (at, name) in enumerate(phases) if i == 0 or phases[i - 1][1] != name]
    ends = [at for at, _ in begun[1:]] + [end]
    return [{"name": name, "start_ms": round(at, 4), "end_ms": round(till, 4)} for (at, name), till in zip(begun, ends, strict=True) if till > at]


def _reduced(moments: Sequence[tuple[float, dict[str, int]]]) -> list[tuple[float, dict[str, int]]]:
    """At most POINTS moments: of each stretch the one with the highest sum, so that no peak is lost."""
    if len(moments) <= POINTS:
        return list(moments)
    cuts = [round(i * len(moments) / POINTS) for i in range(POINTS + 1)]
    return [max(moments[a:b], key=lambda moment: sum(moment[1].values())) for a, b in pairwise(cuts)]
