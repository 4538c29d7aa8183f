"""When the steps of a run are watched for their memory, and what is kept of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

import torch

from engines import probes
from engines.runtime.attribution import Reading
from engines.runtime.memory import Watch

if TYPE_CHECKING:
    from engines.runtime.context import Session

FIRST_STEP = 3
"""The first step that is watched: within the warm-up, and after the optimiser has made its state."""
SHARE = 0.01
"""Of the training time, what watching may take after that: a long run is looked at again from time to time."""
Enter = Callable[[str], None]


class MemoryLog:
    """Memory by owner of some steps of a run.

    note_peaks, forget_peaks: what the trainer does with its high-water marks around a stretch. add: (key, step, value, unit) of a point.
    """

    def __init__(
        self, session: Session, note_peaks: Callable[[], None], forget_peaks: Callable[[], bool], add: Callable[[str, int, float, str], None]
    ) -> None:
        self.session, self._note_peaks, self._forget_peaks, self._add = session, note_peaks, forget_peaks, add
        self.on = True
        """Off where steps are timed."""
        self.highest: Reading | None = None
        """The reading with the highest peak."""
        self._facts: dict[str, Any] = {}
        self.steps, self.cost = 0, 0.0
        """Steps watched, and the seconds that went into them."""
        self._resume_at = 0.0
        self.watching = False

    def around_step(self, known: Callable[[], Any]) -> AbstractContextManager[Enter]:
        """Around one step; gives what is told the phases of it. known: what the step finds already made, asked where it is watched."""
        session = self.session
        due = session.step >= FIRST_STEP and session.seconds >= self._resume_at
        self.watching = self.on and due
        return self._watch(known()) if self.watching else nullcontext(_nobody)

    @contextmanager
    def _watch(self, known: Any) -> Iterator[Enter]:
        session, start = self.session, time.perf_counter()
        self._note_peaks()
        clean = self._forget_peaks()
        with Watch(session.model, session.optimizer, session.device, known) as watch:
            yield watch.enter
        found, step = watch.reading, session.step + 1
        beside: dict[str, Any] = {"step": step}
        if clean:
            beside["resident_peak_mib"] = probes.peak_resident_mib()
        if session.device.type == "cuda":
            beside["allocated_peak_mib"] = torch.cuda.max_memory_allocated(session.device) / probes.MIB
            beside["reserved_mib"] = torch.cuda.max_memory_reserved(session.device) / probes.MIB
        for owner, mib in found.owners_mib.items():
            self._add(f"memory/owner/{owner}_mib", step, mib, "MiB")
        if self.highest is None or found.peak_mib > self.highest.peak_mib:
            self.highest, self._facts = found, beside
        self.steps += 1
        self.cost += time.perf_counter() - start
        self._resume_at = session.seconds + self.cost / self.steps / SHARE

    def effect(self, context_mib: float | None) -> tuple[str, dict[str, Any]] | None:
        """The attribution at the highest peak as a sentence and facts; None where no step was watched. context_mib: of the CUDA context."""
        found = self.highest
        if found is None:
            return None
        facts = {
            "device": found.device, "peak_mib": found.peak_mib, "owners_mib": found.owners_mib, "other_mib": found.other_mib,
            "modules": found.modules, **self._facts, "watched_steps": self.steps, "watched_s": self.cost,
        }  # fmt: skip
        if context_mib is not None:
            facts["context_mib"] = context_mib
        parts = ", ".join(f"{owner} {mib:,.1f}" for owner, mib in sorted(found.owners_mib.items(), key=lambda item: -item[1]) if mib)
        sentence = f"Tensors hold {found.peak_mib:,.1f} MiB at the peak of a training step: {parts}."
        for key, what in (("allocated_peak_mib", "inside operators"), ("resident_peak_mib", "interpreter, libraries, text, inside operators")):
            if key in facts:
                # What tensors do not explain of the figure from outside is neither dropped nor given to an owner.
                facts["unexplained_mib"] = max(0.0, facts[key] - found.peak_mib)
                return f"{sentence} Beside them {facts['unexplained_mib']:,.1f} MiB ({what}).", facts
        return sentence, facts


def _nobody(phase: str) -> None:
    """No one is told: the step is not watched."""


def context_mib(device: torch.device) -> float | None:
    """MiB that the driver gives to this process's CUDA context; None without a GPU or a driver that answers.

    Measured as the driver's figure after the context was made minus before: to be asked before anything else uses the device, once. What
    other processes do in that moment is in it.
    """
    if device.type != "cuda":
        return None
    gpus = probes.Gpus()
    index = gpus.index_of(str(device))
    before = gpus.used_mib(index) if index is not None else None
    torch.zeros(1, device=device)
    torch.cuda.synchronize(device)
    after = gpus.used_mib(index) if index is not None else None
    if before is None or after is None:
        return None
    return max(0.0, after - before - torch.cuda.memory_reserved(device) / probes.MIB)
