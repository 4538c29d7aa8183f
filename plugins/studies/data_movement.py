"""Reduce data movement, and move early: copies in one piece or row by row, pageable or pinned, before or beside the work."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from engines.api import Axis, Cell, Conclusion, Group, Measured, Study, Text, Trial, certificate, param
from engines.toolbox.studies import LECTURE, Verdict, amount, cuda_of, drawn, gain_of_steps, pays, ratio
from engines.toolbox.trials import relative_error

HOST_ROWS, HOST_WHOLE = "host, row by row", "host, one copy"
ROW = 1024
"""Numbers in a row: 4 KiB."""
BLOCKS = 8
"""Parts in which data is moved where moving and computing overlap."""
STEPS = ("Each word when it is needed", "The whole sentence before the loop", "Pinned, and not waited for")


class DataMovement(Study):
    """Move data in one piece, and early

    Speed trick 3 of the lecture. S bytes lie in rows of 4 KiB:

        bad    for every row:  copy it                     S / 4096 copies         (1)
        good   copy all of it                              one copy                (2)

    On the host S bytes are read and S written, so the rate counts 2 S. To a CUDA GPU the rate counts the S bytes that cross the bus, from
    pageable memory (the driver copies twice) and from pinned memory. Overlap, on a GPU: 8 blocks are moved and each is multiplied by a
    matrix; in turn, or the next block moved on a second stream while the last one is multiplied.

    The steps are the lecture's loop over 32 words: each word's array made a tensor when it is needed; the whole sentence moved before the
    loop; and, on a GPU, from pinned memory without waiting.

    Cost: S bytes moved in every alternative.
    Does nothing when: there is one row. Without a GPU it shows the host's side alone.
    """

    paper = LECTURE
    x = Axis("size", "MiB")
    y = Axis("speed", "GB/s", better="higher", scale=1e-9)
    expects = "One copy to the GPU is faster than a copy for every row, and pinned memory is faster than pageable."

    mib: list[float] = param([0.0625, 0.25, 1, 4, 16, 64, 256], "Sizes.", unit="MiB", symbol="S")
    words: int = param(32, "Words of the steps.", ge=1)
    width: int = param(256, "Numbers in a word, in the steps and where moving and computing overlap.", ge=1)
    threads: int = param(1, "Torch threads.", ge=1)
    device: Literal["auto", "cpu", "cuda"] = param("auto", "cpu: only the host; auto: a GPU too, where there is one.")

    def groups(self, text: Text | None) -> Iterable[Group]:
        sized = [group for size in sorted(set(self.mib)) for group in self._groups(size)]
        return [*sized, self._loop()]

    def _groups(self, mib: float) -> list[Group]:
        rows = max(1, round(mib * 2**20 / (4 * ROW)))
        size = 4 * ROW * rows
        host = tuple(Cell(name, made, work=2.0 * size, threads=self.threads, host_bytes=2 * size) for name, made in HOST.items())
        groups = [Group(float(mib), host, lambda: drawn(rows, ROW), host_bytes=2 * size, tolerance=0.0)]
        if cuda := cuda_of(self.device):
            fields: dict[str, Any] = {"device": cuda, "device_bytes": 2 * size, "host_bytes": 2 * size, "work": float(size)}
            cells = tuple(Cell(f"{cuda}, {name}", made, **fields) for name, made in TO_DEVICE.items())
            groups.append(Group(float(mib), cells, lambda: drawn(rows, ROW), host_bytes=2 * size, tolerance=0.0))
            cells = tuple(Cell(f"{cuda}, {name}", made, **fields) for name, made in OVERLAP.items())
            groups.append(Group(float(mib), cells, lambda: blocks(rows, self.width), host_bytes=2 * size, tolerance=1e-4))
        return groups

    def _loop(self) -> Group:
        device = cuda_of(self.device) or "cpu"

        def build() -> tuple[Tensor, list[np.ndarray]]:
            return drawn(self.width, self.width, seed=1).to(device), list(drawn(self.words, self.width, seed=2).numpy())

        ways = (each_when_needed, sentence_before, *((pinned_before,) if device != "cpu" else ()))
        cells = tuple(Cell(name, _step(way), device=device, threads=self.threads) for name, way in zip(STEPS, ways, strict=False))
        return Group(None, cells, build, title=f"A loop over {self.words} words, on {'the GPU' if device != 'cpu' else 'the CPU'}")

    def conclude(self, measured: Measured) -> Conclusion:
        findings, lines = [], {}
        for curve in (HOST_WHOLE, f"{cuda_of(self.device)}, pageable", f"{cuda_of(self.device)}, pinned"):
            rates = {x: found for x in measured.xs(curve) if (found := measured.rate(curve, x))}
            if rates:
                best, last = max(rates, key=lambda x: rates[x].value), max(rates)
                fastest, large = (f"{amount(rates[x].value * self.y.scale)} GB/s at {x:g} MiB" for x in (best, last))
                findings.append(f"{curve}: at most {fastest}" + ("." if best == last else f", {large}."))
        for curve, over in self._pairs():
            xs = [x for x in measured.xs(curve) if measured.speedup(curve, over, x)]
            for x in (xs[0], xs[-1]) if len(xs) > 1 else xs:
                found = measured.speedup(curve, over, x)
                if found:
                    findings.append(f'"{curve}" is {ratio(found)} as fast as "{over}" at {x:g} MiB.')
        peak = measured.peak("bytes_per_s", threads=self.threads)
        if peak:
            lines["measured peak of main memory"] = peak * self.y.scale
        names = [name for name in STEPS if measured.seconds(name, None)]
        findings += [f"Loop over words. {sentence}" for sentence in gain_of_steps(measured, names)]
        return Conclusion(tuple(findings), *self._judge(measured), lines)

    def _pairs(self) -> list[tuple[str, str]]:
        cuda = cuda_of(self.device)
        pairs = (("pageable", "row by row"), ("pinned", "pageable"), ("overlapped", "in turn"))
        on_device = [(f"{cuda}, {faster}", f"{cuda}, {slower}") for faster, slower in pairs]
        return [(HOST_WHOLE, HOST_ROWS), *(on_device if cuda else [])]

    def _judge(self, measured: Measured) -> tuple[Verdict, str]:
        cuda = cuda_of(self.device)
        if not cuda:
            return "not decided", "No GPU was measured. The host's side alone: " + pays(measured, HOST_WHOLE, HOST_ROWS, measured.xs(HOST_WHOLE))[1]
        judged = [pays(measured, curve, over, measured.xs(curve)) for curve, over in self._pairs()[1:3]]
        outcomes = {outcome for outcome, _ in judged}
        worst: tuple[Verdict, ...] = ("refuted", "not decided", "met")
        return next(outcome for outcome in worst if outcome in outcomes), " ".join(reason for _, reason in judged)

    def not_shown(self) -> tuple[str, ...]:
        if cuda_of(self.device):
            return ()
        why = "device = cpu leaves the GPU out" if self.device == "cpu" else "torch finds no CUDA GPU here"
        return (f"{why[0].upper()}{why[1:]}: pageable against pinned memory, early copies and copies beside the work were not measured.",)


# --- On the host ------------------------------------------------------------------------------------------------------------------------------


def row_by_row(source_RC: Tensor) -> Callable[[], Tensor]:
    target_RC, rows = torch.empty_like(source_RC), list(source_RC)
    places = list(target_RC)

    def copy() -> Tensor:
        for place, row in zip(places, rows, strict=True):
            place.copy_(row)  # (1)
        return target_RC

    return copy


def one_copy(source_RC: Tensor) -> Callable[[], Tensor]:
    target_RC = torch.empty_like(source_RC)
    return lambda: target_RC.copy_(source_RC)  # (2)


HOST = {HOST_ROWS: row_by_row, HOST_WHOLE: one_copy}


# --- To a device ------------------------------------------------------------------------------------------------------------------------------


def _rows_to_device(source_RC: Tensor) -> Callable[[], Tensor]:
    rows = list(source_RC)
    return lambda: torch.stack([row.to("cuda") for row in rows])


def _pageable(source_RC: Tensor) -> Callable[[], Tensor]:
    return lambda: source_RC.to("cuda")


def _pinned(source_RC: Tensor) -> Callable[[], Tensor]:
    pinned_RC = source_RC.pin_memory()
    return lambda: pinned_RC.to("cuda", non_blocking=True)


TO_DEVICE = {"row by row": _rows_to_device, "pageable": _pageable, "pinned": _pinned}


def blocks(rows: int, width: int) -> tuple[list[Tensor], Tensor]:
    """(blocks of rows in pinned memory, the matrix that they are multiplied by, on the device)."""
    source_RC = drawn(rows, ROW).pin_memory()
    return list(source_RC.chunk(min(BLOCKS, rows))), drawn(ROW, width, seed=3).to("cuda")


def in_turn(shared: tuple[list[Tensor], Tensor]) -> Callable[[], list[Tensor]]:
    parts, w_CD = shared
    return lambda: [part_RC.to("cuda", non_blocking=True) @ w_CD for part_RC in parts]


def overlapped(shared: tuple[list[Tensor], Tensor]) -> Callable[[], list[Tensor]]:
    parts, w_CD = shared
    side, main = torch.cuda.Stream(), torch.cuda.current_stream()

    def moved(part_RC: Tensor) -> tuple[Tensor, torch.cuda.Event]:
        with torch.cuda.stream(side):
            return part_RC.to("cuda", non_blocking=True), side.record_event()

    def products() -> list[Tensor]:
        found, following = [], moved(parts[0])
        for position in range(len(parts)):
            part_RC, ready = following
            if position + 1 < len(parts):
                following = moved(parts[position + 1])
            main.wait_event(ready)
            found.append(part_RC @ w_CD)
            # Its memory is of the other stream, which must not give it away before this product is done.
            part_RC.record_stream(main)
        return found

    return products


OVERLAP = {"in turn": in_turn, "overlapped": overlapped}


# --- The loop over words ----------------------------------------------------------------------------------------------------------------------


def _step(way: Callable[..., Callable[[], list[Tensor]]]) -> Callable[[Any], Callable[[], list[Tensor]]]:
    return lambda shared: way(*shared)


def each_when_needed(w_DD: Tensor, words: Sequence[np.ndarray]) -> Callable[[], list[Tensor]]:
    return lambda: [w_DD @ torch.tensor(word, device=w_DD.device) for word in words]


def sentence_before(w_DD: Tensor, words: Sequence[np.ndarray]) -> Callable[[], list[Tensor]]:
    def loop() -> list[Tensor]:
        x_TD = torch.tensor(np.stack(words), device=w_DD.device)
        return [w_DD @ x_D for x_D in x_TD]

    return loop


def pinned_before(w_DD: Tensor, words: Sequence[np.ndarray]) -> Callable[[], list[Tensor]]:
    pinned_TD = torch.tensor(np.stack(words)).pin_memory()
    return lambda: [w_DD @ x_D for x_D in pinned_TD.to(w_DD.device, non_blocking=True)]


@certificate("Row by row and in one piece, the same bytes arrive", tolerance=0.0)
def same_bytes(trial: Trial) -> float:
    """Largest difference of the copies from the source."""
    source_RC = drawn(trial.length, trial.width, seed=trial.seed).to(trial.device, getattr(torch, trial.dtype))
    return max(float((made(source_RC)() - source_RC).abs().max()) for made in HOST.values())


@certificate("The loop over words computes the same, whenever the words are moved", tolerance=1e-5)
def same_loop(trial: Trial) -> float:
    """Largest error of a result against those of words moved when they are needed."""
    w_DD = drawn(trial.width, trial.width, seed=trial.seed).to(trial.device)
    words = list(drawn(trial.length, trial.width, seed=trial.seed + 1).numpy())
    return relative_error(torch.stack(sentence_before(w_DD, words)()), torch.stack(each_when_needed(w_DD, words)()))
