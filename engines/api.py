"""What a plugin author declares and sees. Imports neither torch, Qt nor SQL.

A plugin is one frozen pydantic class in one file, `<package>/<family>/<name>.py`; its id is `family/name`, its title the first line of the
class docstring, its card the whole docstring. Parameters are its fields, made with `param`. The training loop calls the hooks of techniques
at fixed places (the order is that of `HOOKS`):

    batches   = data(task's batches)
    module    = model(assembled module)              # state_dict names stay as they were, or `restore` rebuilds the structure
    callable  = wrap(module)                         # what training calls; ctx.model stays the unwrapped module
    factory   = optimizer(factory); multiplier = schedule(multiplier)
    loss_of   = loss(callable)                       # (batch, state) -> (loss_sum, count, state, extras)
    backward  = gradient(default forward_backward)   # (batch, state, count=None, scale=1.0) -> (loss_sum, count, state, extras)
    update    = step(optimizer step)                 # () -> None, the whole update
    for batch in batches:
        backward(batch, state); update()
        now and then: figure = held-out loss under weights(...); validated(figure)
    module, record = finish(module)                  # may train again; `restore(module, record)` rebuilds before weights load
    evaluation, clock, seed, data split: never
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol

from pydantic import BaseModel, ConfigDict, Field
from pydantic.config import JsonDict
from pydantic_core import PydanticUndefined

if TYPE_CHECKING:
    import numpy as np
    import torch
    from torch import nn

Slot = Literal["embedding", "mixer", "feedforward", "head", "model"]
Numerics = Literal["same", "close", "different"]

HOOKS = (
    "data", "model", "wrap", "optimizer", "schedule", "loss", "gradient", "step", "validated", "weights", "finish",
)


def param(
    default: Any = PydanticUndefined,
    help: str = "",
    *,
    unit: str = "",
    symbol: str = "",
    ge: float | None = None,
    gt: float | None = None,
    le: float | None = None,
    lt: float | None = None,
    reference: Literal["", "variant"] = "",
    path: bool = False,
) -> Any:
    """Declare one parameter: default, help, unit, symbol of the paper, bounds.

    reference="variant": the value names a variant of the same experiment whose finished model this plugin reads, so that its run
    comes first. path=True: a relative value is resolved against the folder of the experiment file.
    """
    marks: JsonDict = {"unit": unit, "symbol": symbol, "reference": reference, "path": path}
    extra: JsonDict = {key: value for key, value in marks.items() if value}
    return Field(default, description=help, ge=ge, gt=gt, le=le, lt=lt, json_schema_extra=extra or None)


class Plugin(BaseModel):
    """What every plugin is: a frozen set of parameters with a card."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=False)

    kind: ClassVar[str] = ""
    """One of block, technique, task, corpus, study."""
    paper: ClassVar[str] = ""
    """Citation: authors, year, title, link."""
    was: ClassVar[tuple[str, ...]] = ()
    """Old ids under which experiment files may still name it."""

    @classmethod
    def unavailable(cls) -> str:
        """Why this cannot run on this machine, as a sentence; the empty string where it can."""
        return ""


# --- Blocks -------------------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Vocabulary:
    """Token types of a corpus, ids sorted by falling training frequency (id 0 is the most frequent).

    counts: occurrences of each id in the training split, shape (V,), int64.
    """

    tokens: tuple[str, ...]
    counts: np.ndarray
    unknown: int | None = None
    joiner: str = " "

    @property
    def size(self) -> int:
        return len(self.tokens)


@dataclass(frozen=True)
class Site:
    """Where a block is built: what comes in, what must go out, and what it may look at."""

    width: int
    """Incoming width D. An embedding reads its own width from its parameters."""
    vocabulary: Vocabulary
    length: int
    """Training sequence length T; a block may see longer or shorter ones."""
    position: int = 0
    """Index of the layer, from 0."""
    embedding: nn.Module | None = None
    """The built embedding (heads tie to its `.weight`, shape (V, D))."""


