"""Text classification: figures against a loop, padding, what it learns, and techniques on it through the engine."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from engines.api import Documents, Text, Vocabulary
from engines.comparability import unlearned
from engines.runtime.evaluate import figures, operations
from engines.runtime.finished import load_finished, save_finished
from engines.runtime.plan import block
from engines.runtime.shapes import shapes
from engines.runtime.turns import INFER, STEPS, Inference
from engines.runtime.validate import problems
from plugins.tasks.text_classification import TextClassification
from tests.engines.runtime import session as small

CPU = torch.device("cpu")
MIXERS: dict[str, dict[str, Any]] = {
    "lstm": {"id": "recurrent/lstm"}, "causal": {"id": "attention/full", "heads": 2}, "both ways": {"id": "attention/bidirectional", "heads": 2}
}  # fmt: skip


def table(mixer: str = "lstm", head: dict[str, Any] | None = None, **layer: Any) -> dict[str, Any]:
    return {
        "embedding": {"id": "embeddings/lookup", "width": 12},
        "layers": [{"mixer": MIXERS[mixer], "feedforward": None, "repeat": 1, "residual": None, "norm": None} | layer],
        "head": head or {"id": "softmax/full"},
    }


def value(found: list[Any], key: str) -> float:
    return next(figure.value for figure in found if figure.key == f"quality/{key}")


# --- Figures ----------------------------------------------------------------------------------------------------------------------------------


def trained(mixer: str = "lstm") -> tuple[TextClassification, Any, Text]:
    torch.manual_seed(0)
    task, text = TextClassification(), small.text()
    model = task.assemble(table(mixer), block, text, 40)
    optimizer = torch.optim.Adam(model.parameters(), 0.02)
    stream = task.batches(text, 16, 40, 0)
    for _ in range(60):
        loss, count, _, _ = model(next(stream))
        optimizer.zero_grad()
        (loss / count).backward()
        optimizer.step()
    return task, model.eval(), text


@pytest.mark.parametrize("mixer", MIXERS)
def test_figures_are_those_of_texts_read_one_by_one(mixer: str) -> None:
    task, model, text = trained(mixer)
    documents, ids = text.documents["test"], torch.from_numpy(text.splits["test"].astype(np.int64))
    nats, right, predicted = 0.0, 0, []
    with torch.no_grad():
        for begin, end, label in zip([0, *documents.ends[:-1]], documents.ends, documents.labels, strict=True):
            log_p_1C = model.head.log_prob(model.hidden(ids[None, begin:end][:, :40])[0][:, 0])
            nats -= log_p_1C[0, label].item()
            predicted.append(int(log_p_1C.argmax()))
            right += int(predicted[-1] == label)
    n = len(documents.labels)
    found = task.evaluate(model, text, "test", 0, 16, CPU)
    assert value(found, "test_accuracy") == right / n
    assert value(found, "test_nll") == pytest.approx(nats / n, rel=1e-5)
    assert value(found, "test_majority_accuracy") == pytest.approx(np.mean(documents.labels == 0))
    assert found[0].low is not None
    assert found[0].high is not None
    assert found[0].low < right / n <= found[0].high < 1.001


@pytest.mark.parametrize("mixer", MIXERS)
def test_it_learns_more_than_which_class_is_frequent(mixer: str) -> None:
    task, model, text = trained(mixer)
    found = task.evaluate(model, text, "test", 0, 16, CPU)
    assert value(found, "test_accuracy") > value(found, "test_majority_accuracy") + 0.05
    assert not unlearned({figure.key: figure.value for figure in found})
    assert unlearned({"quality/test_accuracy": 0.6, "quality/test_majority_accuracy": 0.6})


def test_so_many_texts_are_judged_as_were_asked_for_and_not_the_first_of_a_sorted_file() -> None:
    ids = np.zeros(200, np.int64)
    documents = Documents(np.arange(2, 202, 2), np.repeat([0, 1], 50))
    text = Text(dict.fromkeys(("train", "valid", "test"), ids), {}, Vocabulary(("a",), np.array([200])), "", "", "word", classes=("x", "y"),
                documents=dict.fromkeys(("train", "valid", "test"), documents))  # fmt: skip
    model = TextClassification().assemble(table(), block, text, 4)
    found = TextClassification().evaluate(model, text, "test", 40, 8, CPU)
    assert found[0].detail["texts"] == 40
    assert 0.2 < value(found, "test_majority_accuracy") < 0.8


def test_a_head_without_a_distribution_is_judged_by_its_best_class() -> None:
    task, text = TextClassification(majority=False), small.text()
    model = task.assemble(table(head={"id": "softmax/negative_sampling", "samples": 1, "negatives": 1}), block, text, 40)
    assert [figure.key for figure in task.evaluate(model, text, "valid", 0, 16, CPU)] == ["quality/valid_accuracy", "quality/valid_macro_f1"]


def test_the_head_begins_at_how_frequent_the_classes_are() -> None:
    text = small.text()
    head: Any = TextClassification().assemble(table(), block, text, 40).head
    with torch.no_grad():
        head.output.weight.zero_()
    shares = (np.bincount(text.documents["train"].labels) + 1) / (len(text.documents["train"].labels) + 2)
    assert head.log_prob(torch.zeros(1, 12)).exp()[0].tolist() == pytest.approx(shares.tolist(), rel=1e-5)


def test_what_does_not_fit_is_refused_in_sentences() -> None:
    task, text = TextClassification(), small.text()
    with pytest.raises(ValueError, match=r"The corpus has no labels.*corpora/labelled_files"):
        task.assemble(table(), block, replace(text, classes=(), documents={}), 40)
    with pytest.raises(ValueError, match="A tied head needs an embedding"):
        task.assemble(table(head={"id": "softmax/full", "tied": True}), block, text, 40)
    found = problems({"a": small.plan([], model=table(), task={"id": "tasks/text_classification"})})
    assert [problem.path for problem in found] == ["a.model"]
    assert "The corpus has no labels" in found[0].rule


# --- Whole models -----------------------------------------------------------------------------------------------------------------------------


class Encoder(nn.Module):
    """torch's own encoder layer with a padding mask."""

    def __init__(self, vocabulary_size: int, classes: int, width: int = 12) -> None:
        super().__init__()
        self.table, self.scores = nn.Embedding(vocabulary_size, width), nn.Linear(width, classes)
        self.block = nn.TransformerEncoderLayer(width, 2, 24, dropout=0.0, batch_first=True)

    def forward(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        x = self.block(self.table(ids), src_key_padding_mask=~mask).masked_fill(~mask[..., None], 0)
        scores: torch.Tensor = self.scores(x.sum(1) / mask.sum(1, keepdim=True))
        return scores


OWN = {"id": "models/own", "factory": f"{__name__}:Encoder"}


def plan(model: dict[str, Any], techniques: list[dict[str, Any]], **changes: Any) -> dict[str, Any]:
    return small.plan(
        [{"id": "optimization/adam", "lr": 0.02}, *techniques], model=model, task={"id": "tasks/text_classification"}, budget={"epochs": 1},
        training={"batch": 16, "sequence": 40},
    ) | changes  # fmt: skip


def test_an_own_module_learns_too(tmp_path: Path) -> None:
    trainer = small.trainer(tmp_path, plan(OWN, []))
    trainer.train()
    found = trainer.held_out()
    assert value(found, "valid_accuracy") > value(found, "valid_majority_accuracy") + 0.05


# --- Through the engine -----------------------------------------------------------------------------------------------------------------------


TECHNIQUES: dict[str, list[dict[str, Any]]] = {
    "plain": [], "clipped": [{"id": "optimization/clip_norm", "max_norm": 1.0}], "pruned": [{"id": "pruning/magnitude", "sparsity": 0.5}],
    "int8": [{"id": "quantization/dynamic_int8"}], "accumulated": [{"id": "memory/gradient_accumulation", "micro_batches": 2}],
    "checkpointed": [{"id": "memory/gradient_checkpointing"}],
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", TECHNIQUES)
@pytest.mark.parametrize("model", ["both ways", "lstm", "own"])
def test_techniques_apply_and_the_finished_model_is_judged_as_it_was_kept(name: str, model: str, tmp_path: Path) -> None:
    if name == "checkpointed" and model == "own":
        pytest.skip("layers of an own module are named by the user")
    of_it = plan(OWN if model == "own" else table(model, feedforward={"id": "feedforward/dense"}), TECHNIQUES[name])
    trainer = small.trainer(tmp_path, of_it)
    trainer.train()
    session = trainer.session
    assert session.tokens == session.stream.tokens_per_epoch == len(session.text.documents["train"].labels)
    records = trainer.pipeline.finish()
    if name == "pruned":
        linears = [module for at, module in session.model.named_modules() if isinstance(module, nn.Linear) and not at.startswith("head")]
        assert len(linears) >= 2
        assert all(float((linear.weight == 0).float().mean()) == pytest.approx(0.5, abs=0.01) for linear in linears)
    save_finished(session.model, of_it, records, tmp_path / "model", session.text.fingerprint)
    finished = load_finished(tmp_path / "model", "cpu", session.text)
    kept = [session.task.evaluate(each, session.text, "test", 0, 32, CPU) for each in (session.model, finished.model)]
    assert [figure.value for figure in kept[0]] == [figure.value for figure in kept[1]]
    assert value(kept[0], "test_accuracy") > value(kept[0], "test_majority_accuracy")
    if name == "plain":
        told: list[str] = []
        rows, _ = operations(finished, told.append)
        keys = {row.key for row in (*rows, *figures(finished, 1000, told.append))}
        assert {"compute/flops_per_token", "speed/infer_tokens_per_s", "size/parameters"} <= keys
        assert not any(key.startswith("latency/") for key in keys)
        assert any(sentence.startswith("No latency is measured: Classifiers read whole texts") for sentence in told)


@pytest.mark.slow
def test_a_timing_session_counts_texts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    of_it = plan(table(), [], budget={"steps": 3})
    trainer = small.trainer(tmp_path, of_it)
    text = trainer.session.text
    save_finished(trainer.session.model, of_it, [], tmp_path / "model", text.fingerprint)
    monkeypatch.setattr("engines.runtime.turns.load_finished", lambda folder: load_finished(folder, "cpu", text))
    subject = Inference(tmp_path / "model", {}, [8])
    pace = subject.warm()
    assert pace["tokens_a_pass"] == 16
    assert pace["absent"] == {STEPS: TextClassification.no_steps}
    assert set(subject.turn({INFER: 2, f"{INFER}/batch_8": 2})) == {INFER, f"{INFER}/batch_8"}


def test_accumulated_parts_have_the_gradient_of_the_whole(tmp_path: Path) -> None:
    losses = [
        small.losses(ran)
        for number, techniques in enumerate(([], TECHNIQUES["accumulated"]))
        for ran in [small.trainer(tmp_path / str(number), plan(table(), techniques, budget={"steps": 6}))]
        if ran.train() is None
    ]
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)


def test_the_table_of_shapes_counts_a_text(tmp_path: Path) -> None:
    (tmp_path / "texts").write_text("".join(f"{'yes' if i % 3 else 'no'}\tword{i % 7} film\n" for i in range(30)), "utf-8")
    corpus = {"id": "corpora/labelled_files", "train": str(tmp_path / "texts")}
    of_it = plan(table("both ways"), [], corpus=corpus)
    assert problems({"a": of_it}) == []
    found = shapes(of_it)
    head = next(row for row in found["rows"] if row["name"] == "head")
    assert (head["shape_in"], head["shape_out"]) == ([1, 12], [1, 2])
    assert math.isclose(head["flops_per_token"], 2 * 12 * 2, rel_tol=0.5)
    assert found["flops_per_token"] > 40 * 2 * 4 * 12 * 12
