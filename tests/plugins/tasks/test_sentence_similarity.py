"""Sentence similarity: figures against a loop and scipy, padding, what it learns, what is refused, and an encoder of one's own through the engine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats
from torch.nn import functional as F

from engines.runtime.evaluate import figures, operations
from engines.runtime.finished import load_finished, save_finished
from engines.runtime.plan import block
from engines.runtime.shapes import shapes
from engines.runtime.validate import problems
from engines.toolbox.batches import Batch
from plugins.tasks.sentence_similarity import SentenceSimilarity
from tests.engines.runtime import session as small

CPU = torch.device("cpu")
OWN = {"id": "models/own", "factory": "tests.plugins.models.nets:averaged"}
ADAM = {"id": "optimization/adam", "lr": 0.02}


def assembled(length: int = 40, **arguments: Any) -> tuple[SentenceSimilarity, Any, Any]:
    torch.manual_seed(0)
    task, text = SentenceSimilarity(), small.paired()
    return task, task.assemble({**OWN, "arguments": arguments}, block, text, length), text


def refused(**arguments: Any) -> str:
    with pytest.raises(ValueError, match=r"\S") as error:
        assembled(**arguments)
    return str(error.value)


def test_figures_are_those_of_pairs_read_one_by_one() -> None:
    task, model, text = assembled()
    documents, ids = text.documents["test"], torch.from_numpy(text.splits["test"].astype(np.int64))
    starts = np.append(0, documents.ends[:-1])
    with torch.no_grad():
        vectors = [model.hidden(ids[None, begin:end][:, :40])[0][0, 0] for begin, end in zip(starts, documents.ends, strict=True)]
    cosines = [F.cosine_similarity(one, other, dim=0).item() for one, other in zip(vectors[::2], vectors[1::2], strict=True)]
    for batch in (5, 64):
        found = {figure.key: figure for figure in task.evaluate(model, text, "test", 0, batch, CPU)}
        whole = found["quality/test_spearman"]
        assert whole.value == pytest.approx(stats.spearmanr(cosines, documents.scores).statistic, abs=1e-4)
        assert whole.low is not None
        assert whole.high is not None
        assert whole.low < whole.value < whole.high
        assert found["quality/test_pearson"].value == pytest.approx(stats.pearsonr(cosines, documents.scores).statistic, abs=1e-5)
        assert found["quality/test_squared_error"].value == pytest.approx(np.mean((documents.scores - cosines) ** 2), rel=1e-4)
    fewer = task.evaluate(model, text, "test", 30, 8, CPU)[0]
    assert fewer.detail["pairs"] == 30
    assert fewer.detail["drawn"] != whole.detail["drawn"]


def test_a_model_that_tells_nothing_apart_has_no_correlation() -> None:
    task, model, text = assembled()
    torch.nn.init.zeros_(model.body.out.weight)
    whole, *_ = task.evaluate(model, text, "test", 0, 16, CPU)
    assert (np.isnan(whole.value), whole.low, whole.high) == (True, None, None)


def test_loss_and_gradients_are_those_of_squared_errors_of_cosines() -> None:
    task, model, text = assembled()
    batch: Batch = next(task.batches(text, 7, 40, 0))
    loss, count, _, _ = model(batch)
    ids_2BT = batch.inputs_BT.transpose(0, 1)
    one_BD, other_BD = (model.body(ids.clamp(min=0), ids >= 0) for ids in ids_2BT)
    plain = (F.cosine_similarity(one_BD, other_BD) - batch.targets_BT[:, 0]).square().sum()
    assert count == 7
    ours, theirs = (torch.autograd.grad(each, list(model.body.parameters()), retain_graph=True) for each in (loss, plain))
    for a, b in zip((loss, *ours), (plain, *theirs), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


def test_every_pair_is_seen_once_an_epoch_with_its_score() -> None:
    task, _, text = assembled()
    documents = text.documents["train"]
    stream = task.batches(text, 50, 1000, 3)
    seen: list[float] = []
    while len(seen) < stream.tokens_per_epoch:
        seen += next(stream).targets_BT[:, 0].tolist()
    assert stream.tokens_per_epoch == len(documents.scores) == len(seen)
    assert sorted(seen) == pytest.approx(sorted(documents.scores.tolist()))


def test_what_does_not_fit_is_told() -> None:
    assert "a model that compares texts must take (ids, mask)" in _refused_factory("recurrent")
    assert "reads padding" in refused(reads_padding=True)
    with pytest.raises(ValueError, match=r"choose a whole model, such as models/sentence_encoder"):
        SentenceSimilarity().assemble({"embedding": {}}, block, small.paired(), 12)
    with pytest.raises(ValueError, match=r"The corpus has no pairs of texts with scores: use one that has, such as corpora/sentence_pairs"):
        SentenceSimilarity().assemble(OWN, block, small.text(), 12)


def _refused_factory(name: str) -> str:
    with pytest.raises(ValueError, match=r"\S") as error:
        SentenceSimilarity().assemble({"id": "models/own", "factory": f"tests.plugins.models.nets:{name}"}, block, small.paired(), 12)
    return str(error.value)


def plan(folder: Path, techniques: list[dict[str, Any]], **changes: Any) -> dict[str, Any]:
    (folder / "pairs.csv").write_text("\n".join(f"one {i},two {i % 7},{i % 6}" for i in range(60)), "utf-8")
    corpus = {"id": "corpora/sentence_pairs", "train": str(folder / "pairs.csv")}
    return small.plan(techniques, model=OWN, task={"id": "tasks/sentence_similarity"}, corpus=corpus, **changes)


@pytest.mark.slow
def test_it_learns_is_finished_kept_judged_and_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = small.paired()
    monkeypatch.setattr(small, "text", lambda: text)
    chosen = plan(tmp_path, [ADAM, {"id": "quantization/dynamic_int8"}], budget={"steps": 60})
    trainer = small.trainer(tmp_path, chosen)
    before = trainer.held_out()[0].value
    trainer.train()
    assert trainer.held_out()[0].value > before + 0.1
    records = trainer.pipeline.finish()
    session = trainer.session
    save_finished(session.model, chosen, records, tmp_path / "model", session.text.fingerprint)
    finished = load_finished(tmp_path / "model", CPU, session.text)
    kept = session.task.evaluate(finished.model, session.text, "test", 0, 32, CPU)
    assert kept[0].value == session.task.evaluate(session.model, session.text, "test", 0, 32, CPU)[0].value
    told: list[str] = []
    rows = {row.key: row.value for row in (*operations(finished, told.append)[0], *figures(finished, 1, told.append))}
    assert rows["compute/flops_per_token"] > 0
    assert rows["speed/infer_tokens_per_s"] > 0
    assert "latency/p50_ms" not in rows
    assert any("predict no next token" in sentence for sentence in told)


def test_the_inspector_shows_and_checks_it(tmp_path: Path) -> None:
    found = shapes(plan(tmp_path, [ADAM]))
    rows = {row["name"]: row for row in found["rows"]}
    assert rows["body.out"]["parameters"] == 24 * 24 + 24
    assert rows["body.out"]["flops_per_token"] == 2 * 2 * 24 * 24, "a pair is two texts"
    assert problems({"mine": plan(tmp_path, [ADAM])}) == []
    (problem,) = problems({"mine": plan(tmp_path, [ADAM]) | {"model": small.plan([])["model"]}})
    assert "choose a whole model" in problem.rule
