"""What the author of a study declares and sees: timed callables over sizes, and what their figures say. Part of `engines.api`.

Imports neither torch, Qt nor SQL.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol

from engines.plugin import Plugin, param

if TYPE_CHECKING:
    from torch import nn

    from engines.api import Block, Text


@dataclass(frozen=True)
class Axis:
    """What is drawn along one side of a study's picture.

    scale turns the measured quantity into `unit`. Where better is "higher" the quantity of a y axis is work per second, else the seconds of
    one call; an x axis is what the groups say, or, where it names a fact, what that fact of each cell turns out to be: then the x of a group
    only orders the groups, and the ratios are those to the first cell of its group.
    """

    name: str
    unit: str = ""
    log: bool = True
    better: Literal["lower", "higher", "none"] = "none"
    scale: float = 1.0
    fact: str = ""


@dataclass(frozen=True)
class Cell:
    """One callable that is timed: the point of a curve at the x of its group.

    build: gets what the group's `build` made, returns the callable, without arguments; what that returns (tensors, nested in tuples or lists)
    is compared with what the first cell of the group returns. work: operations or bytes of one call, for rates and for telling how long a
    larger one will take. host_bytes, device_bytes: memory it needs beside the group's. threads: of torch (0: the usable cores minus one).
    device: where it runs; its work there is waited for after every call, unless wait is False (then only handing it over is timed).
    shown: whether it is a point of a curve, or only read by `conclude`. note: what is known of it without measuring; that of the largest x
    stands beside its curve. setting: with which parameters it was made, beside its point. facts: measures what else is to be known of it
    (how good its results are), once, outside the rounds, from the callable: {name with unit: figure}.
    """

    curve: str
    build: Callable[[Any], Callable[[], Any]]
    work: float = 0.0
    host_bytes: int = 0
    device_bytes: int = 0
    threads: int = 0
    device: str = "cpu"
    tolerance: float | None = None
    wait: bool = True
    shown: bool = True
    note: str = ""
    setting: str = ""
    facts: Callable[[Any], Mapping[str, float]] | None = None


@dataclass(frozen=True)
class Group:
    """Alternatives that compute the same values, timed in interleaved rounds, so that their ratios are paired.

    x: where they stand on the axis; None: they are the steps of one improvement, in this order, reported one by one under `title`.
    build: makes what they share; called once, when the memory was found to suffice. tolerance: the largest error of a result, relative to the
    largest absolute value of the first cell's; None: they are rivals that compute different values, which need only be finite.
    """

    x: float | None
    cells: tuple[Cell, ...]
    build: Callable[[], Any] = lambda: None
    host_bytes: int = 0
    tolerance: float | None = 1e-5
    title: str = ""


@dataclass(frozen=True)
class Estimate:
    """A median of n values and its 95% interval; the limits are None where n is too small to say."""

    value: float
    low: float | None
    high: float | None
    n: int


@dataclass(frozen=True)
class Exponent:
    """How seconds, or memory, grow over x: as x ** value, seen between `first` and `last`."""

    value: float
    low: float
    high: float
    first: float
    last: float


class Measured(Protocol):
    """What a study concludes from. x = None asks for the steps. What was left out is None."""

    curves: tuple[str, ...]
    """Those with at least one figure, in the order of the groups."""

    def xs(self, curve: str) -> tuple[float, ...]:
        """Where a curve has figures, rising."""

    def seconds(self, curve: str, x: float | None) -> Estimate | None:
        """How long one call takes."""

    def setting(self, curve: str, x: float | None) -> str:
        """What the cell says it was made with."""

    def facts(self, curve: str, x: float | None) -> Mapping[str, float]:
        """What the cell's `facts` measured."""

    def rate(self, curve: str, x: float | None) -> Estimate | None:
        """Work of one call per second."""

    def speedup(self, curve: str, over: str, x: float | None) -> Estimate | None:
        """How many times faster a curve is than another one of its group: median of the ratios of the same rounds."""

    def memory(self, curve: str, x: float | None) -> float | None:
        """Bytes that one call holds at most beyond what was there before it; None where the study has no `memory`."""

    def exponent(self, curve: str, quantity: Literal["seconds", "memory"] = "seconds") -> Exponent | None:
        """Fitted where the curve is straight on double logarithmic axes."""

    def peak(self, quantity: Literal["flops_per_s", "bytes_per_s"], *, dtype: str = "", device: str = "cpu", threads: int = 0) -> float | None:
        """What this machine was measured to reach at best; None where it was not measured."""


@dataclass(frozen=True)
class BreakEven:
    """The share of weights left at which a product in a sparse format takes as long as the dense one: with fewer it is faster.

    density: None where the two are never as fast between `smallest` and `largest`, the densities measured; always: whether the format is then
    faster at all of them, else at none. low, high: 95% interval; None where it ends outside what was measured. threads: 0 on a GPU.
    """

    format: str
    device: str
    threads: int
    batch: int
    width: int
    density: float | None
    low: float | None
    high: float | None
    always: bool
    smallest: float
    largest: float


@dataclass(frozen=True)
class Conclusion:
    """What the figures say. outcome: of the study's expectation, with the reason. lines: level on the y axis, in its unit, by name. break_even:
    what comparisons on this machine cite where weights are zero."""

    findings: tuple[str, ...]
    outcome: Literal["met", "refuted", "not decided"]
    reason: str
    lines: Mapping[str, float] = field(default_factory=dict)
    break_even: tuple[BreakEven, ...] = ()


@dataclass(frozen=True)
class Trained:
    """A finished model, in evaluation mode on the CPU, and the text that it was trained on."""

    model: nn.Module
    text: Text


class Study(Plugin):
    """One operation measured over sizes: groups of alternatives, an expectation that the figures meet or refute, and what they say."""

    kind: ClassVar[str] = "study"
    x: ClassVar[Axis]
    y: ClassVar[Axis]
    expects: ClassVar[str]
    """The expectation, a sentence."""
    memory: ClassVar[bool] = False
    """Whether the peak memory of a call of each cell is measured too: one call by itself, outside the timed rounds."""

    seconds: float = param(1.0, "Time for each cell; it takes less where its interval is narrow sooner.", unit="s", gt=0, le=3600)

    def corpus(self) -> Mapping[str, Any] | None:
        """{"id": ..., **parameters} of the corpus that `groups` is given; None: it needs none."""
        return None

    def groups(self, text: Text | None) -> Iterable[Group]:
        """All groups in the order in which they are measured, small sizes first. Allocates nothing."""
        raise NotImplementedError(f"{type(self).__name__} does not define groups(text).")

    def finished(self) -> str:
        """The finished model that the study is about: the number of a run of this store, or a folder; the empty string: it needs none."""
        return ""

    def groups_of(self, load: Callable[[], Trained]) -> Iterable[Group]:
        """As `groups`, in place of it, where `finished` names a model, which `load` reads."""
        raise NotImplementedError(f"{type(self).__name__} does not define groups_of(load).")

    def groups_with(self, text: Text | None, blocks: Callable[[Mapping[str, Any]], Block]) -> Iterable[Group]:
        """As `groups`, in place of it, for a study that measures blocks of the catalogue: `blocks` turns {"id": ..., **parameters} into one."""
        return self.groups(text)

    def conclude(self, measured: Measured) -> Conclusion:
        """Sentences that follow from the figures, and from nothing else."""
        raise NotImplementedError(f"{type(self).__name__} does not define conclude(measured).")

    def not_shown(self) -> tuple[str, ...]:
        """What this machine, or these parameters, cannot show: sentences with the reason."""
        return ()