class Block(Plugin):
    """A part for one slot. `build` returns a module whose calls are fixed by the slot:

    embedding    (ids_BT) -> x_BTD; attribute `width`
    mixer        (x_BTD, state) -> (y_BTE, state); attribute `width` = E. state is None at the start, else what the last call returned
                 (carried across segments, detached by the engine, usable for step-by-step generation)
    feedforward  (x_BTD) -> (y_BTD, extras); extras may hold "auxiliary" (scalar, added to the mean loss) and "load" (counts per expert)
    head         loss(hidden_ND, target_N) -> sum; nll(hidden_ND, target_N) -> (N,) exact; log_prob(hidden_ND) -> (N, V);
                 topk(hidden_ND, k) -> (values, ids); rank(hidden_ND, target_N) -> (N,), the target's place among all tokens, from 1.
                 Attribute `normalised`; where it is False there is neither nll nor log_prob, and attribute `no_distribution` says why
    model        a whole model in place of the four others, adapted by the task: forward(ids_BT) -> scores_BTV; or forward(ids_BT, state) ->
                 (scores_BTV, state); or a module that has all that the assembled model has (`hidden`, `head`, `forward(batch, state)`).
                 One with a method fit(ids_T) -> sentence is not trained by steps: it is given the training text once, in order, as many
                 tokens as the budget names, at most all of them. Parameters must not be called embedding, layers or head

    Weights sit in stock nn.Linear, nn.Embedding, nn.LSTM children that are really called, so that techniques can find and swap them.
    """

    kind: ClassVar[str] = "block"
    slot: ClassVar[Slot]
    numerics: ClassVar[Numerics] = "different"
    residual: ClassVar[bool] = False
    """Whether a layer adds its input back around this block unless the experiment says otherwise (then it is also normalised first)."""
    causal: ClassVar[bool] = True

    def build(self, site: Site) -> nn.Module:
        raise NotImplementedError(f"{type(self).__name__} does not define build(site).")


# --- Techniques ---------------------------------------------------------------------------------------------------------------------------


class Context(Protocol):
    """What a hook may see and ask for. One object per technique and run."""

    device: torch.device
    dtype: torch.dtype
    seed: int
    step: int
    """Updates done."""
    tokens: int
    """Training tokens seen."""
    progress: float
    """Share of the budget that is spent, 0 to 1."""
    model: nn.Module
    """The unwrapped model."""
    optimizer: torch.optim.Optimizer
    state: dict[str, Any]
    """This technique's memory: tensors, numbers, texts, lists, dicts. Saved in checkpoints, restored on resume."""
    vocabulary: Vocabulary
    length: int

    def train(self, *, tokens: int, lr_scale: float = 1.0) -> None:
        """Train on for so many tokens inside `finish` (fine-tuning); counted in the variant's price."""

    def calibration(self, batches: int) -> list[Any]:
        """The first batches of the training split."""

    def validate(self) -> float:
        """The task's first figure on the validation split under the current weights (for a language model its perplexity)."""

    def teacher(self, reference: str) -> nn.Module:
        """The finished model of another variant (same seed), frozen, in evaluation mode, on this run's device."""

    def log(self, key: str, value: float, unit: str = "") -> None:
        """One point of a series at the current step."""

    def effect(self, sentence: str, **figures: float) -> None:
        """State what this technique really changed; shown beside the engine's own measurement."""

    def stop(self, reason: str) -> None:
        """End training after this step; the run goes on to finish and evaluation."""


class Technique(Plugin):
    """One paper's idea that changes how a model is built, trained, finished or run.

    A technique defines the hooks it needs (see HOOKS); each gets a part and the context and returns the part, changed or wrapped. Several
    techniques on one hook are applied in recipe order: a later one wraps an earlier one.
    """

    kind: ClassVar[str] = "technique"
    numerics: ClassVar[Numerics] = "different"
    """Promise: same = the loss series is bit-equal without it, close = equal within float tolerance, different."""
    group: ClassVar[str] = ""
    """At most one technique of a group in a recipe (optimizer, schedule ...)."""
    requires: ClassVar[tuple[str, ...]] = ()
    """Ids or groups that must be in the recipe too."""
    conflicts: ClassVar[Mapping[str, str]] = {}
    """Id or group -> the sentence that says why and what to do."""
    after: ClassVar[tuple[str, ...]] = ()
    """Ids that must stand earlier in the recipe where both are used."""
    replaces: ClassVar[tuple[str, ...]] = ()
    """Names of module types that `model` or `finish` swaps out."""

    @classmethod
    def hooks(cls) -> tuple[str, ...]:
        """The hooks this technique defines, in the order the engine calls them."""
        return tuple(name for name in HOOKS if callable(getattr(cls, name, None)))


