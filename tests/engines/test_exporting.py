"""From a run in a store to files with a card, and what the card says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from engines import cli, exporting, modelcard
from engines.statistics import student_interval
from engines.store import commands, queries
from engines.store.database import Store
from engines.store.rows import EffectRow, ResultRow
from tests.engines.runtime import session as small

FACTS: dict[str, Any] = {
    "parts": [
        {"file": "m.pt2", "what": "Judges text.", "inputs": ["inputs int64 (any, 12)", "targets int64 (any, 12)"], "outputs": ["nll"],
         "error": 2e-7, "bytes": 12345},
    ],
    "left_out": ["Writes on, a token at a time: left out. Its state grows."],
    "text": {"level": "word", "licence": "PSF-2.0", "fingerprint": "abc", "types": 500, "classes": []},
    "size": {"tensors": 7, "bytes": 4321, "packed": 2}, "torch": "2.13.0",
}  # fmt: skip


def done(store: Store, plan: dict[str, Any], perplexities: tuple[float, ...] = (50.0,)) -> list[int]:
    """Runs of one variant that have ended, one a seed."""
    rows = [{"name": "small", "plan": plan, "baseline": True, "needs": []}]
    seeds = list(range(len(perplexities)))
    number = commands.submit(store, name="Which | head?", digest="", text="", document={}, folder="/", variants=rows, seeds=seeds, smoke=False)
    machine = commands.put_machine(store, "m", {"host": "secret-name", "cpu": "A processor", "cores": 2, "versions": {"torch": "2.13.0"}})
    supervisor = commands.register_supervisor(store, "here", 4711, 1.5, machine_id=machine)
    for perplexity in perplexities:
        run = commands.claim_run(store, supervisor)
        assert run is not None
        commands.set_status(store, run.id, run.claim, "running")
        figures = [
            ResultRow("quality/test_perplexity", perplexity, "", "lower", detail={"held_out_tokens": 400}),
            ResultRow("quality/test_accuracy", 0.5, "", "higher", low=0.4, high=0.6, detail={"texts": 96}),
            ResultRow("size/parameters", 1000, "", "lower"),
        ]
        commands.put_results(store, run.id, run.claim, figures)
        effects = [
            EffectRow("pruning/magnitude", "finish", "Half is zero, multiplied like others (simulated)."),
            EffectRow("", "training", "40 updates."),
        ]
        commands.put_effects(store, run.id, run.claim, effects)
        commands.finish_run(store, run.id, run.claim, "done")
    return [run.id for run in queries.runs(store, number)]


def row(card: str, first: str) -> list[str]:
    """The cells of the table row that begins with this."""
    line = next(line for line in card.splitlines() if line.startswith(f"| {first} |"))
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_a_card_says_what_was_done_and_how_good_it_is(store: Store) -> None:
    pruning = {"id": "pruning/magnitude", "sparsity": 0.5}
    corpus = {"id": "corpora/text_files", "train": "/home/someone/secret/train.txt"}
    runs = done(store, small.plan([pruning], corpus=corpus), (50.0, 52.0, 57.0))
    card = modelcard.card(store, runs[0], "torch-export", FACTS)
    assert card.startswith("# small · Which | head?\n")
    interval = student_interval([50.0, 52.0, 57.0])
    over = ["53", f"[{interval.low:,.4g}, {interval.high:,.4g}]", "3"]
    assert row(card, "test perplexity") == ["test perplexity", "50", "–", "the first 400 of the split", *over]
    assert row(card, "test accuracy")[1:4] == ["0.5", "[0.4, 0.6]", "96 texts"]
    assert row(card, "`m.pt2`")[2:] == ["`inputs int64 (any, 12)`<br>`targets int64 (any, 12)`", "`nll`", "12,345", "2.0e-07"]
    assert "- technique `pruning/magnitude` (sparsity = 0.5)" in card
    assert "trained for 40 steps in batches of 8 x 12" in card
    simulated = card.split("## What is simulated")[1].split("\n## ")[0]
    assert "Half is zero, multiplied like others (simulated)." in simulated
    assert "40 updates" not in card
    assert "\n\nWrites on, a token at a time: left out. Its state grows.\n\n" in card
    assert "- processor: A processor" in card
    for words in ("- licence: PSF-2.0", "`abc`", "torch 2.13.0", 'torch.export.load("m.pt2")', "program(inputs, targets)", "train.txt"):
        assert words in card
    # The card goes to others: neither folders nor the name of the machine do.
    assert "secret" not in card


def test_one_seed_has_no_interval(store: Store) -> None:
    (run,) = done(store, small.plan([]))
    card = modelcard.card(store, run, "safetensors", {**FACTS, "parts": [{**FACTS["parts"][0], "file": "m.safetensors", "error": 0}]})
    assert row(card, "test perplexity")[-3:] == ["–", "–", "1"]
    assert 'load_exported("m.safetensors")' in card
    assert "none, bit for bit" in card


def test_a_folder_and_a_missing_one_are_refused(store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (run,) = done(store, small.plan([]))
    model = Path(store.folder) / "runs" / str(run) / "model"
    model.mkdir(parents=True)
    (model / "weights.safetensors").write_text("x")
    for out, sentence in ((tmp_path, "is a folder"), (tmp_path / "no" / "m.pt2", "its folder does not exist")):
        assert cli.main(["export", f"r{run}", "--format", "torch-export", str(out), "--store", store.url]) == 2
        assert sentence in capsys.readouterr().err


@pytest.mark.slow
def test_a_model_leaves_with_its_card(store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import torch

    from engines.api import Corpus
    from engines.runtime.finished import save_finished
    from engines.runtime.plan import Parts, block, text_of
    from engines.runtime.portable import load_exported

    (tmp_path / "train.txt").write_text("\n".join(Path(module.__file__).read_text() for module in (cli, exporting)))
    plan = small.plan([], corpus={"id": "corpora/text_files", "train": str(tmp_path / "train.txt"), "level": "char"})
    (run,) = done(store, plan)
    parts = Parts.of(plan)
    corpus: Corpus = parts.corpus
    text = text_of(corpus, lambda _: None)
    torch.manual_seed(0)
    model = parts.task.assemble(plan["model"], block, text, 12)
    save_finished(model, plan, [], Path(store.folder) / "runs" / str(run) / "model", text.fingerprint)
    out = tmp_path / "small.safetensors"
    assert cli.main(["export", f"r{run}", "--format", "safetensors", str(out), "--store", store.url]) == 0
    assert f"Wrote {out.with_name('small.safetensors.card.md')}" in capsys.readouterr().err
    assert f"`{text.fingerprint}`" in out.with_name("small.safetensors.card.md").read_text()
    (tmp_path / "train.txt").unlink()
    found = load_exported(out)
    assert found.text.encode is not None
    assert found.text.decode is not None
    assert found.text.decode(found.text.encode("import json")) == "import json"
    torch.testing.assert_close(found.model.state_dict(), {name: tensor.detach() for name, tensor in model.state_dict().items()}, rtol=0, atol=0)
    assert json.loads(json.dumps(found.plan)) == plan
