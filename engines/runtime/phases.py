"""Time of training steps by phase: waiting for data, forward, backward, the optimiser's update, and the rest of the loop.

Only clocks are read at the places where a phase ends, a handful a step; on CUDA events are put into the stream instead, so that nothing waits.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import torch

from engines.runtime.rehearsal import Rehearsal

DATA, FORWARD, BACKWARD, UPDATE, REST = PHASES = ("data", "forward", "backward", "optimizer", "other")
"""forward: the loss of every micro-batch. backward: the rest of the recipe's gradient hook. optimizer: its step hook, clipping and the like
included. other: the loop itself."""
FEWEST = 3
"""Steps that are timed however long they take."""


class Phases:
    """Tells where the phases of a rehearsal's steps begin. enter: called with the phase that begins; REST where the last one ended."""

    watching = False

    def __init__(self, rehearsal: Rehearsal, enter: Callable[[str], None]) -> None:
        self._rehearsal, self._enter = rehearsal, enter

    @contextmanager
    def followed(self) -> Iterator[None]:
        """The steps inside are told about."""
        pipeline = self._rehearsal.pipeline
        before = pipeline.loss_of

        def loss_of(*args: Any, **kwargs: Any) -> Any:
            self._enter(FORWARD)
            found = before(*args, **kwargs)
            self._enter(BACKWARD)
            return found

        pipeline.loss_of = loss_of
        try:
            with self._rehearsal.observed(self):
                yield
        finally:
            pipeline.loss_of = before

    @contextmanager
    def around_step(self, known: Callable[[], Any]) -> Iterator[Callable[[str], None]]:
        """What the training loop calls."""
        yield lambda phase: self._enter(UPDATE if phase == "update" else phase)
        self._enter(REST)


@dataclass(frozen=True)
class Timed:
    """Plain steps: milliseconds of each by phase."""

    steps: list[dict[str, float]]

    def __add__(self, more: Timed) -> Timed:
        return Timed([*self.steps, *more.steps])

    @property
    def each(self) -> list[float]:
        """Milliseconds of each step."""
        return [sum(step.values()) for step in self.steps]

    @property
    def median(self) -> float:
        """Milliseconds of a step: the median."""
        return float(np.median(self.each))

    def facts(self) -> dict[str, Any]:
        """{"median" of whole steps, each phase: its median over all steps, "quartiles": {"step" and each phase: [lower, upper]}, "each"}.

        Medians of phases need not add up to the median of steps; the phases of any one step would, but a step that was interrupted in one phase
        may be the one in the middle.
        """
        phases = {phase: [step[phase] for step in self.steps] for phase in PHASES}
        quartiles = {name: np.quantile(values, [0.25, 0.75]).tolist() for name, values in {"step": self.each, **phases}.items()}
        medians = {phase: float(np.median(values)) for phase, values in phases.items()}
        return {"median": self.median, **medians, "quartiles": quartiles, "each": self.each}


def time_steps(rehearsal: Rehearsal, steps: int, seconds: float) -> Timed:
    """Time up to `steps` steps, fewer (but FEWEST where so many are wanted) where they would take longer than `seconds`."""
    clock = _Clock(rehearsal)
    marks: list[tuple[str, Any]] = []
    with Phases(rehearsal, lambda phase: marks.append((phase, clock.mark()))).followed():
        start = time.perf_counter()
        for done in range(steps):
            if done >= FEWEST and time.perf_counter() - start > seconds:
                break
            marks.append(("", clock.mark()))
            rehearsal.step()
        marks.append(("", clock.mark()))
        rehearsal.wait()
    return Timed(_steps(marks, clock))


def _steps(marks: list[tuple[str, Any]], clock: _Clock) -> list[dict[str, float]]:
    """From marks to milliseconds by phase; a mark without a name begins a step."""
    each: list[dict[str, float]] = []
    for (phase, at), (_, till) in pairwise(marks):
        if not phase:  # where the next step begins, or the last has ended
            each.append(dict.fromkeys(PHASES, 0.0))
        each[-1][phase or REST] += clock.between(at, till)
    return each


class _Clock:
    """Marks in time. On CUDA they stand in the stream, elsewhere they are the host's clock (behind the device's work, where there is one)."""

    def __init__(self, rehearsal: Rehearsal) -> None:
        self._rehearsal = rehearsal
        self._cuda = rehearsal.device.type == "cuda"

    def mark(self) -> Any:
        if self._cuda:
            event = torch.cuda.Event(enable_timing=True)
            event.record(torch.cuda.current_stream(self._rehearsal.device))
            return event
        self._rehearsal.wait()
        return time.perf_counter()

    def between(self, a: Any, b: Any) -> float:
        """Milliseconds."""
        return float(a.elapsed_time(b)) if self._cuda else 1000 * (b - a)
