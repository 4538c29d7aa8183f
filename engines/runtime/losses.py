"""Losses on their way from the device to the recorder, and what is told of training now and then: throughput, memory, progress."""

from __future__ import annotations

import math
import struct
import time
import zlib
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import torch

from engines import probes
from engines.observing import Bookkeeping

if TYPE_CHECKING:
    from engines.runtime.context import Session
    from engines.runtime.recorder import Recorder

READ_SECONDS = 0.25
"""How often losses leave the device, after the first one at once; between two reads the loop only appends to a list."""


class Diverged(Exception):
    """The loss stopped being a number."""


class Losses:
    """told: is called each time that progress was told."""

    def __init__(self, session: Session, recorder: Recorder, bookkeeping: Bookkeeping, told: Callable[[], None]) -> None:
        self.session, self.recorder, self.bookkeeping, self._told = session, recorder, bookkeeping, told
        self.digest = 0
        """A running checksum of the loss series: two runs with the same digest trained identically."""
        self.every = READ_SECONDS
        """Seconds after which they are read by themselves; infinite: only by who calls `read`."""
        self.extras: Mapping[str, Any] = {}
        """What the model handed out beside its last loss."""
        self._unread: list[tuple[int, float, torch.Tensor, int]] = []
        self._last = math.nan
        self._read_at, self._told_at = -math.inf, time.perf_counter()
        self.begin_window()

    def begin_window(self) -> None:
        """Throughput is counted from here to the next time that it is told."""
        self._window = (self.session.tokens, self.session.seconds)

    def leave_out(self, tokens: int, seconds: float) -> None:
        """A step that belongs to no figure of speed."""
        self._window = (self._window[0] + tokens, self._window[1] + seconds)

    def note(self, loss_sum: torch.Tensor, count: int) -> None:
        """The loss of the step that was just made, summed over `count` tokens; it stays where it is."""
        self._unread.append((self.session.step, time.time(), loss_sum, count))

    def are_due(self, now: float) -> bool:
        """Whether it is time to read them. now: of `time.perf_counter`."""
        return now - self._read_at > self.every

    def read(self) -> None:
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
        self.recorder.add_many("train/loss", [(u[0], u[1], mean) for u, mean in zip(unread, means, strict=True)], "nats/token", "lower")
        self.digest = zlib.crc32(struct.pack(f"{len(means)}d", *means), self.digest)
        self._last = means[-1]
        self._tell_extras()
        now = time.perf_counter()
        self._read_at = now
        if now - self._told_at > 2 * READ_SECONDS:
            self._tell_progress(now)
        self.bookkeeping.records += time.perf_counter() - start
        for (step, *_), mean in zip(unread, means, strict=True):
            if not math.isfinite(mean):
                raise Diverged(f"The loss became {mean} at step {step}.")

    def _tell_progress(self, now: float) -> None:
        session, (tokens, seconds) = self.session, self._window
        rate = (session.tokens - tokens) / max(1e-9, session.seconds - seconds)
        self.begin_window()
        self._told_at = now
        self._told()
        add = self.recorder.add
        if session.tokens > tokens and session.seconds > seconds:
            add("speed/train_tokens_per_s", session.step, rate, "tokens/s", "higher")
        add("progress/tokens", session.step, session.tokens, "tokens")
        if session.device.type == "cuda":
            add("memory/device_allocated_mib", session.step, torch.cuda.memory_allocated(session.device) / probes.MIB, "MiB")
            add("memory/device_reserved_mib", session.step, torch.cuda.memory_reserved(session.device) / probes.MIB, "MiB")
        progress = session.progress
        remaining = session.seconds * (1 - progress) / progress if progress > 0 else None
        self.recorder.progress(
            fraction=progress, step=session.step, tokens=session.tokens, seconds=session.seconds, remaining_s=remaining,
            loss=self._last, tokens_per_s=rate, recording_share=self.bookkeeping.share(session.seconds),
        )  # fmt: skip

    def _tell_extras(self) -> None:
        """An auxiliary loss, and how many tokens each expert was sent."""
        step, auxiliary = self.session.step, self.extras.get("auxiliary")
        if auxiliary is not None:
            self.recorder.add("train/auxiliary", step, float(auxiliary.detach()), "nats/token")
        for layer, counts in (self.extras.get("load") or {}).items():
            shares = (counts.cpu().double() / counts.cpu().sum().clamp(min=1)).tolist()
            for expert, share in enumerate(shares):
                self.recorder.add(f"experts/{layer}/{expert}", step, share, "share of tokens")
