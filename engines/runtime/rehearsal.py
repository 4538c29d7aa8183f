"""Training steps of a plan outside any run: for who times or profiles them. Nothing is recorded, validated, checkpointed or kept,
and losses are read only on request: reading waits for the device.

The model, the recipe and the batches are those of a run of the same seed, through the same pipeline and loop.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import nn

from engines.api import Text
from engines.runtime.attribution import Reading
from engines.runtime.clock import wait_for
from engines.runtime.context import Budget, Session
from engines.runtime.memorylog import FIRST_STEP, MemoryLog
from engines.runtime.pipeline import Pipeline
from engines.runtime.plan import Parts, PlanError, block, device_of, text_of, threads_of
from engines.runtime.teachers import Teachers
from engines.runtime.train import Control, Trainer
from engines.statistics import Direction


class Unrecorded:
    """Stands where a run has its recorder: points go nowhere."""

    def add(self, key: str, step: int, value: float, unit: str = "", better: Direction = "none") -> None:
        """Forget a point."""

    def add_many(self, key: str, points: list[tuple[int, float, float]], unit: str = "", better: Direction = "none") -> None:
        """Forget points."""

    def progress(self, **figures: float | None) -> None:
        """Forget progress."""

    def check(self) -> None:
        """Nothing can have failed."""

    def flush(self) -> None:
        """Nothing is pending."""


class Observer(Protocol):
    """Is told where the phases of a step begin, as a run's MemoryLog is. watching: whether it slows the step that it saw last."""

    watching: bool

    def around_step(self, known: Callable[[], Any]) -> AbstractContextManager[Callable[[str], None]]:
        """Around one step; gives what is called with data, forward and update where these begin."""
        ...


class Rehearsal:
    """The training of one plan, step by step.

    teachers: variant -> its model or the folder of its finished one, for techniques that read one. text: the prepared corpus, where the caller
    has it. device and threads: where the plan's own are not wanted. runs: folder of the runs of the store, where a recipe
    names one. Raises PlanError, RecipeError, FinishedError and what plugins raise.
    """

    def __init__(
        self, plan: Mapping[str, Any], seed: int = 0, *, teachers: Mapping[str, Path | nn.Module] | None = None, text: Text | None = None,
        device: str | None = None, threads: int | None = None, runs: Path | None = None,
    ) -> None:  # fmt: skip
        self.plan = plan
        self.device = device_of(device or plan["device"])
        self.threads = threads_of(threads or plan.get("threads"))
        torch.set_num_threads(self.threads)
        torch.manual_seed(seed)
        parts = Parts.of(plan)
        self.text = text or text_of(parts.corpus, lambda sentence: None)
        training = plan["training"]
        teacher = Teachers(plan, self.text, self.device, dict(teachers or {}), runs)
        self.session = Session(
            plan=plan, task=parts.task, text=self.text, device=self.device, dtype=torch.get_default_dtype(), seed=seed,
            budget=Budget.of(plan["budget"]), model=parts.task.assemble(plan["model"], block, self.text, training["sequence"]).to(self.device),
            stream=parts.task.batches(self.text, training["batch"], training["sequence"], seed), log=lambda key, value, unit: None,
            held_out=lambda: self._trainer.held_out(), teacher=teacher, fine_tune=lambda *a: self._trainer.fine_tune(*a),
        )  # fmt: skip
        self.pipeline = Pipeline(parts.techniques, self.session)
        if self.pipeline.fitted:
            raise PlanError(f"{plan['model']['id']} is fitted to the training text at once and not trained by steps: there is no step to look at.")
        if self.session.budget.amount <= 0:
            raise PlanError("The budget is nothing: this experiment trains no steps.")
        self.pipeline.shape_model()
        self.pipeline.assemble()
        self._trainer = Trainer(self.session, self.pipeline, Unrecorded(), Control(), Path())  # type: ignore[arg-type]
        self._trainer.memory.on = False
        self._trainer.losses.every = math.inf
        self._steps = self._trainer.steps(lambda batch: self.pipeline.multiplier(self.session.progress) * batch.lr_scale)

    def step(self) -> int:
        """One update; returns the tokens it saw. What is under way on a device is not waited for: see `wait`."""
        before = self.session.tokens
        next(self._steps)
        return self.session.tokens - before

    @contextmanager
    def observed(self, observer: Observer) -> Iterator[None]:
        """The steps inside are shown to `observer`."""
        before = self._trainer.memory
        self._trainer.memory = observer  # type: ignore[assignment]
        try:
            yield
        finally:
            self._trainer.memory = before

    def watched_step(self) -> tuple[Reading, dict[str, Any]]:
        """One update whose memory is told apart by owner, and the facts that a run would store of it."""
        log = MemoryLog(self.session, self._trainer.peaks, lambda *point: None)
        with self.observed(log):
            self.step()
        told = log.effect({})
        if log.highest is None or told is None:
            raise RuntimeError(f"Steps are watched from step {FIRST_STEP} on; this was step {self.session.step}.")
        return log.highest, told[1]

    def wait(self) -> None:
        """Until the device has done what it was given."""
        wait_for(self.device)

    def check(self) -> None:
        """Read the losses of the steps since the last time; outside what is timed. Raises Diverged at the first that is no number."""
        self._trainer.losses.read()
