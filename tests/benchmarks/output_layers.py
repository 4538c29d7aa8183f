"""What the benchmark of output layers measures: the arms, the text that they read, whole training steps, and heads by themselves.

Arms whose plugin is not installed are left out with a sentence.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from engines import catalogue
from engines.api import Site, Text, Vocabulary
from engines.runtime.context import Budget, Session
from engines.runtime.pipeline import Pipeline
from engines.runtime.plan import Parts, block, plugin, text_of
from engines.toolbox.batches import detach

CPU = torch.device("cpu")
CORPUS = {"id": "corpora/python_stdlib", "level": "word", "max_vocabulary": 1_000_000}
"""All words of it."""
SIZE = 49_152
"""Types of the vocabulary: those of the corpus, and as many more as it takes that never occur, which every head has to carry all the same."""
WIDTH, BATCH, LENGTH = 200, 20, 35
SGD, ADAM, SPARSE_ADAM = ({"id": f"optimization/{name}", "lr": lr} for name, lr in (("sgd", 0.5), ("adam", 1e-3), ("sparse_adam", 1e-3)))

FULL, ADAPTIVE = ({"id": f"softmax/{name}"} for name in ("full", "adaptive"))
FITTED = ADAPTIVE | {"cutoffs": []}
SAMPLED, NCE, NEGATIVE = ({"id": f"softmax/{name}", "samples": 1024} for name in ("importance_sampled", "nce", "negative_sampling"))
CLASSES, TREE, CHUNKED = ({"id": f"softmax/{name}"} for name in ("class_based", "hierarchical", "chunked"))
HYBRID = {"id": "softmax/binary_code", "hybrid": 512}


@dataclass(frozen=True)
class Arm:
    """One way to have an output layer. reach: how many times as fast as the first arm it is to be, or as large; None: reported."""

    name: str
    head: Mapping[str, Any]
    reach: float | None = None
    optimizer: Mapping[str, Any] = field(default_factory=lambda: SGD)
    sparse: bool = False
    """Sparse rows of embedding and, where the head has the parameter, of the output matrix."""

    @property
    def tables(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """(embedding, head) as in an experiment."""
        embedding = {"id": "embeddings/lookup", "width": WIDTH} | ({"sparse": True} if self.sparse else {})
        takes = "sparse" in catalogue.load(self.head["id"]).model_fields
        return embedding, dict(self.head) | ({"sparse": True} if self.sparse and takes else {})

    @property
    def state(self) -> str:
        embedding, head = self.tables
        rows = ", ".join(f"{name} {'sparse' if table.get('sparse') else 'dense'}" for name, table in (("embedding", embedding), ("head", head)))
        return f"{self.optimizer['id'].partition('/')[2]}, {'tied' if head.get('tied') else 'untied'}, {rows}"


SGD_ARMS = (
    Arm("full", FULL),
    Arm("adaptive", ADAPTIVE, 6.0),
    Arm("adaptive, fitted cutoffs", FITTED, 6.0),
    Arm("sampled k=1024", SAMPLED, 8.0),
    Arm("sampled k=1024, sparse", SAMPLED, 8.0, sparse=True),
    Arm("binary code, hybrid 512", HYBRID, 8.0),
    Arm("class-based", CLASSES, 3.0),
    Arm("class-based, sparse", CLASSES, 3.0, sparse=True),
    Arm("hierarchical", TREE),
    Arm("hierarchical, sparse", TREE, sparse=True),
    Arm("nce k=1024, sparse", NCE, sparse=True),
    Arm("negative sampling k=1024, sparse", NEGATIVE, sparse=True),
    Arm("chunked", CHUNKED),
)
ADAM_ARMS = (
    Arm("full", FULL, optimizer=ADAM),
    Arm("adaptive", ADAPTIVE, 5.0, ADAM),
    Arm("adaptive, fitted cutoffs", FITTED, 5.0, ADAM),
    Arm("adaptive, sparse embedding", ADAPTIVE, None, SPARSE_ADAM, sparse=True),
    Arm("sampled k=1024", SAMPLED, 4.0, ADAM),
    Arm("sampled k=1024, sparse", SAMPLED, 12.0, SPARSE_ADAM, sparse=True),
)
MEMORY_ARMS = (
    Arm("full", FULL),
    Arm("adaptive", ADAPTIVE, 0.6),
    Arm("sampled k=1024", SAMPLED, 0.5),
    Arm("sampled k=1024, sparse", SAMPLED, 0.5, sparse=True),
    Arm("binary code, hybrid 512", HYBRID),
    Arm("class-based", CLASSES),
    Arm("hierarchical", TREE),
    Arm("chunked", CHUNKED),
)
CHUNKED_TABLES: dict[str, dict[str, Any]] = {
    "own, C = 256": {"chunk": 256}, "torch's, C = 256": {"kernel": "torch", "chunk": 256},
}  # fmt: skip


def there(arms: Sequence[Arm]) -> list[Arm]:
    """Those that can be built here; the others are told."""
    known = catalogue.sources()
    missing = {arm.name: f"{arm.head['id']} is not installed" for arm in arms if arm.head["id"] not in known}
    if not hasattr(F, "linear_cross_entropy"):
        missing |= {arm.name: f"torch {torch.__version__} has no linear_cross_entropy" for arm in arms if arm.head.get("kernel") == "torch"}
    for name, reason in missing.items():
        print(f"  {name}: left out, {reason}.")
    return [arm for arm in arms if arm.name not in missing]


def corpus() -> Text:
    """The text, its vocabulary filled up to SIZE."""
    prepared: Any = plugin(CORPUS)
    text = text_of(prepared, lambda sentence: None)
    vocabulary = text.vocabulary
    more = max(0, SIZE - vocabulary.size)
    counts = np.concatenate((vocabulary.counts, np.zeros(more, dtype=vocabulary.counts.dtype)))
    tokens = vocabulary.tokens + tuple(f"<never {n}>" for n in range(more))
    return dataclasses.replace(text, vocabulary=dataclasses.replace(vocabulary, tokens=tokens, counts=counts))


def size_of(vocabulary: Vocabulary) -> str:
    return f"V = {vocabulary.size:,} ({int((vocabulary.counts > 0).sum()):,} of them occur)"


def plan_of(arm: Arm) -> dict[str, Any]:
    embedding, head = arm.tables
    layer = {"mixer": {"id": "recurrent/lstm", "width": WIDTH}, "feedforward": None, "repeat": 2, "residual": None, "norm": None}
    return {
        "experiment": "heads", "variant": arm.name, "task": {"id": "tasks/language_model"}, "corpus": CORPUS, "budget": {"steps": 10**6},
        "device": "cpu", "threads": 1, "model": {"embedding": embedding, "layers": [layer], "head": head},
        "training": {"batch": BATCH, "sequence": LENGTH}, "techniques": [dict(arm.optimizer)],
        "measure": {"evaluations": 0, "held_out_tokens": 400, "margin": 0.02}, "targets": [], "folder": ".",
    }  # fmt: skip


class Training:
    """The training of an arm through the engine's pipeline, step by step: batch, forward, backward, update."""

    def __init__(self, arm: Arm, text: Text) -> None:
        plan = plan_of(arm)
        parts = Parts.of(plan)
        torch.manual_seed(0)
        self.session = Session(
            plan=plan, task=parts.task, text=text, device=CPU, dtype=torch.float32, seed=0, budget=Budget.of(plan["budget"]),
            model=parts.task.assemble(plan["model"], block, text, LENGTH), stream=parts.task.batches(text, BATCH, LENGTH, 0),
            log=lambda key, value, unit: None, held_out=list, teacher=lambda reference: self.session.model, fine_tune=lambda tokens, scale: None,
        )  # fmt: skip
        self.pipeline = Pipeline(parts.techniques, self.session)
        self.pipeline.shape_model()
        self.pipeline.assemble()
        self._batches, self._state = iter(self.session.stream), None
        self.losses: list[float] = []

    def step(self) -> None:
        batch = next(self._batches)
        self.pipeline.set_learning_rate(batch.lr_scale)
        loss_sum, tokens, state, _ = self.pipeline.backward(batch, None if batch.fresh else self._state)
        self._state = detach(state)
        self.pipeline.update()
        self.losses.append(float(loss_sum) / tokens)

    def resting_bytes(self) -> int:
        """Weights, buffers and the optimiser's state: what is there between steps."""
        model, optimizer = self.session.model, self.session.optimizer
        assert optimizer is not None
        kept = {id(tensor): tensor for tensor in (*model.parameters(), *model.buffers())}
        state = [value for entry in optimizer.state.values() for value in entry.values() if isinstance(value, torch.Tensor)]
        return sum(tensor.nbytes for tensor in (*kept.values(), *state))


class Alone:
    """A head on random hidden states, targets drawn by the frequencies of the corpus."""

    def __init__(self, arm: Arm, vocabulary: Vocabulary) -> None:
        torch.manual_seed(0)
        _, head = arm.tables
        # Not in the optimiser unless the head is tied to it.
        table = torch.nn.Embedding(vocabulary.size, WIDTH) if head.get("tied") else None
        self.head: Any = block(head).build(Site(WIDTH, vocabulary, LENGTH, embedding=table))
        technique: Any = plugin(arm.optimizer)
        self.optimizer = technique.optimizer(None, Silent())(self.head)
        self.hidden_ND = torch.randn(BATCH * LENGTH, WIDTH).requires_grad_()
        self.target_N = torch.multinomial(torch.as_tensor(vocabulary.counts, dtype=torch.float64), BATCH * LENGTH, replacement=True)

    def step(self) -> None:
        (self.head.loss(self.hidden_ND, self.target_N) / len(self.target_N)).backward()
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.hidden_ND.grad = None


class Silent:
    """A technique's surroundings that hear nothing."""

    def effect(self, sentence: str, **figures: float) -> None:
        return None
