"""The processes of a timing session that are alive together: loaded, warm, with their turns planned; who cannot is left out.

The first process of all is the baseline's, alone: what it takes of the memory tells how many fit beside each other.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from engines import probes
from engines.machinestate import Observer, free_memory_mib
from engines.programmes import Entrant, Programme
from engines.stopwatches import Stopwatch, StopwatchError

MOST_ALIVE = 6
"""Processes of a block, baseline and control among them."""
SHARE_OF_MEMORY = 0.8
"""Of the free memory, host or device, that further processes may take."""


class Crowded(Exception):
    """Memory holds no more than `room` processes at a time."""

    def __init__(self, room: int) -> None:
        self.room = room


class Crew:
    """check: called where much time may have passed; it raises where the session is to end. tell: gets sentences about what goes on."""

    def __init__(self, programme: Programme, observer: Observer, log: Path, check: Callable[[], None], tell: Callable[[str], None]) -> None:
        self._programme, self._observer, self._log, self._check, self._tell = programme, observer, log, check, tell
        self.spent = {"loading_s": 0.0, "warm_up_s": 0.0, "rounds_s": 0.0}
        self.room = MOST_ALIVE
        """How many processes may be alive together."""
        self._room_is_known = False
        self.memory: dict[str, float] = {}
        """What one process takes and what was free, MiB, of the host and the GPU."""
        self.absent: dict[str, str] = {}
        """Who is left out, or which of their works, and why."""
        self.paces: dict[Entrant, dict[str, Any]] = {}
        """What each process said of its speed when it was first warm, with the repeats that follow from it."""
        self._counts: dict[int, dict[str, int]] = {}
        """Repeats of each work in a turn, of each variant: planned once."""
        self._turns: dict[Entrant, dict[str, int]] = {}
        """Those of the works that its present process is warm for."""

    def launch(self, stack: ExitStack, members: Sequence[Entrant], first: bool) -> dict[Entrant, Stopwatch]:
        """The processes of a block, the baseline first, loaded and warm; those that cannot run here are left out. Raises Crowded for too many.

        None is warmed, and so planned, while another one loads. first: whether it is the first launch of the block.
        """
        free_before = self._observer.gpu_free_mib()
        baseline = members[0]
        ready: dict[Entrant, Stopwatch] = {}
        for group in [members] if self._room_is_known else [members[:1], members[1:]]:
            with self.counted("loading_s"):
                loaded = self._load(stack, group, len(ready), first)
            for entrant, watch in loaded.items():
                try:
                    with self.counted("warm_up_s"):
                        self._warm(entrant, watch)
                except StopwatchError as error:
                    if error.memory and first and ready:
                        raise Crowded(len(ready)) from None
                    self.leave_out(entrant, watch, error)
                    continue
                ready[entrant] = watch
            if baseline not in ready:
                break
            if not self._room_is_known:
                self._room_is_known = True
                self.room = min(self.room, self._measure_room(ready[baseline], free_before))
                if len(members) > self.room:
                    raise Crowded(self.room)
        return ready

    def visit(self, entrant: Entrant, turns: int) -> list[dict[str, float]]:
        """The figures of some turns of a process that is there for them alone."""
        with ExitStack() as stack:
            watch = self._start(stack, entrant)
            try:
                with self.counted("loading_s"):
                    watch.loaded()
                with self.counted("warm_up_s"):
                    self._warm(entrant, watch)
                with self.counted("rounds_s"):
                    return [self.turn(entrant, watch) for _ in range(turns)]
            except StopwatchError as error:
                self.leave_out(entrant, watch, error)
                return []

    def turn(self, entrant: Entrant, watch: Stopwatch) -> dict[str, float]:
        """The figures of one turn. Raises StopwatchError."""
        return watch.ask(turn=self._turns[entrant])

    @contextmanager
    def counted(self, what: str) -> Iterator[None]:
        """What happens inside counts as time of this kind, also where it fails."""
        begun = time.monotonic()
        try:
            yield
        finally:
            self.spent[what] += time.monotonic() - begun

    def leave_out(self, entrant: Entrant, watch: Stopwatch, error: StopwatchError) -> None:
        """End its process at once: nothing of it may run beside the turns of the others."""
        watch.close()
        self.absent[entrant.name] = str(error)
        self._tell(f"{entrant.name} is not timed: {error}")

    def _load(self, stack: ExitStack, group: Sequence[Entrant], alive: int, first: bool) -> dict[Entrant, Stopwatch]:
        """The processes of a group, all loaded. alive: how many there are beside them. Raises Crowded."""
        watches = {entrant: self._start(stack, entrant) for entrant in group}
        failed: dict[Entrant, StopwatchError] = {}
        for entrant, watch in watches.items():
            self._check()
            try:
                watch.loaded()
            except StopwatchError as error:
                failed[entrant] = error
        loaded = {entrant: watch for entrant, watch in watches.items() if entrant not in failed}
        if first and alive + len(loaded) and any(each.memory for each in failed.values()):
            raise Crowded(alive + len(loaded))
        for entrant, reason in failed.items():
            self.leave_out(entrant, watches[entrant], reason)
        return loaded

    def _start(self, stack: ExitStack, entrant: Entrant) -> Stopwatch:
        return stack.enter_context(Stopwatch(self._programme.arguments(entrant), self._log))

    def _measure_room(self, watch: Stopwatch, gpu_free_before: float | None) -> int:
        """How many processes like this one fit into the host's memory, and the GPU's."""
        size, free = probes.peak_resident_mib(watch.pid), free_memory_mib()
        room = 1 + int(SHARE_OF_MEMORY * free / max(size, 1.0))
        self.memory = {"process_mib": size, "free_mib": free}
        gpu_free = self._observer.gpu_free_mib()
        if gpu_free is not None and gpu_free_before is not None and gpu_free_before - gpu_free > 1:
            room = min(room, 1 + int(SHARE_OF_MEMORY * gpu_free / (gpu_free_before - gpu_free)))
            self.memory |= {"process_gpu_mib": gpu_free_before - gpu_free, "gpu_free_mib": gpu_free}
        return room

    def _warm(self, entrant: Entrant, watch: Stopwatch) -> None:
        """Wait until it is warm, and plan its turns. Raises StopwatchError."""
        self._check()
        pace = watch.ask(warm=True)
        # Windows are equally long in every launch, and the control's are the baseline's.
        counts = self._counts.setdefault(entrant.variant_id, self._programme.counts(pace["seconds"]))
        self._turns[entrant] = {work: count for work, count in counts.items() if work in pace["seconds"]}
        for key, sentence in pace.pop("absent", {}).items():
            if key in counts:
                self._tell(f"{entrant.name}: {key} is not timed in this launch. {sentence}")
            else:
                self.absent[f"{entrant.name}: {key}"] = sentence
        self.paces.setdefault(entrant, pace | {"counts": counts})
