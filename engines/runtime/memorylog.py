"""When the steps of a run are watched for their memory, and what is kept of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

import torch

from engines import probes
from engines.runtime.attribution import WORKSPACE, Reading
from engines.runtime.memory import Watch

if TYPE_CHECKING:
    from engines.runtime.context import Session
    from engines.runtime.highwater import HighWater

FIRST_STEP = 3
"""The first step that is watched: within the warm-up, and after the optimiser has made its state."""
SHARE = 0.01
"""Of the training time, what watching may take after that: a long run is looked at again from time to time."""
Enter = Callable[[str], None]


class MemoryLog:
    """Memory by owner of some steps of a run.

    peaks: of training, which a watched step is no part of. add: (key, step, value, unit) of a point.
    """

    def __init__(self, session: Session, peaks: HighWater, add: Callable[[str, int, float, str], None]) -> None:
        self.session, self._peaks, self._add = session, peaks, add
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
        self._peaks.note()
        clean = self._peaks.forget()
        watch = Watch(session.model, session.optimizer, session.device, known)
        # What the step replaces would live on by it.
        del known
        with watch:
            yield watch.enter
        step = session.step + 1
        beside: dict[str, Any] = {"step": step}
        # Before the reading is made, which takes memory of its own.
        if clean:
            beside["resident_peak_mib"] = probes.peak_resident_mib()
        if session.device.type == "cuda":
            beside["allocated_peak_mib"] = watch.allocated_peak / probes.MIB
            beside["reserved_mib"] = torch.cuda.max_memory_reserved(session.device) / probes.MIB
        found = watch.reading
        del watch
        for owner, mib in found.owners_mib.items():
            self._add(f"memory/owner/{owner}_mib", step, mib, "MiB")
        if self.highest is None or found.peak_mib > self.highest.peak_mib:
            self.highest, self._facts = found, beside
        # The watched step enters no peak of the run: the watch took memory in it.
        self._peaks.forget()
        self.steps += 1
        self.cost += time.perf_counter() - start
        self._resume_at = session.seconds + self.cost / self.steps / SHARE

    def effect(self, around: Mapping[str, float]) -> tuple[str, dict[str, Any]] | None:
        """The attribution at the highest peak as a sentence and facts; None where no step was watched.

        around: what was measured before there was a model, taken into the facts: process_mib, resident then; context_mib, of the CUDA context.
        """
        found = self.highest
        if found is None:
            return None
        facts = {
            "device": found.device, "peak_mib": found.peak_mib, "owners_mib": found.owners_mib, "other_mib": found.other_mib,
            "modules": found.modules, **around, **self._facts, "watched_steps": self.steps, "watched_s": self.cost,
        }  # fmt: skip
        parts = ", ".join(f"{owner} {mib:,.1f}" for owner, mib in sorted(found.owners_mib.items(), key=lambda item: -item[1]) if mib)
        who = "Tensors and workspaces" if WORKSPACE in found.owners_mib else "Tensors"
        return f"{who} hold {found.peak_mib:,.1f} MiB at the peak of a training step: {parts}.{_beside(facts)}", facts


def _beside(facts: dict[str, Any]) -> str:
    """What tensors do not explain of the figure from outside is neither dropped nor given to an owner: it is a fact of its own."""
    if "allocated_peak_mib" in facts:
        facts["unexplained_mib"] = max(0.0, facts["allocated_peak_mib"] - facts["peak_mib"])
        reserved = f" It had taken {facts['reserved_mib']:,.1f} MiB from the GPU for it." if "reserved_mib" in facts else ""
        context = f" The CUDA context takes {facts['context_mib']:,.1f} MiB more." if "context_mib" in facts else ""
        counted = f" The allocator counted at most {facts['allocated_peak_mib']:,.1f} MiB, the rest for what the step never touched."
        return counted + reserved + context
    if "resident_peak_mib" in facts and "process_mib" in facts and facts["device"] == "cpu":
        facts["unexplained_mib"] = max(0.0, facts["resident_peak_mib"] - facts["peak_mib"] - facts["process_mib"])
        return (
            f" The process held {facts['process_mib']:,.1f} MiB before it had a model (interpreter, libraries, text) and at most "
            f"{facts['resident_peak_mib']:,.1f} MiB in the step, {facts['unexplained_mib']:,.1f} MiB of which neither explains (kernels, libraries "
            "loaded later, memory the allocator keeps)."
        )
    return ""


def _nobody(phase: str) -> None:
    """No one is told: the step is not watched."""


def before_model(device: torch.device) -> dict[str, float]:
    """process_mib: what this process holds without a model; context_mib: of its CUDA context, where there is one to be measured."""
    load_optimizers()
    context = context_mib(device)
    return {"process_mib": probes.resident_mib()} | ({"context_mib": context} if context is not None else {})


def load_optimizers() -> None:
    """What torch loads when its first optimiser is made, a second's work: it is the process's memory, not the model's."""
    import torch._dynamo  # noqa: F401


def context_mib(device: torch.device) -> float | None:
    """MiB that the driver gives to this process's CUDA context; None without a GPU or a driver that answers, or where the context is there
    already.

    Measured as the driver's figure after the context was made minus before; what other processes do in that moment is in it.
    """
    if device.type != "cuda" or torch.cuda.is_initialized():
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
