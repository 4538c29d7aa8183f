"""The inspector as a process: one JSON line for one, whatever plugins print or raise; and what it answers."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from engines.asking import Inspector, InspectorError
from engines.runtime import inspector as module
from engines.runtime.finished import save_finished
from engines.store.database import Store
from tests.engines.runtime import session as small


def plan(**changes: Any) -> dict[str, Any]:
    """A plan on the embedded corpus. layer, head: replace those of the model."""
    made = small.plan([{"id": "optimization/adam"}])
    layer, head = changes.pop("layer", None), changes.pop("head", None)
    model = made["model"] | ({"layers": [layer]} if layer else {}) | ({"head": head} if head else {})
    return made | {"model": model} | changes


def paths(problems: list[dict[str, Any]]) -> dict[str, str]:
    return {problem["path"]: problem["rule"] for problem in problems}


@pytest.fixture(scope="module")
def asked() -> Iterator[Inspector]:
    with Inspector() as made:
        yield made


def test_a_sound_plan_has_no_problems(asked: Inspector) -> None:
    assert asked.ask("validate", plans={"a": plan()}) == {"problems": []}


def test_problems_are_found_in_all_variants_at_their_places(asked: Inspector, tmp_path: Path) -> None:
    (tmp_path / "empty.txt").write_text("")
    (tmp_path / "binary.txt").write_bytes(b"a\0b")
    plans = {
        "groups": plan(layer={"mixer": {"id": "attention/full", "heads": 4, "kv_heads": 3}}),
        "a.b": plan(layer={"mixer": {"id": "attention/full", "heads": 7}}),
        "cutoffs": plan(head={"id": "softmax/adaptive", "cutoffs": [100, 20_000]}),
        "misspelt": plan(head={"id": "softmax/ful"}),
        "width": plan(layer={"mixer": {"id": "recurrent/lstm", "width": 9}, "residual": True}),
        "type": plan(layer={"mixer": {"id": "recurrent/lstm", "layers": 0}}),
        "missing": plan(corpus={"id": "corpora/text_files", "train": str(tmp_path / "none.txt")}),
        "empty": plan(corpus={"id": "corpora/text_files", "train": str(tmp_path / "empty.txt")}),
        "binary": plan(corpus={"id": "corpora/text_files", "train": str(tmp_path / "binary.txt")}),
        "recipe": plan(techniques=[{"id": "optimization/adam", "lr": -1}]),
        "nowhere": plan(techniques=[{"id": "distillation/layerwise", "teacher": "groups", "layers": "layer"}]),
        "none": plan(techniques=[{"id": "distillation/pretraining", "teacher": "groups", "layers": "blocks"}]),
        "unused": plan(techniques=[{"id": "distillation/pretraining", "teacher": "groups", "layers": "blocks", "initialise": False}]),
    }
    found = paths(asked.ask("validate", plans=plans)["problems"])
    expected = {
        "groups.model.layers[0].mixer": "kv_heads = 3 must divide heads = 4",
        '"a.b".model.layers[0].mixer': "7 heads do not divide",
        "cutoffs.model.head": "must stay below the vocabulary size 10000",
        "misspelt.model.head.id": 'did you mean "softmax/full"',
        "width.model.layers[0].mixer": "changes the width from 24 to 9",
        "type.model.layers[0].mixer.layers": "greater than or equal to 1",
        "missing.corpus.train": "does not exist",
        "empty.corpus.train": "is empty",
        "binary.corpus.train": "binary file",
        "recipe.techniques[0].lr": "greater than",
        "nowhere.techniques[0]": 'No module of the model is called "layer.*"',
        "none.techniques[0]": 'has no layers under "blocks": name where they stand with `layers`',
    }
    assert set(found) == set(expected)
    for path, rule in expected.items():
        assert rule in found[path]


def test_a_device_that_is_not_there_is_a_problem(asked: Inspector) -> None:
    found = paths(asked.ask("validate", plans={"a": plan(device="cuda:77")})["problems"])
    assert "torch finds no such device" in found.get("a.device", "") or "CUDA devices" in found.get("a.device", "")


def test_shapes_count_what_the_model_has_and_does(asked: Inspector) -> None:
    answer = asked.ask("shapes", plan=plan(head={"id": "softmax/full", "tied": True}))
    rows = {row["name"]: row for row in answer["rows"]}
    lstm = 4 * 24 * (24 + 24) + 8 * 24
    assert rows["layers.0.mixer"]["parameters"] == lstm
    assert rows["layers.0.mixer"]["shape_in"] == [1, 12, 24]
    assert rows["embedding"]["parameters"] == 10_000 * 24
    assert answer["parameters"] == answer["trainable"] == 10_000 * 24 + lstm + 10_000
    assert answer["weights_mib"] == pytest.approx(4 * answer["parameters"] / 2**20)
    assert answer["flops_per_token"] == 2 * 4 * 24 * 48 + 2 * 24 * 10_000
    assert rows["head"]["flops_per_token"] == 2 * 24 * 10_000
    assert rows["embedding"]["bytes_per_token"] == 8 + 2 * 4 * 24
    # Scores of a token are written and read again, the head's weights are shared by the 8 rows of 12 tokens.
    assert 4 * 10_000 < rows["head"]["bytes_per_token"] < 10 * 4 * 10_000
    assert answer["bytes_per_token"] > rows["head"]["bytes_per_token"]
    assert answer["uncounted"] == []
    assert list(rows) == ["embedding", "layers.0", "layers.0.mixer", "layers.0.mixer.lstm", "head"]


@pytest.mark.parametrize("mixer", ["attention/full", "attention/sliding_window", "attention/linear", "recurrent/lstm"])
def test_a_large_model_is_counted_without_its_weights_and_gives_the_same_figures(mixer: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from engines.runtime import sketch
    from engines.runtime.shapes import shapes

    layer = {"mixer": {"id": mixer}, "feedforward": {"id": "experts/switch", "experts": 2}, "repeat": 2}
    light = shapes(plan(layer=layer))
    monkeypatch.setattr(sketch, "FEW", 1000)
    assert next(sketch.sketch(plan(layer=layer)).model.parameters()).is_meta
    on_paper = shapes(plan(layer=layer))
    for key in ("parameters", "weights_mib", "flops_per_token"):
        assert on_paper[key] == light[key], key
    # On paper tokens spread evenly over the experts and attention is its products; a kernel that fuses them moves less.
    assert on_paper["bytes_per_token"] == pytest.approx(light["bytes_per_token"], rel=0.15)


def test_a_head_whose_work_depends_on_values_is_counted_for_real_where_it_is_not_huge(monkeypatch: pytest.MonkeyPatch) -> None:
    from engines.runtime import shapes, sketch

    monkeypatch.setattr(sketch, "FEW", 1000)
    adaptive = plan(head={"id": "softmax/adaptive"})
    assert 0 < shapes.shapes(adaptive)["flops_per_token"] < shapes.shapes(plan())["flops_per_token"]
    monkeypatch.setattr(shapes, "LARGEST_REAL", 1000)
    answer = shapes.shapes(adaptive)
    assert "flops_per_token" not in answer
    assert answer["parameters"] > 0
    assert answer["uncounted"] == ["the whole model: its operations depend on values"]
    assert not answer["fitted"]
    assert shapes.shapes(plan() | {"model": {"id": "baselines/ngram", "order": 2}})["fitted"]


def test_the_size_of_a_text_that_was_never_tokenised_is_an_assumption_that_is_said(asked: Inspector, tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text("some words\n" * 9)
    answer = asked.ask("shapes", plan=plan(corpus={"id": "corpora/text_files", "train": str(tmp_path / "text.txt")}))
    assert (answer["vocabulary"], answer["vocabulary_assumed"]) == (10_000, True)


def test_matches_names_what_each_technique_of_a_recipe_finds(asked: Inspector) -> None:
    recipe = [
        {"id": "optimization/adam"},
        {"id": "pruning/magnitude", "include": ["*weight_hh*"]},
        {"id": "quantization/weight_only", "types": ["Linear"]},
        {"id": "quantization/dynamic_int8", "include": ["nothing"]},
    ]
    found = asked.ask("matches", plan=plan() | {"techniques": recipe})["matches"]
    assert [(each["technique"], each["id"]) for each in found] == [(place, each["id"]) for place, each in enumerate(recipe)][1:]
    assert [each["names"] for each in found] == [["layers.0.mixer.lstm.weight_hh_l0"], ["head.output.weight"], []]
    assert [each["weights"] > 0 for each in found] == [True, True, False]


def test_a_module_of_ones_own_is_tried_on_drawn_text(asked: Inspector, tmp_path: Path) -> None:
    (tmp_path / "texts.txt").write_text("".join(f"{n % 2} ||| text number {n}\n" for n in range(40)))
    model = {"id": "models/own", "factory": "tests.plugins.models.nets:Windows", "folder": ".", "arguments": {}}
    documents = plan(model=model, task={"id": "tasks/text_classification"}, techniques=[{"id": "pruning/structured"}])
    documents["corpus"] = {"id": "corpora/labelled_files", "train": str(tmp_path / "texts.txt")}
    found = asked.ask("matches", plan=documents)["matches"][0]
    assert found["names"] == ["body.chain.0", "body.wide", "body.chain.3"]
    assert found["left"] == []


def test_certificates_are_measured_on_the_trial_that_is_asked_for(asked: Inspector) -> None:
    found = asked.ask("verify", plugin="recurrent/lstm", trial={"batch": 1, "length": 5})
    assert all(each["holds"] and each["error"] <= each["tolerance"] for each in found)
    with pytest.raises(InspectorError, match="did you mean \"batch\""):
        asked.ask("verify", plugin="recurrent/lstm", trial={"bacth": 1})
    with pytest.raises(InspectorError, match="no plugin"):
        asked.ask("verify", plugin="recurrent/nothing")


def test_what_is_asked_wrongly_is_a_sentence_and_the_next_question_is_answered(asked: Inspector) -> None:
    with pytest.raises(InspectorError, match="There is no question 'sing'; known: catalogue, validate"):
        asked.ask("sing")
    with pytest.raises(InspectorError, match="KeyError"):
        asked.ask("shapes", plan={})
    with pytest.raises(InspectorError, match="no store at"):
        asked.ask("generate", store="sqlite:////no/such/store.sqlite", run=1)
    assert asked.ask("matches", plan=plan())["matches"] == []


def test_lines_that_are_no_questions_get_an_error_line() -> None:
    assert "error" in module.reply("not json")
    assert "error" in module.reply("[1]")
    assert "error" in module.reply('{"id": 3}')


def test_what_code_prints_never_reaches_the_protocol(tmp_path: Path) -> None:
    """A question that prints by Python and by C, answered between two others."""
    noisy = (
        "import os, sys, engines.runtime.inspector as i\n"
        "def noisy():\n    print('python'); os.write(1, b'C\\n'); return float('nan')\n"
        "i.QUESTIONS['noisy'] = noisy\n"
        "sys.exit(i.main([]))"
    )
    lines = '{"id": 1, "ask": "noisy"}\n\n{"id": 2, "ask": "noisy"}\n'
    done = subprocess.run([sys.executable, "-c", noisy], input=lines, capture_output=True, text=True, timeout=120)
    assert [json.loads(line) for line in done.stdout.splitlines()] == [{"id": 1, "answer": None}, {"id": 2, "answer": None}]
    assert done.returncode == 0, "it ends when its standard input does"
    assert "python" in done.stderr


def test_catalogue_is_one_line_of_json() -> None:
    done = subprocess.run([sys.executable, "-m", "engines.runtime.inspector", "--catalogue"], capture_output=True, text=True, timeout=120)
    found = json.loads(done.stdout)
    assert set(found) == {"digest", "plugins"}
    assert found["plugins"]["softmax/full"]["slot"] == "head"
    assert subprocess.run([sys.executable, "-m", "engines.runtime.inspector", "--what"], capture_output=True, timeout=120).returncode == 2


def test_a_finished_model_writes_and_judges(asked: Inspector, tmp_path: Path, store_url: str) -> None:
    (tmp_path / "text.txt").write_text("the cat sat on the mat .\nthe dog sat on the rug .\n" * 200)
    chosen = plan(corpus={"id": "corpora/text_files", "train": str(tmp_path / "text.txt")})
    from engines.runtime.plan import Parts, block, text_of

    parts = Parts.of(chosen)
    text = text_of(parts.corpus, lambda sentence: None)
    model = parts.task.assemble(chosen["model"], block, text, 12)
    store = Store.open(store_url)
    save_finished(model, chosen, [], store.folder / "runs" / "7" / "model", text.fingerprint)
    store.close()
    written = asked.ask("generate", store=store_url, run=7, prompt="the cat", tokens=9, seed=3)
    assert written["text"].startswith("the cat")
    assert (written["prompt_tokens"], written["tokens"]) == (2, 9)
    assert asked.ask("generate", store=store_url, run=7, prompt="the cat", tokens=9, seed=3) == written
    judged = asked.ask("probability", store=store_url, run=7, text="the cat flew")
    assert [word["token"] for word in judged["words"]] == ["the", "cat", "<unk>"]
    assert judged["words"][2]["unknown"]
    assert judged["nats"] == pytest.approx(-sum(word["log_prob"] for word in judged["words"]))
    with pytest.raises(InspectorError, match="There is no finished model"):
        asked.ask("generate", store=store_url, run=8)
