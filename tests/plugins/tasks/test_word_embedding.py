"""The word-embedding task: what it judges against a loop, what it learns against what the text says, and every figure that a run asks for."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from engines.api import Text, Vocabulary
from engines.runtime.evaluate import figures, operations
from engines.runtime.finished import load_finished, save_finished
from engines.runtime.plan import block
from engines.runtime.turns import INFER, STEPS, Inference
from engines.toolbox.heads import IGNORED
from engines.toolbox.wordlists import WordListError, vectors_of
from plugins.tasks.word_embedding import WordEmbedding
from tests.engines.runtime import session as small

CPU = torch.device("cpu")
V = 11
MODEL: dict[str, Any] = {"embedding": {"id": "embeddings/lookup", "width": 8}, "layers": [], "head": {"id": "softmax/full"}}


def make_text(n: int = 3000) -> Text:
    draw = np.random.default_rng(0)
    splits = {split: draw.choice(V, n, p=np.arange(V, 0, -1) / 66).astype(np.uint16) for split in ("train", "valid", "test")}
    counts = np.bincount(splits["train"], minlength=V)
    return Text(splits, splits, Vocabulary(tuple(f"w{i}" for i in range(V)), counts), "test", "none", "word")


def value(found: list[Any], key: str) -> float:
    return next(figure.value for figure in found if figure.key == key)


class Table(nn.Module):
    """-log p(target | id) from a fixed table; the hidden state of a word is its id."""

    normalised = True
    vocabulary_size = V

    def __init__(self) -> None:
        super().__init__()
        self.table = torch.randn(V, V, generator=torch.Generator().manual_seed(1)).log_softmax(1)
        self.seen: list[tuple[int, int]] = []

    def nll(self, hidden_ND: torch.Tensor, target_N: torch.Tensor) -> torch.Tensor:
        id_N = hidden_ND[:, 0].long()
        self.seen += zip(id_N.tolist(), target_N.tolist(), strict=True)
        return -self.table[id_N, target_N]

    def rank(self, hidden_ND: torch.Tensor, target_N: torch.Tensor) -> torch.Tensor:
        row_NV = self.table[hidden_ND[:, 0].long()]
        return (row_NV >= row_NV.gather(1, target_N[:, None])).sum(1).float()


class Known(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.head = Table()

    def hidden(self, ids_BT: torch.Tensor, state: Any = None) -> tuple[torch.Tensor, Any, dict[str, Any]]:
        return ids_BT[..., None].float(), None, {}


def test_every_pair_of_the_held_out_text_is_judged_once_by_the_exact_nll() -> None:
    text, model = make_text(400), Known()
    task = WordEmbedding(window=1, subsample=0.0, ranks=True)
    found = task.evaluate(model, text, "valid", 0, 32, CPU)
    ids = text.splits["valid"].tolist()
    pairs = [(ids[i], ids[j]) for i in range(400) for j in (i - 1, i + 1) if 0 <= j < 400]
    assert sorted(model.head.seen) == sorted(pairs)
    nats = sum(-model.head.table[a, b].item() for a, b in pairs)
    assert value(found, "quality/valid_context_perplexity") == pytest.approx(math.exp(nats / len(pairs)), rel=1e-6)
    ranks = [1 + sum(model.head.table[a] > model.head.table[a, b]).item() for a, b in pairs]
    assert value(found, "quality/valid_context_reciprocal_rank") == pytest.approx(sum(1 / rank for rank in ranks) / len(pairs))
    assert value(found, "quality/valid_context_accuracy") == pytest.approx(sum(rank == 1 for rank in ranks) / len(pairs))


def test_so_many_predictions_are_judged_as_were_asked_for() -> None:
    model = Known()
    WordEmbedding(window=3).evaluate(model, make_text(), "valid", 777, 32, CPU)
    assert len(model.head.seen) == 777


def test_the_floor_is_the_share_of_each_word_after_subsampling() -> None:
    text = make_text()
    task = WordEmbedding(window=2, subsample=0.0, ranks=True)
    found = task.evaluate(Known(), text, "test", 500, 32, CPU)
    share = (text.vocabulary.counts + 1) / (text.vocabulary.counts + 1).sum()
    _, targets = task._predictions(text, "test", 500)
    assert value(found, "quality/test_context_unigram_perplexity") == pytest.approx(math.exp(-np.log(share[targets.numpy()]).mean()))
    rank = [1 + np.sum(share > share[target]) + np.sum(share == share[target]) / 2 - 1 / 2 for target in targets.tolist()]
    assert value(found, "quality/test_context_unigram_reciprocal_rank") == pytest.approx(np.mean(1 / np.array(rank)))


@pytest.mark.parametrize(
    "head", [{"id": "softmax/full"}, {"id": "softmax/class_based"}, {"id": "softmax/hierarchical"}, {"id": "softmax/binary_code", "hybrid": V}],
    ids=lambda head: head["id"],
)  # fmt: skip
def test_a_head_that_has_learned_nothing_is_the_floor_after_subsampling(head: dict[str, Any]) -> None:
    text = make_text()
    task = WordEmbedding(window=2, subsample=1e-2)
    model = task.assemble(MODEL | {"head": head}, block, text, 16)
    torch.nn.init.zeros_(model.embedding.weight)
    found = task.evaluate(model, text, "test", 500, 32, CPU)
    assert value(found, "quality/test_context_perplexity") == pytest.approx(value(found, "quality/test_context_unigram_perplexity"), rel=1e-5)


def test_a_model_that_knows_how_often_words_occur_reaches_the_floor() -> None:
    """Words drawn independently say nothing of each other: no model of them can be better."""
    text = make_text(20_000)
    trained = fitted(WordEmbedding(window=2, subsample=0.0), text, MODEL, lr=0.02, steps=150)
    found = WordEmbedding(window=2, subsample=0.0).evaluate(trained, text, "test", 0, 32, CPU)
    assert value(found, "quality/test_context_perplexity") == pytest.approx(value(found, "quality/test_context_unigram_perplexity"), rel=0.02)


def pair_text() -> Text:
    """Words 2i and 2i + 1 are used alike: each stands between words of the same triple, which no other pair stands near."""
    draw = np.random.default_rng(0)
    phrases = [[10 + 3 * pair + int(draw.integers(3)), 2 * pair + int(draw.integers(2)), 10 + 3 * pair + int(draw.integers(3))]
               for pair in draw.integers(0, 5, 3000)]  # fmt: skip
    ids = np.array(phrases, dtype=np.int64).flatten()
    counts = np.bincount(ids, minlength=25)
    splits = {"train": ids, "valid": ids[:300], "test": ids[-300:]}
    return Text(splits, splits, Vocabulary(tuple(f"w{i}" for i in range(25)), counts), "pairs", "none", "word")


def fitted(task: WordEmbedding, text: Text, table: dict[str, Any], lr: float, steps: int) -> Any:
    torch.manual_seed(0)
    model = task.assemble(table, block, text, 20)
    optimizer = torch.optim.Adam(model.parameters(), lr)
    stream = task.batches(text, 8, 20, 0)
    for _ in range(steps):
        loss, count, _, _ = model(next(stream))
        optimizer.zero_grad()
        (loss / count).backward()
        optimizer.step()
    return model


@pytest.mark.parametrize("architecture", ["skip_gram", "cbow"])
@pytest.mark.parametrize("head", [{"id": "softmax/full"}, {"id": "softmax/importance_sampled", "samples": 10}])
def test_words_that_are_used_alike_become_neighbours(architecture: Any, head: dict[str, Any]) -> None:
    text = pair_text()
    task = WordEmbedding(architecture=architecture, window=1, subsample=0.0)
    model = fitted(task, text, MODEL | {"head": head}, lr=0.02, steps=300)
    unit_VD = torch.nn.functional.normalize(vectors_of(model, 25), dim=1)
    cosine_VV = (unit_VD @ unit_VD.T).fill_diagonal_(-1)[:10, :10]
    assert cosine_VV.argmax(1).tolist() == [1, 0, 3, 2, 5, 4, 7, 6, 9, 8]


def test_word_lists_are_judged_with_the_test_split_alone(tmp_path: Path) -> None:
    pairs, questions = tmp_path / "pairs.tsv", tmp_path / "questions.txt"
    pairs.write_text("w0\tw1\t9\nw2\tw3\t8\nw0\tw4\t1\n", "utf-8")
    questions.write_text(": a\nw0 w1 w2 w3\n", "utf-8")
    task = WordEmbedding(similarity=pairs, analogies=questions)
    task.check()
    model = task.assemble(MODEL, block, make_text(), 20)
    keys = [[figure.key for figure in task.evaluate(model, make_text(), split, 100, 32, CPU)] for split in ("valid", "test")]
    assert not any("similarity" in key or "analog" in key for key in keys[0])
    assert keys[1][-4:] == ["quality/similarity_rho", "quality/similarity_pairs", "quality/analogy_accuracy", "quality/analogy_questions"]
    with pytest.raises(WordListError, match="cannot be read"):
        WordEmbedding(similarity=tmp_path / "nowhere").check()


def test_layers_and_an_empty_text_are_refused_in_sentences() -> None:
    with pytest.raises(ValueError, match="the head reads the vectors themselves"):
        WordEmbedding().assemble(MODEL | {"layers": [{"mixer": {"id": "recurrent/lstm"}}]}, block, make_text(), 20)
    text = make_text()
    with pytest.raises(ValueError, match="no two known words near each other"):
        WordEmbedding().held_out(replace(text, splits=dict.fromkeys(text.splits, np.zeros(1, np.int64))), 2, 3)


def test_cbow_is_timed_on_words_with_all_that_is_around_them() -> None:
    inputs, targets = WordEmbedding(architecture="cbow", window=3).held_out(make_text(), 4, 9)
    assert (inputs.shape, targets.shape) == ((4, 9, 6), (4, 9))
    assert (targets != IGNORED).all()


# --- Through the engine ---------------------------------------------------------------------------------------------------------------------


def plan(task: dict[str, Any], head: dict[str, Any], **changes: Any) -> dict[str, Any]:
    model = {"embedding": {"id": "embeddings/lookup", "width": 12}, "layers": [], "head": head}
    return small.plan(
        [{"id": "optimization/adam", "lr": 0.01}, {"id": "optimization/linear_decay"}], task={"id": "tasks/word_embedding"} | task, model=model
    ) | changes  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("architecture", ["skip_gram", "cbow"])
@pytest.mark.parametrize("head", ["softmax/full", "softmax/adaptive", "softmax/importance_sampled"])
def test_it_trains_resumes_and_is_measured_like_any_other(architecture: str, head: str, tmp_path: Path) -> None:
    chosen = {"id": head} | ({"cutoffs": [200]} if head == "softmax/adaptive" else {})
    of_it = plan({"architecture": architecture, "window": 2, "subsample": 1e-2}, chosen, budget={"epochs": 3})
    trainer = small.trainer(tmp_path, of_it)
    trainer.train()
    session = trainer.session
    assert session.tokens == pytest.approx(3 * session.stream.tokens_per_epoch, rel=0.1)
    assert trainer.tokens_per_second() is not None
    found = trainer.held_out()
    assert value(found, "quality/valid_context_perplexity") < value(found, "quality/valid_context_unigram_perplexity") * 1.3
    save_finished(session.model, of_it, [], tmp_path / "model", session.text.fingerprint)
    finished = load_finished(tmp_path / "model", "cpu", session.text)
    told: list[str] = []
    rows, _ = operations(finished, told.append)
    keys = {row.key for row in (*rows, *figures(finished, 1000, told.append))}
    assert {"compute/flops_per_token", "speed/infer_tokens_per_s", "size/parameters"} <= keys
    assert not any(key.startswith("latency/") for key in keys)
    assert any(sentence.startswith("No latency is measured: Word vectors predict the words around") for sentence in told)


def test_a_timing_session_leaves_next_tokens_out_and_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    of_it = plan({"window": 2}, {"id": "softmax/full"}, budget={"steps": 3})
    trainer = small.trainer(tmp_path, of_it)
    save_finished(trainer.session.model, of_it, [], tmp_path / "model", trainer.session.text.fingerprint)
    text = trainer.session.text
    monkeypatch.setattr("engines.runtime.turns.load_finished", lambda folder: load_finished(folder, "cpu", text))
    subject = Inference(tmp_path / "model", {})
    pace = subject.warm()
    assert pace["seconds"].keys() == {INFER}
    assert pace["absent"] == {STEPS: WordEmbedding.no_steps}
    assert subject.turn({INFER: 2})[INFER] > 0
