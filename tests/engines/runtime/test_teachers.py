"""Finished models from outside an experiment: read from a folder, a run or a file, recorded, and refused where they know other words."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from engines.runtime import teachers
from engines.runtime.finished import FinishedError, save_finished
from engines.runtime.plan import Parts, block
from engines.runtime.portable import write_exported
from engines.runtime.price import price_of_needed
from engines.runtime.teachers import TeacherError, Teachers, price_in, problem_of
from engines.store import commands
from engines.store.commands import EffectRow, ResultRow
from engines.store.database import Store
from engines.teachers import HOOK
from engines.toolbox.batches import Batch
from engines.toolbox.distillation import divergence
from tests.engines.runtime import session as small

CPU = torch.device("cpu")
LABELLED = {"task": {"id": "tasks/text_classification"}, "corpus": {"id": "corpora/labelled_files", "train": "/nowhere"}}
PRICE = {"cost/train_s": 12.0, "cost/train_tokens": 500.0, "cost/train_flops": 1e9}


@pytest.fixture(autouse=True)
def _small_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(teachers, "text_of", lambda *_: small.text())


def finished(runs: Path, number: int = 7, text: Any = None, **changes: Any) -> Any:
    """The untrained model of a run, finished as it is."""
    plan = small.plan([], **changes)
    torch.manual_seed(number)
    model: Any = Parts.of(plan).task.assemble(plan["model"], block, text or small.text(), 12).eval()
    save_finished(model, plan, [], runs / str(number) / "model", (text or small.text()).fingerprint)
    return model


def exported(folder: Path, text: Any = None, price: Any = None, **changes: Any) -> Path:
    finished(folder, text=text, **changes)
    write_exported(folder / "7" / "model", text or small.text(), folder / "big.safetensors", price)
    return folder / "big.safetensors"


def asked(runs: Path, plan: Any = None, text: Any = None) -> Teachers:
    return Teachers(plan or small.plan([]), text or small.text(), CPU, {}, runs)


@pytest.mark.parametrize("how", ["run", "folder", "file"])
def test_it_is_the_model_that_was_finished_and_its_weights_are_recorded(how: str, tmp_path: Path) -> None:
    model, path = finished(tmp_path), exported(tmp_path)
    reference = {"run": "run:7", "folder": str(tmp_path / "7" / "model"), "file": str(path)}[how]
    read = asked(tmp_path)
    found: Any = read(reference)
    inputs, _ = Parts.of(small.plan([])).task.held_out(small.text(), 4, 12)
    assert torch.equal(found.hidden(inputs)[0], model.hidden(inputs)[0])
    assert not found.training
    assert not any(parameter.requires_grad for parameter in found.parameters())
    assert read(reference) is found, "loaded once while it is held"
    facts = read.read[reference]
    weights = path if how == "file" else tmp_path / "7" / "model" / "weights.safetensors"
    assert facts["sha256"] == hashlib.sha256(weights.read_bytes()).hexdigest()
    assert (facts.get("run"), "price" in facts) == ((7, False) if how == "run" else (None, True))


def test_a_student_learns_from_a_file_as_from_a_variant(tmp_path: Path) -> None:
    path = str(exported(tmp_path))
    made = small.trainer(tmp_path, small.plan([{"id": "optimization/adam", "lr": 0.01}]))
    made.session.teacher = asked(tmp_path)
    from plugins.distillation.soft_labels import SoftLabels

    context = made.pipeline.contexts["optimization/adam"]
    technique = SoftLabels(teacher=path, weight=1.0, temperature=1.0)
    student: Any = made.session.model
    batch: Batch = next(made.session.stream)
    loss, *_ = technique.loss(student, context)(batch, None)
    teacher: Any = made.session.teacher(path)
    log_p, log_q = (each.head.log_prob(each.hidden(batch.inputs_BT)[0].flatten(0, 1)) for each in (teacher, student))
    assert float(loss.detach()) == pytest.approx(float(divergence(log_p, log_q).detach()), rel=1e-5)


# --- What does not fit --------------------------------------------------------------------------------------------------------------------------


def with_tokens(**changes: Any) -> Any:
    text = small.text()
    return replace(text, fingerprint="other", vocabulary=replace(text.vocabulary, **changes))


def shuffled() -> Any:
    tokens = list(small.text().vocabulary.tokens)
    tokens[3], tokens[4] = tokens[4], tokens[3]
    return with_tokens(tokens=tuple(tokens))


def test_one_that_knows_other_words_is_refused(tmp_path: Path) -> None:
    few = small.text().vocabulary
    fewer = with_tokens(tokens=few.tokens[:400], counts=few.counts[:400])
    with pytest.raises(TeacherError, match=r"knows 400 tokens and this variant 500: both need one vocabulary"):
        asked(tmp_path)(str(exported(tmp_path, fewer)))
    with pytest.raises(TeacherError, match=r"as many tokens as this variant but other ones: id 3 is '\S+' there and '\S+' here"):
        asked(tmp_path)(str(exported(tmp_path, shuffled())))
    with pytest.raises(TeacherError, match="cuts text at the level char and this variant at the level word"):
        asked(tmp_path)(str(exported(tmp_path, replace(small.text(), level="char"))))


def test_one_of_another_task_or_of_classes_in_another_order_is_refused(tmp_path: Path) -> None:
    path = str(exported(tmp_path))
    with pytest.raises(TeacherError, match=r"was made for tasks/language_model and this variant is for tasks/text_classification"):
        asked(tmp_path, small.plan([], **LABELLED))(path)
    path = str(exported(tmp_path, **LABELLED))
    asked(tmp_path, small.plan([], **LABELLED))(path)
    with pytest.raises(TeacherError, match=r"tells apart no, yes, and this variant yes, no \(the most frequent first\)"):
        asked(tmp_path, small.plan([], **LABELLED), replace(small.text(), classes=("yes", "no")))(path)


def test_what_is_no_model_is_told(tmp_path: Path) -> None:
    (tmp_path / "weights.safetensors").write_bytes(b"no tensors")
    with pytest.raises(FinishedError, match="is no safetensors file that can be read"):
        asked(tmp_path)(str(tmp_path / "weights.safetensors"))
    with pytest.raises(FinishedError, match="There is no finished model in"):
        asked(tmp_path)("run:99")
    with pytest.raises(ValueError, match='needs the finished model of the variant "nobody", and there is none'):
        asked(tmp_path)("nobody")


def test_it_is_told_before_anything_starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan, path = small.plan([]), str(exported(tmp_path))
    corpus = type(Parts.of(plan).corpus)
    monkeypatch.setattr(corpus, "is_prepared", lambda *_: True)
    assert problem_of(path, plan, None) == problem_of("run:7", plan, tmp_path) == problem_of("run:7", plan, None) == ""
    assert problem_of("run:8", plan, tmp_path).startswith("There is no finished model of run 8 in this store")
    assert problem_of(str(tmp_path / "gone.safetensors"), plan, tmp_path).startswith("There is no file or folder")
    assert "other ones: id 3" in problem_of(str(exported(tmp_path, shuffled())), plan, None)
    monkeypatch.setattr(corpus, "is_prepared", lambda *_: False)
    assert problem_of(path, plan, None) == "", "what only the text tells is left to the run"
    assert "was made for" in problem_of(path, plan | LABELLED, None)


# --- Price --------------------------------------------------------------------------------------------------------------------------------------


def test_a_file_says_what_its_model_cost_where_that_was_written(tmp_path: Path) -> None:
    assert price_in(exported(tmp_path)) is None
    path = exported(tmp_path, price=PRICE)
    assert price_in(path) == PRICE
    read = asked(tmp_path)
    read(str(path))
    assert read.read[str(path)]["price"] == PRICE


def test_runs_and_files_are_paid_once_and_one_of_unknown_price_makes_the_total_unknown(store_url: str) -> None:
    with Store.open(store_url) as store:
        variants = [{"name": "big", "plan": {}, "baseline": True, "needs": []}]
        commands.submit(store, name="x", digest="d", text="", document={}, folder="/", variants=variants, seeds=[0, 1])
        supervisor = commands.register_supervisor(store, "host", 1, 1.0, commands.put_machine(store, "here", {}))
        file = {"reference": "/a.safetensors", "sha256": "f", "price": PRICE}
        read_by = {1: [file], 2: [{"reference": "run:1", "sha256": "g", "run": 1}, file]}
        for number, seconds in ((1, 3.0), (2, 5.0)):
            claimed = commands.claim_run(store, supervisor)
            assert claimed is not None
            detail = {"own": seconds, "of_needed_runs": 99.0}
            rows = [ResultRow(key=key, value=99.0 + seconds, unit="", better="lower", detail=detail) for key in PRICE]
            commands.put_results(store, number, claimed.claim, rows)
            commands.put_effects(store, number, claimed.claim, [EffectRow("", HOOK, "Read.", {"teachers": read_by[number]})])
            commands.finish_run(store, number, claimed.claim, "done")
        of_run = {"reference": "run:2", "sha256": "h", "run": 2}
        assert price_of_needed(store, [1, 2], {"teachers": [of_run, file]})["cost/train_s"] == 3.0 + 5.0 + 12.0
        unknown = {"reference": "/b.safetensors", "sha256": "i", "price": None}
        assert price_of_needed(store, [], {"teachers": [of_run, unknown]}) == dict.fromkeys(PRICE)
        assert price_of_needed(store, []) == dict.fromkeys(PRICE, 0.0)
