"""What studies share: seeded tensors, thread counts, devices, where curves cross, and figures as words."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor

from engines.api import Cell, Estimate, Measured
from engines.probes import usable_cores

LECTURE = "Neubig (2021), CS11-747 Neural Networks for NLP, Efficiency Tricks for Neural Nets, https://phontron.com/class/nn4nlp2021/"

Verdict = Literal["met", "refuted", "not decided"]

MARGIN = 1.02
"""A ratio within 2% of one is none in practice, however closely it is known."""


def drawn(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> Tensor:
    """Uniform numbers in [-1, 1), the same for the same shape and seed, on the host."""
    generator = torch.Generator().manual_seed(seed)
    return (2 * torch.rand(*shape, generator=generator) - 1).to(dtype)


def one_and_all(threads: Iterable[int]) -> tuple[int, ...]:
    """Thread counts as asked; where none are: one, and as many as there are usable cores."""
    return tuple(dict.fromkeys(threads)) or tuple(sorted({1, usable_cores()}))


def thread_counts(cores: int) -> tuple[int, ...]:
    """1, 2, 4 ... up to the cores, the cores themselves, and twice as many as these."""
    counts = [1]
    while 2 * counts[-1] <= cores:
        counts.append(2 * counts[-1])
    return tuple(sorted({*counts, cores, 2 * cores}))


def threads_words(threads: int) -> str:
    return "1 thread" if threads == 1 else f"{threads} threads"


def cuda_of(device: str) -> str:
    """The CUDA device that "auto", "cpu" or "cuda" stands for; the empty string where none is meant or there."""
    return "cuda" if device in ("auto", "cuda") and torch.cuda.is_available() else ""


def doublings(first: int, last: int, per_doubling: int = 1, multiple: int = 1) -> list[int]:
    """Sizes from first to last, evenly spaced in their logarithm, rounded to multiples of `multiple`; both ends are in it."""
    sizes = [first]
    position = 0
    while sizes[-1] < last:
        position += 1
        exact = first * 2 ** (position / per_doubling)
        sizes.append(min(last, max(multiple, multiple * round(exact / multiple))))
    return sorted(set(sizes))


def faster(found: Estimate) -> bool:
    """Surely faster, by more than the margin."""
    return found.low is not None and found.low > MARGIN


def not_faster(found: Estimate) -> bool:
    """Surely not faster by more than the margin: as fast, or slower."""
    return found.high is not None and found.high < MARGIN


def slower(found: Estimate) -> bool:
    """Surely slower, by more than the margin."""
    return found.high is not None and found.high < 1 / MARGIN


def pays(measured: Measured, curve: str, over: str, xs: Iterable[float]) -> tuple[Verdict, str]:
    """Whether a curve is faster than another one at every x, by more than the margin: refuted where it is not at one of them."""
    ratios = {x: found for x in xs if (found := measured.speedup(curve, over, x)) is not None}
    if not ratios:
        return "not decided", "Nothing of it was measured."
    against = [x for x, found in ratios.items() if not_faster(found)]
    open_ = [x for x, found in ratios.items() if not faster(found) and x not in against]
    if against:
        return "refuted", f'"{curve}" is no faster than "{over}" at {_listed(against)}: {ratio(ratios[against[0]])} as fast at {against[0]:g}.'
    if open_:
        return "not decided", f"The intervals are too wide to say, or there are too few rounds for one, at {_listed(open_)}."
    least = min(ratios, key=lambda x: ratios[x].value)
    return "met", f"It is faster everywhere; least at {least:g}: {ratio(ratios[least])} as fast."


def crossing(measured: Measured, curve: str, over: str) -> tuple[float | None, float] | None:
    """(last x where `curve` is not faster, first x from which on it always is) by the medians; None where it is not faster at the end.

    The first is None where it is faster from the start.
    """
    ratios = [(x, found.value) for x in measured.xs(curve) if (found := measured.speedup(curve, over, x)) is not None]
    if not ratios or ratios[-1][1] <= 1:
        return None
    slower = [x for x, value in ratios if value <= 1]
    last = slower[-1] if slower else None
    return last, next(x for x, _ in ratios if last is None or x > last)


def break_even(ratios: Sequence[tuple[float, Estimate]]) -> tuple[float | None, float | None, float | None, bool]:
    """(x where the ratio comes down to 1, both limits of its interval, whether it is above 1 everywhere), from ratios at rising x.

    Between two x the logarithm of the ratio is taken to be a straight line over the logarithm of x. None: not within the x given.
    """
    values = [(x, found.value) for x, found in ratios]
    low, high = ([(x, limit) for x, found in ratios if (limit := pick(found)) is not None] for pick in (lambda e: e.low, lambda e: e.high))
    return _comes_down(values), _comes_down(low), _comes_down(high), values[-1][1] > 1 and _comes_down(values) is None


def _comes_down(ratios: Sequence[tuple[float, float]]) -> float | None:
    """The first x at which it is 1, having been above it."""
    for (x, above), (next_x, below) in pairwise(ratios):
        if above > 1 >= below:
            return float(x * (next_x / x) ** (math.log(above) / math.log(above / below)))
    return None


# --- Words ----------------------------------------------------------------------------------------------------------------------------------


def ratio(found: Estimate) -> str:
    """12.3x [11.9, 12.8]."""
    return f"{amount(found.value)}x {_limits(found, 1.0) or '(too few rounds for an interval)'}".rstrip()


def amount(value: float) -> str:
    """Three figures, never with an exponent: 1,083, 158, 6.11."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def took(found: Estimate) -> str:
    """4.31 µs [4.2, 4.4]."""
    unit, scale = ("s", 1.0) if found.value >= 1 else ("ms", 1e3) if found.value >= 1e-3 else ("µs", 1e6)
    return f"{scale * found.value:.3g} {unit} {_limits(found, scale)}".rstrip()


def gain_of_steps(measured: Measured, names: Sequence[str]) -> list[str]:
    """One sentence for each step after the first, and one for all of them."""
    sentences = []
    for before, name in pairwise(names):
        found = measured.speedup(name, before, None)
        if found is None:
            continue
        verdict = "" if faster(found) else "slower" if slower(found) else "no gain in practice" if not_faster(found) else "no sure gain"
        sentences.append(f"{name}: {ratio(found)} as fast as the step before{f', which is {verdict}' if verdict else ''}.")
    whole = measured.speedup(names[-1], names[0], None)
    if whole is not None:
        sentences.append(f"All steps together: {ratio(whole)} as fast.")
    return sentences


def shown(cells: Iterable[Cell]) -> list[str]:
    """The curves of cells that are shown."""
    return [cell.curve for cell in cells if cell.shown]


def _limits(found: Estimate, scale: float) -> str:
    return "" if found.low is None or found.high is None else f"[{amount(scale * found.low)}, {amount(scale * found.high)}]"


def _listed(xs: Sequence[float]) -> str:
    return ", ".join(f"{x:g}" for x in xs[:6]) + (" ..." if len(xs) > 6 else "")
