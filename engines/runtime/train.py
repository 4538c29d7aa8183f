"""The training loop. Read it beside the pseudo-code at the top of engines.api: each hook has its place there and here."""

from __future__ import annotations

import math
import os
import struct
import time
import zlib
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from engines import probes
from engines.api import Figure
from engines.observing import Bookkeeping
from engines.runtime import checkpoint, flops, snapshots
from engines.runtime.context import Session
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
READ_SECONDS = 0.25
"""How often losses leave the device, after the first one at once; between two reads the loop only appends to a list."""
EVALUATION_BATCH = 32
"""Rows of held-out text judged at once; the same for every variant, so that figures compare."""


class Cancelled(Exception):
    """Somebody asked this run to stop; a checkpoint is written."""


class Diverged(Exception):
    """The loss stopped being a number."""


@dataclass
class Control:
    """What the supervisor asks of a running worker."""

    stop: bool = False


class Trainer:
    """Trains one session to the end of its budget and keeps what resuming needs."""

    def __init__(self, session: Session, pipeline: Pipeline, recorder: Recorder, control: Control, folder: Path) -> None:
        self.session, self.pipeline, self.recorder, self.control = session, pipeline, recorder, control
        session.rewind = self.rewind
        self.folder = folder
        self.state: Any = None
        self.evaluations_done = 0
        self.trained = False
        self.loss_digest = 0
        """A running checksum of the loss series: two runs with the same digest trained identically."""
        self.work: flops.Work | None = None
        """Operations and bytes of one training step (forward, backward, a teacher's forward), over `work_tokens` tokens."""
        self.work_tokens = 0
        self.memory = MemoryLog(session, self.note_peaks, self.forget_peaks, lambda *point: recorder.add(*point))
        self._unread: list[tuple[int, float, torch.Tensor, int]] = []
        self._extras: dict[str, Any] = {}
        self.read_seconds = READ_SECONDS
        """Losses are read by themselves when this has passed since the last time; infinite: only by who calls `read_losses`."""
        self._read_at, self._window_at = -math.inf, time.perf_counter()
        self._window = (session.tokens, session.seconds)
        self._warm: tuple[int, float, int] | None = None
        self.peak_host_mib: float | None = None
        self.peak_device_mib: float | None = None
        """High-water marks of the training steps alone, MiB; None where the system cannot tell."""
        self._peaks_are_clean = True
        self.bookkeeping = Bookkeeping()
        self.energy: Tally | None = None
        """Counts the energy of training, validation and checkpoints left out; None where nothing counts it."""
        self._last_loss = math.nan
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
            self._fit()
        if self.control.stop:
            raise Cancelled
        self.recorder.add("progress/tokens", session.step, session.tokens, "tokens")
        if evaluated:
            self.evaluations_done = int(session.plan["measure"]["evaluations"])
            self._validate()
        self.note_peaks()
        self.trained = True
        if not self.pipeline.fitted:
            self.save()

    def _fit(self) -> None:
        """Give the model the training text, or the training texts, as many as the budget names, each once."""
        session, model = self.session, self.session.model
        ids, training, stream = session.text.splits["train"], session.plan["training"], session.stream
        texts = session.task.of_documents
        there, step = (stream.tokens_per_epoch, training["batch"]) if texts else (len(ids), training["batch"] * training["sequence"])
        wanted = session.budget.tokens(tokens_per_step=step, tokens_per_epoch=there)
        given = stream.first(wanted) if texts else (ids[:wanted],)  # type: ignore[attr-defined]
        start = time.perf_counter()
        sentence = model.fit(*given)  # type: ignore[operator]
        session.seconds += time.perf_counter() - start
        session.tokens += wanted
        session.fitted = f"{sentence} {wanted:,} of the {there:,} training {'texts' if texts else 'tokens'} were read, each once."

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
            self.state, self._extras = None, {}  # `finish` may have made another structure: no state of the old one, and no graph, lives on
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
            around = self.memory.around_step(lambda: [self.state, self._extras, pipeline.state_dict()])
            if self.memory.watching:
                # Earlier steps that the device still works on are training, and no part of the step that is left out.
                self._wait()
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
                    self.work, (loss_sum, count, state, self._extras) = flops.count(lambda batch=batch: pipeline.backward(batch, self.state))  # type: ignore[misc]
                    self.work_tokens = count
                else:
                    loss_sum, count, state, self._extras = pipeline.backward(batch, self.state)
                self.state = detach(state)
                enter("update")
                pipeline.update()
            session.step += 1
            session.tokens += count
            self._unread.append((session.step, time.time(), loss_sum, count))
            if self.memory.watching:
                self._wait()
            now = time.perf_counter()
            session.seconds += now - clock
            if self.memory.watching:
                self._leave_out(count, now - clock)
            clock = now
            if now - self._read_at > self.read_seconds:
                self.read_losses()
            if session.step == WARM_UP_STEPS:
                self._warm = (session.tokens, session.seconds, session.step)
            paused = time.perf_counter()
            yield
            clock += time.perf_counter() - paused

    def _leave_out(self, tokens: int, seconds: float) -> None:
        """A step that was watched is slower by it: it belongs to the price of the run and to no figure of its speed."""
        self.bookkeeping.watched += seconds
        self.bookkeeping.watched_steps += 1
        self._window = (self._window[0] + tokens, self._window[1] + seconds)
        if self._warm is not None:
            self._warm = (self._warm[0] + tokens, self._warm[1] + seconds, self._warm[2] + 1)

    def _wait(self) -> None:
        """Until the device has done what it was given."""
        if self.session.device.type == "cuda":
            torch.cuda.synchronize(self.session.device)

    def _settle(self) -> None:
        """Wait for what is under way on the device and read its losses; on the clock, since it is training's own work."""
        start = time.perf_counter()
        self.read_losses()
        self.session.seconds += time.perf_counter() - start

    @contextmanager
    def _outside_training(self) -> Iterator[None]:
        """Validation and checkpoints: neither their time nor their memory is training's."""
        self._settle()
        self.note_peaks()
        if self.energy is not None:
            self.energy.stop(self.session.tokens)
        yield
        self.forget_peaks()
        if self.energy is not None:
            self.energy.start(self.session.tokens)

    def note_peaks(self) -> None:
        """Take the high-water marks of host and device into the run's peaks."""
        if self._peaks_are_clean:
            self.peak_host_mib = max(self.peak_host_mib or 0.0, probes.peak_resident_mib())
        if self.session.device.type == "cuda":
            peak = torch.cuda.max_memory_allocated(self.session.device) / 2**20
            self.peak_device_mib = max(self.peak_device_mib or 0.0, peak)

    def forget_peaks(self) -> bool:
        """Start the high-water marks anew. False where the system cannot; then there is no host peak: it would include more than training."""
        self._peaks_are_clean = probes.reset_peak() and self._peaks_are_clean
        if self.session.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self.session.device)
        return self._peaks_are_clean

    # --- what is written ----------------------------------------------------------------------------------------------------------------

    def read_losses(self) -> None:
        """Losses since the last read, from device to recorder; raises Diverged at the first that is no number."""
        self.recorder.check()
        if not self._unread:
            return
        start = time.perf_counter()
        unread, self._unread = self._unread, []
        sums = torch.stack([u[2] for u in unread]).cpu().double().tolist()
        if self.session.device.type != "cpu":
            # Until here it waited for the steps under way on the device, which is no cost of looking.
            start = time.perf_counter()
        means = [loss / count for loss, (_, _, _, count) in zip(sums, unread, strict=True)]
        self.recorder.add_many("train/loss", [(u[0], u[1], mean) for u, mean in zip(unread, means, strict=True)], "nats/token")
        self.loss_digest = zlib.crc32(struct.pack(f"{len(means)}d", *means), self.loss_digest)
        self._last_loss = means[-1]
        self._log_extras()
        now = time.perf_counter()
        self._read_at = now
        if now - self._window_at > 2 * READ_SECONDS:
            self._log_window(now)
        self.bookkeeping.records += time.perf_counter() - start
        for (step, *_), mean in zip(unread, means, strict=True):
            if not math.isfinite(mean):
                raise Diverged(f"The loss became {mean} at step {step}.")

    def _log_window(self, now: float) -> None:
        session, (tokens, seconds) = self.session, self._window
        rate = (session.tokens - tokens) / max(1e-9, session.seconds - seconds)
        self._window, self._window_at = (session.tokens, session.seconds), now
        if self.energy is not None:
            self.energy.note()
        add = self.recorder.add
        if session.tokens > tokens and session.seconds > seconds:
            add("speed/train_tokens_per_s", session.step, rate, "tokens/s")
        add("progress/tokens", session.step, session.tokens, "tokens")
        if session.device.type == "cuda":
            add("memory/device_allocated_mib", session.step, torch.cuda.memory_allocated(session.device) / 2**20, "MiB")
            add("memory/device_reserved_mib", session.step, torch.cuda.memory_reserved(session.device) / 2**20, "MiB")
        progress = session.progress
        remaining = session.seconds * (1 - progress) / progress if progress > 0 else None
        self.recorder.progress(
            fraction=progress, step=session.step, tokens=session.tokens, seconds=session.seconds, remaining_s=remaining,
            loss=self._last_loss, tokens_per_s=rate, recording_share=self.bookkeeping.share(session.seconds),
        )  # fmt: skip

    def _log_extras(self) -> None:
        step = self.session.step
        auxiliary = self._extras.get("auxiliary")
        if auxiliary is not None:
            self.recorder.add("train/auxiliary", step, float(auxiliary.detach()), "nats/token")
        for layer, counts in (self._extras.get("load") or {}).items():
            shares = (counts.cpu().double() / counts.cpu().sum().clamp(min=1)).tolist()
            for expert, share in enumerate(shares):
                self.recorder.add(f"experts/{layer}/{expert}", step, share, "share of tokens")

    def _validate(self) -> None:
        with self._outside_training():
            start = time.perf_counter()
            figures = self.held_out()
            self.bookkeeping.validation += time.perf_counter() - start
        # The clock of training beside each look: wall time would count the looks themselves.
        self.recorder.add("progress/seconds", self.session.step, self.session.seconds, "s")
        for figure in figures:
            self.recorder.add(figure.key, self.session.step, figure.value, figure.unit)
        self.pipeline.validated(figures)

    def held_out(self) -> list[Figure]:
        """The task's figures on the validation split, under the weights that `weights` hooks give; training's random state is untouched."""
        session = self.session
        with self.evaluation_weights(), torch.random.fork_rng(), torch.no_grad():
            session.model.eval()
            figures = session.task.evaluate(
                session.model, session.text, "valid", int(session.plan["measure"]["held_out_tokens"]), EVALUATION_BATCH, session.device
            )
            session.model.train()
        return figures

    @contextmanager
    def evaluation_weights(self) -> Iterator[None]:
        """The model holds the weights of `weights` hooks inside, its trained ones outside."""
        weights = self.pipeline.evaluation_weights()
        if weights is None:
            yield
            return
        trained = {name: tensor.clone() for name, tensor in self.session.model.state_dict().items()}
        self.session.model.load_state_dict(weights)
        try:
            yield
        finally:
            self.session.model.load_state_dict(trained)

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
        """Everything that an uninterrupted run would have at this moment."""
        with self._outside_training():
            start = time.perf_counter()
            self._save()
            self.bookkeeping.checkpoints += time.perf_counter() - start
        self._saved_at = time.monotonic()

    def _save(self) -> None:
        session = self.session
        self.recorder.flush()
        state = {
            "model": dict(session.model.state_dict()), "optimizer": session.optimizer and session.optimizer.state_dict(),
            "techniques": self.pipeline.state_dict(), "stream": session.stream.state_dict(), "carried": self.state,
            "rng": snapshots.random_state(session.device), "snapshots": session.snapshots,
            "step": session.step, "tokens": session.tokens, "seconds": session.seconds, "evaluations_done": self.evaluations_done,
            "trained": self.trained, "digest": self.loss_digest, "stop_reason": session.stop_reason, "warm": self._warm,
            "text": session.text.fingerprint, "work": self.work and [asdict(self.work), self.work_tokens],
        }  # fmt: skip
        checkpoint.save(state, self.folder)

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
        self.evaluations_done, self.trained, self.loss_digest = state["evaluations_done"], state["trained"], state["digest"]
        # Checkpoints of earlier versions hold other counts, without bytes: the work of a step is then not known.
        if state["work"] and len(state["work"]) == 2:
            done, self.work_tokens = state["work"]
            self.work = flops.Work(**done)
        self._window = (session.tokens, session.seconds)
        session.snapshots |= state.get("snapshots", {})
        snapshots.set_random_state(state["rng"], session.device)
