"""A plan's model without its text, and without its weights where those are large: built in milliseconds, however large it is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from engines.api import Block, Corpus, Task, Text
from engines.problems import join
from engines.runtime.plan import corpus_folder, plugin
from engines.toolbox.trials import zipf_vocabulary

WORDS, LETTERS = 10_000, 256
"""Sizes of the stand-in vocabulary of a corpus that was never tokenised, at word and at character level."""


@dataclass(frozen=True)
class Sketch:
    """model: on the CPU or, where large, on the meta device. text: a stand-in with the vocabulary's size and nothing else. assumed: whether
    that size is a guess."""

    task: Task
    model: nn.Module
    text: Text
    assumed: bool


DRAWS = frozenset(("normal_", "uniform_", "trunc_normal_", "bernoulli_", "exponential_", "log_normal_", "cauchy_", "geometric_", "random_"))


FEW = 10_000_000
"""Numbers in a model that is built with weights after all: it runs without what torch has to load for the meta device (over a second)."""


class _TooLarge(Exception):
    """A model has more than FEW numbers."""


class _Light(TorchFunctionMode):
    """Ends a build that allocates too much."""

    def __init__(self) -> None:
        super().__init__()
        self.numbers = 0

    def __torch_function__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None) -> Any:
        made = func(*args, **(kwargs or {}))
        if func is torch.empty:
            self.numbers += made.numel()
            if self.numbers > FEW:
                raise _TooLarge
        return made


class _NoDraws(TorchFunctionMode):
    """Leaves out the drawing of initial weights that do not exist."""

    def __torch_function__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None) -> Any:
        kwargs = kwargs or {}
        # torch.nn.init names its tensor.
        filled = args[0] if args else kwargs.get("tensor")
        if isinstance(filled, torch.Tensor) and filled.is_meta and getattr(func, "__name__", "") in DRAWS:
            return filled
        return func(*args, **kwargs)


class BuildError(ValueError):
    """The model of a plan cannot be built. path: the place in the plan of the part that was being built."""

    def __init__(self, path: str, sentence: str) -> None:
        super().__init__(sentence)
        self.path = path


def parts(plan: Mapping[str, Any]) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    """(path in the plan, role, choice) of every plugin that a plan names; role: task, corpus, technique, or the slot of a block."""
    yield "task", "task", plan["task"]
    yield "corpus", "corpus", plan["corpus"]
    model = plan["model"]
    yield from [("model", "model", model)] if "id" in model else _blocks(model)
    for i, choice in enumerate(plan["techniques"]):
        yield join("techniques", i), "technique", choice


def _blocks(model: Mapping[str, Any]) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    yield "model.embedding", "embedding", model["embedding"]
    for i, layer in enumerate(model["layers"]):
        for slot in ("mixer", "feedforward"):
            if layer.get(slot):
                yield join("model.layers", i, slot), slot, layer[slot]
    yield "model.head", "head", model["head"]


def stand_in(corpus: Corpus) -> tuple[Text, bool]:
    """A text without tokens whose vocabulary is as large as the corpus's, with its classes or pairs, and whether that size is a guess."""
    level = getattr(corpus, "level", "word")
    known = corpus.vocabulary_size(corpus_folder())
    size = known or (LETTERS if level == "char" else WORDS)
    nothing = {split: np.zeros(0, np.int64) for split in ("train", "valid", "test")}
    text = Text(
        splits=nothing, character_ends=nothing, vocabulary=zipf_vocabulary(size), fingerprint="", licence="", level=level, classes=corpus.classes(),
        pairs=corpus.of_pairs,
    )  # fmt: skip
    return text, known is None


def sketch(plan: Mapping[str, Any]) -> Sketch:
    """Assemble the model of a plan, on the CPU where it is small, else on the meta device.

    Raises BuildError with the place of the part that does not fit; PlanError and the like for the others.
    """
    try:
        return assemble(plan, "cpu", _Light())
    except _TooLarge:
        return assemble(plan, "meta", _NoDraws())


def assemble(plan: Mapping[str, Any], device: str, mode: AbstractContextManager[Any] | None = None) -> Sketch:
    """`sketch` on a given device."""
    text, assumed = stand_in(cast(Corpus, plugin(plan["corpus"])))
    task = cast(Task, plugin(plan["task"]))
    paths = {id(choice): path for path, _, choice in parts(plan)}
    latest = "model"

    def blocks(choice: Mapping[str, Any]) -> Block:
        nonlocal latest
        latest = paths.get(id(choice), "model")
        return cast(Block, plugin(choice))

    try:
        with torch.device(device), mode or nullcontext():
            model = task.assemble(plan["model"], blocks, text, int(plan["training"]["sequence"]))
    except (ValueError, RuntimeError, TypeError) as error:
        # What plugins raise where sizes do not fit: their own sentence, or torch's.
        raise BuildError(latest, f"{error}{f' (vocabulary of {text.vocabulary.size:,} types assumed)' if assumed else ''}") from error
    return Sketch(task, model, text, assumed)
