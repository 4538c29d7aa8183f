"""The training loop. Read it beside the pseudo-code at the top of engines.api: each hook has its place there and here."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engines.api import Figure
from engines.observing import Bookkeeping
from engines.runtime import checkpoint, flops, snapshots
from engines.runtime.clock import wait_for
from engines.runtime.context import Session
from engines.runtime.fitted import fit
from engines.runtime.heldout import held_out
from engines.runtime.highwater import HighWater
from engines.runtime.losses import Losses
from engines.runtime.memorylog import MemoryLog
from engines.runtime.pipeline import Pipeline
from engines.toolbox.batches import detach, map_tensors

if TYPE_CHECKING:
    from collections.abc import Iterator

    from engines.energy import Tally
    from engines.runtime.recorder import Recorder
    from engines.toolbox.batches import Batch

WARM_UP_STEPS = 5
"""Steps at the start that the throughput figure leaves out."""
COUNTED_STEP = 2
"""The step, within the warm-up, whose operations and bytes are counted (counting slows a step down)."""


class Cancelled(Exception):
    """Somebody asked this run to stop; a checkpoint is written."""


@dataclass
class Control:
    """What the supervisor asks of a running worker."""

    stop: bool = False


class Trainer:
    """Trains one session to the end of its budget and keeps what resuming needs."""

    def __init__(self, session: Session, pipeline: Pipeline, recorder: Recorder, control: Control, folder: Path) -> None:
        self.session, self.pipeline, self.recorder, self.control, self.folder = session, pipeline, recorder, control, folder
        session.rewind = self.rewind
        self.state: Any = None
        """What the model carries from one minibatch to the next."""
        self.evaluations_done, self.trained = 0, False
        self.work: flops.Work | None = None
        """Operations and bytes of one training step (forward, backward, a teacher's forward), over `work_tokens` tokens."""
        self.work_tokens = 0
        self.peaks = HighWater(session.device)
        self.memory = MemoryLog(session, self.peaks, lambda *point: recorder.add(*point))
        self.bookkeeping = Bookkeeping()
        self.losses = Losses(session, recorder, self.bookkeeping, self._note_energy)
        self._warm: tuple[int, float, int] | None = None  # tokens, seconds and steps at the end of the warm-up
        self.energy: Tally | None = None
        """Counts the energy of training, validation and checkpoints left out; None where nothing counts it."""
        self._saved_at = time.monotonic()
        self._save_every = float(os.environ.get("WORKBENCH_CHECKPOINT_SECONDS", "120"))

    # --- the loop ---------------------------------------------------------------------------------------------------------------------

    def train(self) -> None:
        """Until the budget is spent, a technique stops it, somebody cancels it or the loss is no number."""
        session, evaluations = self.session, int(self.session.plan["measure"]["evaluations"])
        if self.energy is not None:
            self.energy.start(session.tokens)
        if self.pipeline.fitted or session.budget.amount <= 0:
            self._train_without_steps(bool(evaluations))
            return
        for _ in self.steps(self._scheduled):
            progress = session.progress
            over = progress >= 1 or bool(session.stop_reason)
            if evaluations and (over or progress >= (self.evaluations_done + 1) / evaluations):
                self.evaluations_done = evaluations if over else int(progress * evaluations)
                self._validate()
            if over:
                break
            if self.control.stop:
                self.save()
                raise Cancelled
            if time.monotonic() - self._saved_at > self._save_every:
                self.save()
        self.trained = True
        self.save()

    def _train_without_steps(self, evaluated: bool) -> None:
        """A model that takes in the text at once, on the clock; or a budget of nothing."""
        session = self.session
        if self.pipeline.fitted:
            fit(session)
        if self.control.stop:
            raise Cancelled
        self.recorder.add("progress/tokens", session.step, session.tokens, "tokens")
        if evaluated:
            self.evaluations_done = int(session.plan["measure"]["evaluations"])
            self._validate()
        self.peaks.note()
        self.trained = True
        if not self.pipeline.fitted:
            self.save()

    def _scheduled(self, batch: Batch) -> float:
        return self.pipeline.multiplier(self.session.progress) * batch.lr_scale

    def fine_tune(self, tokens: int | None, lr_scale: float) -> None:
        """Train on for `tokens` tokens at the base learning rates times `lr_scale` (the schedule is over); part of the variant's price.
        None: to the end of the budget under the schedule, after `rewind`."""
        session = self.session
        goal = math.inf if tokens is None else session.tokens + tokens
        if tokens is None and session.progress >= 1:
            return
        if tokens is not None:
            self.state, self.losses.extras = None, {}  # `finish` may have made another structure: no state of the old one, and no graph, lives on
        for _ in self.steps(lambda batch: lr_scale * (self._scheduled(batch) if tokens is None else batch.lr_scale)):
            # No checkpoint here: resuming repeats `finish` from the end of training.
            if self.control.stop:
                raise Cancelled
            if session.tokens >= goal or (tokens is None and (session.progress >= 1 or session.stop_reason)):
                break
        self._settle()

    def rewind(self, step: int, technique: str) -> None:
        """Training is where it was after `step` updates."""
        kept = self.session.snapshots[step]
        assert kept is not None
        self.state = snapshots.put_back(self.session, self.pipeline, kept, keep=technique)

    def steps(self, learning_rate: Callable[[Batch], float]) -> Iterator[None]:
        """One update per turn. The clock runs from the end of one update to the end of the next, the data's wait included."""
        session, pipeline = self.session, self.pipeline
        session.model.train()
        batches = iter(session.stream)
        clock = time.perf_counter()
        while True:
            if session.snapshots.get(session.step, self) is None:
                session.snapshots[session.step] = snapshots.take(session, pipeline, self.state)
            around = self.memory.around_step(lambda: [self.state, self.losses.extras, pipeline.state_dict()])
            if self.memory.watching:
                # Earlier steps that the device still works on are training, and no part of the step that is left out.
                wait_for(session.device)
                now = time.perf_counter()
                session.seconds += now - clock
                clock = now
            with around as enter:
                enter("data")
                batch = next(batches).to(session.device)
                if batch.fresh:
                    self.state = None
                pipeline.set_learning_rate(learning_rate(batch))
                enter("forward")
                if self.work is None and session.step == COUNTED_STEP:
                    self.work, (loss_sum, count, state, self.losses.extras) = flops.count(lambda batch=batch: pipeline.backward(batch, self.state))  # type: ignore[misc]
                    self.work_tokens = count
                else:
                    loss_sum, count, state, self.losses.extras = pipeline.backward(batch, self.state)
                self.state = detach(state)
                enter("update")
                pipeline.update()
            session.step += 1
            session.tokens += count
            self.losses.note(loss_sum, count)
            if self.memory.watching:
                wait_for(session.device)
            now = time.perf_counter()
            session.seconds += now - clock
            if self.memory.watching:
                self._leave_out(count, now - clock)
            clock = now
            if self.losses.are_due(now):
                self.losses.read()
            if session.step == WARM_UP_STEPS:
                self._warm = (session.tokens, session.seconds, session.step)
            paused = time.perf_counter()
            yield
            clock += time.perf_counter() - paused

    def _leave_out(self, tokens: int, seconds: float) -> None:
        """A step that was watched is slower by it: it belongs to the price of the run and to no figure of its speed."""
        self.bookkeeping.watched += seconds
        self.bookkeeping.watched_steps += 1
        self.losses.leave_out(tokens, seconds)
        if self._warm is not None:
            self._warm = (self._warm[0] + tokens, self._warm[1] + seconds, self._warm[2] + 1)

    def _settle(self) -> None:
        """Wait for what is under way on the device and read its losses; on the clock, since it is training's own work."""
        start = time.perf_counter()
        self.losses.read()
        self.session.seconds += time.perf_counter() - start

    def _note_energy(self) -> None:
        if self.energy is not None:
            self.energy.note()

    @contextmanager
    def _outside_training(self) -> Iterator[None]:
        """Validation and checkpoints: neither their time nor their memory is training's."""
        self._settle()
        self.peaks.note()
        if self.energy is not None:
            self.energy.stop(self.session.tokens)
        yield
        self.peaks.forget()
        if self.energy is not None:
            self.energy.start(self.session.tokens)

    # --- what is seen of it -------------------------------------------------------------------------------------------------------------

    def _validate(self) -> None:
        with self._outside_training():
            start = time.perf_counter()
            figures = self.held_out()
            self.bookkeeping.validation += time.perf_counter() - start
        # The clock of training beside each look: wall time would count the looks themselves.
        self.recorder.add("progress/seconds", self.session.step, self.session.seconds, "s")
        for figure in figures:
            self.recorder.add(figure.key, self.session.step, figure.value, figure.unit, figure.better)
        self.pipeline.validated(figures)

    def held_out(self) -> list[Figure]:
        """The task's figures on the validation split, under the weights that `weights` hooks give."""
        return held_out(self.session, self.pipeline.evaluation_weights())

    def tokens_per_second(self) -> tuple[float, int] | None:
        """Training throughput after the declared warm-up and the steps it rests on; None where too few steps ran."""
        session = self.session
        if self._warm is None or session.step < 2 * WARM_UP_STEPS:
            return None
        tokens, seconds, step = self._warm
        if step == session.step:  # all were watched
            return None
        return (session.tokens - tokens) / (session.seconds - seconds), session.step - step

    # --- checkpoints ----------------------------------------------------------------------------------------------------------------------

    def save(self) -> None:
        """Keep everything that an uninterrupted run would have at this moment."""
        with self._outside_training():
            start = time.perf_counter()
            checkpoint.save(self._kept(), self.folder)
            self.bookkeeping.checkpoints += time.perf_counter() - start
        self._saved_at = time.monotonic()

    def _kept(self) -> dict[str, Any]:
        session = self.session
        self.recorder.flush()
        return {
            "model": dict(session.model.state_dict()), "optimizer": session.optimizer and session.optimizer.state_dict(),
            "techniques": self.pipeline.state_dict(), "stream": session.stream.state_dict(), "carried": self.state,
            "rng": snapshots.random_state(session.device), "snapshots": session.snapshots,
            "step": session.step, "tokens": session.tokens, "seconds": session.seconds, "evaluations_done": self.evaluations_done,
            "trained": self.trained, "digest": self.losses.digest, "stop_reason": session.stop_reason, "warm": self._warm,
            "text": session.text.fingerprint, "work": self.work and [asdict(self.work), self.work_tokens],
        }  # fmt: skip

    def restore(self, state: dict[str, Any]) -> None:
        """Take up what `save` wrote. The pipeline is assembled already; its techniques' states were given before that.

        Raises CheckpointError where the corpus is another text now.
        """
        session = self.session
        if state["text"] != session.text.fingerprint:
            raise checkpoint.CheckpointError(
                "The corpus has changed since this run was interrupted, so it cannot go on: run the experiment anew, or bring the old text back."
            )
        session.model.load_state_dict(state["model"])
        if session.optimizer is not None:
            session.optimizer.load_state_dict(state["optimizer"])
        session.stream.load_state_dict(state["stream"])
        session.step, session.tokens, session.seconds = state["step"], state["tokens"], state["seconds"]
        self.bookkeeping.before = session.seconds
        session.stop_reason = state["stop_reason"]
        self.state = map_tensors(lambda tensor: tensor.to(session.device), state["carried"])
        self._warm = state["warm"]
        self.evaluations_done, self.trained, self.losses.digest = state["evaluations_done"], state["trained"], state["digest"]
        # Checkpoints of earlier versions hold other counts, without bytes: the work of a step is then not known.
        if state["work"] and len(state["work"]) == 2:
            done, self.work_tokens = state["work"]
            self.work = flops.Work(**done)
        self.losses.begin_window()
        session.snapshots |= state.get("snapshots", {})
        snapshots.set_random_state(state["rng"], session.device)
