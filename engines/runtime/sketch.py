"""A plan's model without its weights and without its text: built on the meta device, in milliseconds, however large it is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from torch import nn

from engines.api import Block, Corpus, Task, Text
from engines.problems import join
from engines.runtime.plan import cache_folder, plugin
from engines.toolbox.trials import zipf_vocabulary

WORDS, LETTERS = 10_000, 256
"""Sizes of the stand-in vocabulary of a corpus that was never tokenised, at word and at character level."""


@dataclass(frozen=True)
class Sketch:
    """model: on the meta device (or another, where asked for). text: a stand-in with the vocabulary's size and nothing else. assumed: whether
    that size is a guess."""

    model: nn.Module
    text: Text
    assumed: bool


class BuildError(ValueError):
    """The model of a plan cannot be built. path: the place in the plan of the part that was being built."""

    def __init__(self, path: str, sentence: str) -> None:
        super().__init__(sentence)
        self.path = path


def parts(plan: Mapping[str, Any]) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    """(path in the plan, role, choice) of every plugin that a plan names; role: task, corpus, embedding, mixer, feedforward, head, technique."""
    yield "task", "task", plan["task"]
    yield "corpus", "corpus", plan["corpus"]
    model = plan["model"]
    yield "model.embedding", "embedding", model["embedding"]
    for i, layer in enumerate(model["layers"]):
        for slot in ("mixer", "feedforward"):
            if layer.get(slot):
                yield join("model.layers", i, slot), slot, layer[slot]
    yield "model.head", "head", model["head"]
    for i, choice in enumerate(plan["techniques"]):
        yield join("techniques", i), "technique", choice


def stand_in(corpus: Corpus) -> tuple[Text, bool]:
    """A text without tokens whose vocabulary is as large as the corpus's, and whether that size is a guess."""
    level = getattr(corpus, "level", "word")
    known = corpus.vocabulary_size(cache_folder())
    size = known or (LETTERS if level == "char" else WORDS)
    nothing = {split: np.zeros(0, np.int64) for split in ("train", "valid", "test")}
    text = Text(splits=nothing, character_ends=nothing, vocabulary=zipf_vocabulary(size), fingerprint="", licence="", level=level)
    return text, known is None


def sketch(plan: Mapping[str, Any], device: str = "meta") -> Sketch:
    """Assemble the model of a plan. Raises BuildError with the place of the part that does not fit; PlanError and the like for the others."""
    text, assumed = stand_in(cast(Corpus, plugin(plan["corpus"])))
    task = cast(Task, plugin(plan["task"]))
    paths = {id(choice): path for path, _, choice in parts(plan)}
    latest = "model"

    def blocks(choice: Mapping[str, Any]) -> Block:
        nonlocal latest
        latest = paths.get(id(choice), "model")
        return cast(Block, plugin(choice))

    try:
        with torch.device(device):
            model = task.assemble(plan["model"], blocks, text, int(plan["training"]["sequence"]))
    except (ValueError, RuntimeError, TypeError) as error:
        # What plugins raise where sizes do not fit: their own sentence, or torch's.
        raise BuildError(latest, f"{error}{f' (vocabulary of {text.vocabulary.size:,} types assumed)' if assumed else ''}") from error
    return Sketch(model, text, assumed)
