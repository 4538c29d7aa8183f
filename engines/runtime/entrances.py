"""What can be called of a finished model where it is taken home: judge text, tell classes, read a prompt, write on token by token.

Each is a module with an example of its inputs, which is exported as a program of its own; names end in shapes: B rows, T tokens.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from engines.runtime.finished import Finished
from engines.runtime.graphs import CHECKED_STEPS, NO_PROBABILITIES, Classes, NotExportable, Prompt, Scoring, ScoringByAll, Step, after_prompt

STATELESS = (
    "It carries no state from token to token: read the prompt again with each token behind it, which is what the model itself does up to {length} "
    "tokens."
)


@dataclass(frozen=True)
class Part:
    """suffix: of its file, before the suffix of the format; what: a sentence. free: dimensions of each input that should take any size.
    rounds: how often it is tried, all outputs but the first going in again. grows: its state is longer after a round than before.
    reference: what it must equal, where that is not the module itself."""

    suffix: str
    what: str
    module: nn.Module
    example: tuple[Tensor, ...]
    names: tuple[str, ...]
    outputs: tuple[str, ...]
    free: tuple[tuple[int, ...], ...]
    rounds: int = 1
    grows: bool = False
    reference: nn.Module | None = None


@dataclass(frozen=True)
class Offer:
    """One entrance: the ways to write it, best first; or the reason why there is none."""

    what: str
    ways: tuple[Part, ...] = ()
    reason: str = ""


def entrances(finished: Finished, inputs_BT: Tensor, targets_BT: Tensor) -> Iterator[Offer]:
    """What a finished model offers, with held-out text as the example."""
    model: Any = finished.model
    normalised = bool(getattr(model.head, "normalised", True))
    if finished.task.of_documents:
        what = "Tells log probabilities of classes"
        part = Part("", f"{what}; ids behind the end of a text are -100.", Classes(model), (inputs_BT,), ("texts",), ("log_p",), ((0, 1),))
        yield Offer(what, (part,)) if normalised else Offer(what, reason=NO_PROBABILITIES)
        return
    what = "Judges text"
    if normalised:
        example, names, free = (inputs_BT, targets_BT), ("inputs", "targets"), ((0, 1), (0, 1))
        way = Part("", f"{what}: nats of each target, row by row.", Scoring(model), example, names, ("nll",), free)
        words = (
            f"{what}: nats of each target, row by row. The head's own way depends on values, which no graph holds: this one computes the log "
            "probabilities of all tokens and picks; the figures are the same, the head's saving is not in it."
        )
        yield Offer(what, (way, Part("", words, ScoringByAll(model), example, names, ("nll",), free, reference=way.module)))
    else:
        yield Offer(what, reason=NO_PROBABILITIES)
    if not finished.task.no_steps:
        yield from _writing_on(model, inputs_BT[:1])


def _writing_on(model: Any, prompt_1T: Tensor) -> Iterator[Offer]:
    """The prompt, and the step after it."""
    what = "Reads a prompt"
    try:
        token_11, state, shape = after_prompt(model, prompt_1T)
    except NotExportable as error:
        yield Offer("Writes on", reason=str(error))
        return
    afters = ("log_p", "next", *(f"state_{n}" for n in range(len(state))))
    words = f"{what}: the most probable next token with its log probability, and the state after the prompt."
    yield Offer(what, (Part("prompt", words, Prompt(model), (prompt_1T,), ("prompt",), afters, ((1,),)),))
    if getattr(model, "carries", True) is False:
        # Between two segments it begins anew, which depends on how much it has read.
        yield Offer("Writes on, a token at a time", reason=STATELESS.format(length=model.length))
        return
    step = Step(model, shape)
    with torch.no_grad():
        grown = [tuple(leaf.shape) for leaf in step(token_11, *state)[2:]]
    free = tuple(tuple(dim for dim, size in enumerate(leaf.shape) if size != after[dim]) for leaf, after in zip(state, grown, strict=True))
    what = "Writes on, a token at a time"
    words = f"{what}: gets a token and the state before it, gives the most probable next token with its log probability, and the state after."
    names, afters = ("token", *afters[2:]), ("log_p", "next", *(f"after_{n}" for n in range(len(state))))
    yield Offer(what, (Part("step", words, step, (token_11, *state), names, afters, ((), *free), CHECKED_STEPS, grows=any(free)),))