# --- Corpora and tasks --------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Text:
    """A prepared corpus: token ids of each split as (memory-mapped) integer arrays of shape (T,), and what is needed to judge on them.

    character_ends: for each split an array of shape (T,) with the characters of the original text up to and including each token (line ends
    count), so that bits per original character can be given for any prefix.
    """

    splits: Mapping[str, np.ndarray]
    character_ends: Mapping[str, np.ndarray]
    vocabulary: Vocabulary
    fingerprint: str
    licence: str
    level: str
    facts: Mapping[str, Any] = field(default_factory=dict)
    encode: Callable[[str], list[int]] | None = None
    decode: Callable[[Iterable[int]], str] | None = None


class Corpus(Plugin):
    """Real text, how it is split and tokenised, its fingerprint."""

    kind: ClassVar[str] = "corpus"

    def prepare(self, cache: Path, announce: Callable[[str], None]) -> Text:
        """Read or build the ids under the folder `cache` (keyed by content). Raises CorpusError with a sentence for the user."""
        raise NotImplementedError(f"{type(self).__name__} does not define prepare(cache, announce).")

    def check(self) -> None:
        """Raise CorpusError for what is plainly wrong (a missing file), quickly and without tokenising: asked before anything starts."""

    def vocabulary_size(self, cache: Path) -> int | None:
        """Token types, where that is known without tokenising (prepared before, or fixed by a parameter)."""
        return None

    def is_prepared(self, cache: Path) -> bool:
        return True  # whether `prepare` has only to read; where not, a run lets another process prepare, so that its own memory stays clean


class CorpusError(ValueError):
    """A corpus that is missing, empty or not text; the message is a sentence for the user."""


@dataclass(frozen=True)
class Figure:
    """One final figure: a key of the design ("quality/test_perplexity"), value, unit, and which direction is better."""

    key: str
    value: float
    unit: str
    better: Literal["lower", "higher", "none"]


class Task(Plugin):
    """What is learned and how quality is judged. No technique can touch this."""

    kind: ClassVar[str] = "task"

    def assemble(self, model: Mapping[str, Any], blocks: Callable[[Mapping[str, Any]], Block], text: Text, length: int) -> nn.Module:
        """Build the model of a plan's `model` table; `blocks` turns {"id": ..., **parameters} into a Block."""
        raise NotImplementedError(f"{type(self).__name__} does not define assemble.")

    def batches(self, text: Text, batch: int, length: int, seed: int) -> Any:
        """Endless training batches (toolbox.batches.Stream): iterable, with state_dict and load_state_dict."""
        raise NotImplementedError(f"{type(self).__name__} does not define batches.")

    def evaluate(self, model: nn.Module, text: Text, split: str, tokens: int, batch: int, device: torch.device) -> list[Figure]:
        """Exact held-out figures on the first `tokens` tokens of a split (0: all)."""
        raise NotImplementedError(f"{type(self).__name__} does not define evaluate.")


# --- Studies ------------------------------------------------------------------------------------------------------------------------------


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
class Conclusion:
    """What the figures say. outcome: of the study's expectation, with the reason. lines: level on the y axis, in its unit, by name."""

    findings: tuple[str, ...]
    outcome: Literal["met", "refuted", "not decided"]
    reason: str
    lines: Mapping[str, float] = field(default_factory=dict)


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


# --- Certificates -------------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Trial:
    """Shapes, type and device on which a certificate is checked (the user's own, or these)."""

    batch: int = 2
    length: int = 32
    width: int = 16
    vocabulary: int = 50
    device: str = "cpu"
    dtype: str = "float64"
    seed: int = 0


def certificate(statement: str, tolerance: float = 1e-6) -> Callable[[Callable[[Trial], float]], Callable[[Trial], float]]:
    """Mark a function of a plugin file as a certificate: it measures the error of an exact statement ("window >= length equals full
    attention") on a Trial; the statement holds where the returned error is at most `tolerance`."""

    def mark(function: Callable[[Trial], float]) -> Callable[[Trial], float]:
        function.certificate = (statement, tolerance)  # type: ignore[attr-defined]
        return function

    return mark
