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

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, Self

from pydantic import model_validator

from engines.certificate import Trial, certificate
from engines.corpus import Corpus, CorpusError, Documents, Text, Vocabulary
from engines.plugin import Plugin, param
from engines.study import Axis, BreakEven, Cell, Conclusion, Estimate, Exponent, Group, Measured, Study, Trained

if TYPE_CHECKING:
    import numpy as np
    import torch
    from torch import nn

    from engines.toolbox.taps import Tap

__all__ = [
    "HOOKS", "Axis", "Block", "BreakEven", "Cell", "Conclusion", "Context", "Corpus", "CorpusError", "Documents", "Estimate", "Exponent", "Figure",
    "Group", "HeldOut", "Matches", "Measured", "Numerics", "Plugin", "Site", "Slot", "Study", "Task", "Technique", "Text", "Trained", "Trial",
    "Vocabulary", "certificate", "param",
]  # fmt: skip

Slot = Literal["embedding", "mixer", "feedforward", "head", "model"]
Numerics = Literal["same", "close", "different"]

HOOKS = (
    "data", "model", "wrap", "optimizer", "schedule", "loss", "gradient", "step", "validated", "weights", "finish",
)


# --- Blocks -------------------------------------------------------------------------------------------------------------------------------


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
    classes: tuple[str, ...] = ()
    """What whole texts are told apart by, where that is the task; the head's vocabulary is then these classes."""
    target_counts: np.ndarray | None = None
    """How often each token is to be predicted in training, (V,), where that is not how often it occurs: what a head's first scores follow."""


class Block(Plugin):
    """A part for one slot. `build` returns a module whose calls are fixed by the slot:

    embedding    (ids_BT) -> x_BTD; attribute `width`
    mixer        (x_BTD, state) -> (y_BTE, state); attribute `width` = E. state is None at the start, else what the last call returned
                 (carried across segments, detached by the engine, usable for step-by-step generation). One that is not `causal` is built for
                 whole texts alone and called (x_BTD, None, present_BT): present_BT is True where there is a token, None where all are
    feedforward  (x_BTD) -> (y_BTD, extras); extras may hold "auxiliary" (scalar, added to the mean loss) and "load" (counts per expert)
    head         loss(hidden_ND, target_N) -> sum; nll(hidden_ND, target_N) -> (N,) exact; log_prob(hidden_ND) -> (N, V);
                 topk(hidden_ND, k) -> (values, ids); rank(hidden_ND, target_N) -> (N,), the target's place among all tokens, from 1.
                 Attribute `normalised`; where it is False there is neither nll nor log_prob, and attribute `no_distribution` says why
    model        a whole model in place of the four others, adapted by the task: forward(ids_BT) -> scores_BTV; or forward(ids_BT, state) ->
                 (scores_BTV, state); or a module that has all that the assembled model has (`hidden`, `head`, `forward(batch, state)`).
                 One with a method fit(ids_T) -> sentence is not trained by steps: it is given the training text once, in order, as many
                 tokens as the budget names, at most all of them. Parameters must not be called embedding, layers or head. A task on whole
                 texts adapts forward(ids_BT, mask_BT) -> scores_BC, mask_BT True where there is a token, C classes; one on pairs of texts
                 forward(ids_BT, mask_BT) -> vectors_BD

    Weights sit in stock nn.Linear, nn.Embedding, nn.LSTM children that are really called, so that techniques can find and swap them.
    """

    kind: ClassVar[str] = "block"
    slot: ClassVar[Slot]
    numerics: ClassVar[Numerics] = "different"
    residual: ClassVar[bool] = False
    """Whether a layer adds its input back around this block unless the experiment says otherwise (then it is also normalised first)."""
    causal: ClassVar[bool] = True
    """Whether a token sees none after it; only such mixers can predict the next token of a text."""

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

    def train(self, *, tokens: int | None = None, lr_scale: float = 1.0) -> None:
        """Train on for so many tokens inside `finish` (fine-tuning), the schedule being over; counted in the variant's price. None: under
        the schedule until the budget is spent, which makes sense after `rewind`; `validated` hooks are not called."""

    def snapshot(self, step: int) -> None:
        """Ask, in a hook up to `step`, that training be kept as it is after so many updates: a copy of weights and optimiser in memory."""

    def rewind(self, step: int) -> None:
        """Put training back to a snapshot, inside `finish`: weights, optimiser, schedule, data order, random numbers, carried state, the
        memory of all other techniques. What was spent stays spent. ValueError where training never was there."""

    def calibration(self, batches: int) -> list[Any]:
        """The first batches of the training split."""

    def validate(self) -> float:
        """The task's first figure on the validation split under the current weights (for a language model its perplexity)."""

    def teacher(self, reference: str) -> nn.Module:
        """A finished model, frozen, in evaluation mode, on this run's device: that of another variant (same seed), of `run:12`, or of a path; for
        parameters with reference="model"."""

    def tap(self, pattern: str, *, scores: bool = False, model: nn.Module | None = None) -> AbstractContextManager[Tap]:
        """Inside `with`: what modules of this model (or of `model`, a teacher) whose names match give in a pass, and attention scores. A `*`
        never stands for a dot. ValueError with a sentence where nothing matches, or has no scores (engines.toolbox.taps)."""

    def log(self, key: str, value: float, unit: str = "") -> None:
        """One point of a series at the current step."""

    def effect(self, sentence: str, **figures: float) -> None:
        """State what this technique really changed; shown beside the engine's own measurement."""

    def stop(self, reason: str) -> None:
        """End training after this step; the run goes on to finish and evaluation."""


