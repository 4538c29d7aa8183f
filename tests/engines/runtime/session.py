"""A small real session for runtime tests: the source of argparse, word for word, and an LSTM on it. No store."""

from __future__ import annotations

import argparse
import inspect
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from engines.api import Documents, Text, Vocabulary
from engines.runtime.context import Budget, Session
from engines.runtime.pipeline import Pipeline
from engines.runtime.plan import Parts, block
from engines.runtime.train import Control, Trainer

SIZE = 500
TRANSFORMER = {"mixer": {"id": "attention/full"}, "feedforward": {"id": "feedforward/dense"}, "repeat": 3, "residual": None, "norm": None}
"""Layers for a plan, as the engine fills them in."""


def text() -> Text:
    """About 20,000 tokens of Python source in three splits; as texts with labels, its lines: does one read or set an attribute?"""
    source = inspect.getsource(argparse)
    words = re.findall(r"\w+|\n|[^\w\s]", source)
    most = [word for word, _ in Counter(words).most_common(SIZE - 1)]
    index = {word: i for i, word in enumerate(["<unk>", *most])}
    ids = np.array([index.get(word, 0) for word in words], dtype=np.int32)
    ends = np.cumsum([len(word) + 1 for word in words])
    cuts = {"train": slice(0, 14_000), "valid": slice(14_000, 16_000), "test": slice(16_000, 18_000)}
    counts = np.bincount(ids[cuts["train"]], minlength=SIZE)
    splits = {name: ids[cut] for name, cut in cuts.items()}
    return Text(
        splits=splits,
        character_ends={name: ends[cut] - (ends[cut.start - 1] if cut.start else 0) for name, cut in cuts.items()},
        vocabulary=Vocabulary(tuple(index), counts, unknown=0), fingerprint="argparse", licence="PSF-2.0", level="word",
        classes=("no", "yes"), documents={name: _lines(part, index["\n"], index["."]) for name, part in splits.items()},
    )  # fmt: skip


def _lines(ids: np.ndarray, line_end: int, dot: int) -> Documents:
    ends = np.append(np.flatnonzero(ids[:-1] == line_end) + 1, len(ids))
    return Documents(ends, np.array([int(dot in part) for part in np.split(ids, ends[:-1])]))


def paired() -> Text:
    """The same lines, two and two, and how many of their words they share."""
    whole = text()
    documents = {}
    for name, ids in whole.splits.items():
        ends = whole.documents[name].ends[: len(whole.documents[name].ends) // 2 * 2]
        lines = np.split(ids, ends)[: len(ends)]
        both = [(set(one.tolist()), set(other.tolist())) for one, other in zip(lines[::2], lines[1::2], strict=True)]
        scores = np.array([len(one & other) / len(one | other) for one, other in both])
        documents[name] = Documents(ends, np.zeros(len(ends), np.int64), scores)
    return replace(whole, classes=(), documents=documents, pairs=True)


def plan(techniques: list[Mapping[str, Any]], **changes: Any) -> dict[str, Any]:
    """A plan of a one-layer LSTM; keyword arguments replace top-level tables."""
    return {
        "experiment": "test", "variant": "test", "task": {"id": "tasks/language_model"}, "corpus": {"id": "corpora/python_stdlib"},
        "budget": {"steps": 40}, "device": "cpu", "threads": 1,
        "model": {
            "embedding": {"id": "embeddings/lookup", "width": 24},
            "layers": [{"mixer": {"id": "recurrent/lstm", "width": 24}, "feedforward": None, "repeat": 1, "residual": None, "norm": None}],
            "head": {"id": "softmax/full"},
        },
        "training": {"batch": 8, "sequence": 12}, "techniques": list(techniques),
        "measure": {"evaluations": 2, "held_out_tokens": 400, "margin": 0.02}, "targets": [], "folder": ".",
    } | changes  # fmt: skip


class Memory:
    """A recorder that keeps points in memory."""

    def __init__(self) -> None:
        self.points: dict[str, list[tuple[int, float]]] = {}

    def add(self, key: str, step: int, value: float, unit: str = "", better: str = "none") -> None:
        self.points.setdefault(key, []).append((step, value))

    def add_many(self, key: str, points: list[tuple[int, float, float]], unit: str = "", better: str = "none") -> None:
        for step, _, value in points:
            self.add(key, step, value)

    def progress(self, **figures: float | None) -> None:
        pass

    def check(self) -> None:
        pass

    def flush(self) -> None:
        pass


def trainer(
    folder: Path, chosen: Mapping[str, Any], seed: int = 0, earlier: Mapping[str, Any] | None = None, teachers: Mapping[str, Any] | None = None
) -> Trainer:
    """A trainer that is ready to train, or to go on where `earlier` (a loaded checkpoint) stopped. A teacher of no name is the model itself."""
    parts = Parts.of(chosen)
    prepared = text()
    torch.manual_seed(seed)
    training = chosen["training"]
    model = parts.task.assemble(chosen["model"], block, prepared, training["sequence"])
    memory = Memory()
    session = Session(
        plan=chosen, task=parts.task, text=prepared, device=torch.device("cpu"), dtype=torch.float32, seed=seed,
        budget=Budget.of(chosen["budget"]), model=model, stream=parts.task.batches(prepared, training["batch"], training["sequence"], seed),
        log=lambda key, value, unit: memory.add(key, session.step, value), held_out=lambda: made.held_out(),
        teacher=lambda reference: (teachers or {}).get(reference, model), fine_tune=lambda tokens, scale: made.fine_tune(tokens, scale),
    )  # fmt: skip
    pipeline = Pipeline(parts.techniques, session)
    made = Trainer(session, pipeline, memory, Control(), folder / "checkpoint")  # type: ignore[arg-type]
    if earlier:
        pipeline.load_state_dict(earlier["techniques"])
    pipeline.shape_model()
    pipeline.assemble()
    if earlier:
        made.restore(dict(earlier))
    return made


def losses(made: Trainer) -> list[float]:
    return [value for _, value in made.recorder.points["train/loss"]]  # type: ignore[attr-defined]