@dataclass(frozen=True)
class Matches:
    """What a technique would work on in a model, before anything is done. names: of weights, or of modules or parts where it takes these whole;
    left: sentences about what its patterns find and it leaves alone. refusal: why a run with it would fail, a sentence; empty where it need not:
    an experiment is refused with it before anything starts."""

    names: tuple[str, ...]
    left: tuple[str, ...] = ()
    refusal: str = ""


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

    def matches(self, module: nn.Module, text: Sequence[Any] = ()) -> Matches | None:
        """Which parts of this model, as it is built, types and patterns find; None for a technique that does not go by them. The module is looked
        at and not changed; its weights may be on the meta device. text: a batch of drawn tokens as the task reads them, where it can be run."""
        return None


# --- Tasks --------------------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Figure:
    """One final figure: a key ("quality/test_perplexity"), value, unit, and which direction is better.

    low, high: its interval where the judgement itself gives one (a bootstrap over word pairs). detail: what has to be known to read it.
    """

    key: str
    value: float
    unit: str
    better: Literal["lower", "higher", "none"]
    low: float | None = None
    high: float | None = None
    detail: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class HeldOut:
    """What a function of the user's own judges a finished model on (parameter `evaluate` of every task).

    split: "valid" or "test". text: the prepared corpus; `text.splits[split]` are the ids of the split, `text.documents.get(split)` its texts with
    labels or scores. tokens: how much of the split counts (`measure.held_out_tokens`; of whole texts, texts), 0: all of it. batches: called for
    (inputs, targets), as the task reads them, on the device of the model: `model.hidden(inputs, None)[0]` is what `model.head` judges.
    """

    split: str
    text: Text
    tokens: int
    device: torch.device
    batches: Callable[[], Iterator[tuple[torch.Tensor, torch.Tensor]]]


class Task(Plugin):
    """What is learned and how quality is judged. No technique can touch this.

    The model is called in two ways beside training: `hidden(inputs, state)` gives (x_BTD, state, extras), and its `head` judges the targets.
    """

    own_metric: str = param(
        "",
        'A function of yours that judges finished models too, beside the experiment file: "module:function". It is called with (model, held_out, '
        "task) and returns one Figure or several.",
        alias="evaluate",
    )

    kind: ClassVar[str] = "task"
    no_layers: ClassVar[str] = ""
    """Why nothing stands between embedding and head, a sentence; empty where a model needs at least one layer."""
    of_documents: ClassVar[bool] = False
    """Whether whole texts are judged by their labels, one target a text, so that it needs a corpus with classes."""
    of_pairs: ClassVar[bool] = False
    """Whether pairs of whole texts are judged by how alike they are, one target a pair, so that a model gives a vector for a text."""
    no_steps: ClassVar[str] = ""
    """Why a model predicts no next token after a text, a sentence; empty where it does, so that it can write and has a latency."""

    @model_validator(mode="after")
    def _names_a_function(self) -> Self:
        module, colon, function = self.own_metric.partition(":")
        if self.own_metric and not (colon and all(part.isidentifier() for part in (*module.split("."), *function.split(".")))):
            raise ValueError(f'evaluate = "{self.own_metric}" must be written as "package.module:function".')
        return self

    def check(self) -> None:
        """Raise ValueError, with a sentence, for what is plainly wrong (a missing word list): asked before anything starts."""

    def assemble(self, model: Mapping[str, Any], blocks: Callable[[Mapping[str, Any]], Block], text: Text, length: int) -> nn.Module:
        """Build the model of a plan's `model` table; `blocks` turns {"id": ..., **parameters} into a Block."""
        raise NotImplementedError(f"{type(self).__name__} does not define assemble.")

    def batches(self, text: Text, batch: int, length: int, seed: int) -> Any:
        """Endless training batches (toolbox.batches.Stream): iterable, with state_dict and load_state_dict."""
        raise NotImplementedError(f"{type(self).__name__} does not define batches.")

    def held_out(self, text: Text, batch: int, length: int) -> tuple[torch.Tensor, torch.Tensor]:
        """(inputs, targets) of `batch` rows of `length` held-out targets, on the CPU: what scoring is timed and counted on. A short text is
        repeated."""
        raise NotImplementedError(f"{type(self).__name__} does not define held_out.")

    def held_out_batches(self, text: Text, split: str, tokens: int, batch: int, length: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """(inputs, targets) of a split as `evaluate` judges them, on the CPU, `batch` rows at a time: for functions of the user's own."""
        raise NotImplementedError(f"{type(self).__name__} does not define held_out_batches; read held_out.text in its place.")

    def evaluate(self, model: nn.Module, text: Text, split: str, tokens: int, batch: int, device: torch.device) -> list[Figure]:
        """Exact held-out figures on the first `tokens` tokens of a split (0: all)."""
        raise NotImplementedError(f"{type(self).__name__} does not define evaluate.")
