"""Figures of the user's own function: on every task and on modules of one's own, named and checked, and refused with what to do."""

from __future__ import annotations

import math
import random
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from engines import catalogue
from engines.api import Figure, HeldOut, Task
from engines.runtime.ownmetric import MetricError, OwnMetric
from engines.runtime.plan import block
from engines.runtime.validate import problems
from plugins.tasks.language_model import LanguageModelling
from tests.engines.runtime import session as small
from tests.test_conformance import made, plugins
from tests.test_conformance_of_texts import situation

README = (Path(__file__).parents[3] / "README.md").read_text(encoding="utf-8")
EXAMPLE = next(text for text in re.findall(r"^```python\n(.*?)^```$", README, re.M | re.S) if "held_out, task)" in text)


def nats_of(model: Any, held_out: HeldOut, task: Task) -> Figure:
    """Mean of the head's exact nats over all targets."""
    nats, n = 0.0, 0
    for inputs, targets in held_out.batches():
        hidden = model.hidden(inputs, None)[0].flatten(0, 1)
        nats, n = nats + float(model.head.nll(hidden, targets.flatten()).double().sum()), n + targets.numel()
    return Figure("own_nats", nats / n, "nats", "lower", low=0.0, detail={"targets": n})


def judged(function: Any, tmp_path: Path, **changes: Any) -> list[Figure]:
    """What a function says of a small language model. The function is put in a module that is imported by its name."""
    (tmp_path / "mine.py").write_text("judge = None\n")
    metric = OwnMetric.__new__(OwnMetric)
    metric.reference, metric._function, metric.facts = "mine:judge", function, {"judged_by": "mine:judge", "judged_by_source": "0"}
    torch.manual_seed(0)
    model: Any = LanguageModelling().assemble(small.plan([])["model"], block, small.text(), 12)
    return metric.figures(model, LanguageModelling(), small.text(), "test", 300, 8, 5, **changes)


@pytest.mark.parametrize("id", plugins(Task))
def test_every_task_offers_each_held_out_target_once(id: str) -> None:
    task: Any = made(id)
    model, text = situation(task)
    metric = OwnMetric(f"{__name__}:nats_of", ".")
    (figure,) = metric.figures(model, task, text, "valid", 60, 7, 0)
    assert figure.key == "quality/valid_own_nats"
    assert (figure.low, figure.detail["targets"], figure.detail["judged_by"]) == (0.0, 60, f"{__name__}:nats_of")
    every = [figure for figure in task.evaluate(model, text, "valid", 60, 7, torch.device("cpu")) if figure.better != "none"]
    theirs = {figure.key.removeprefix("quality/valid_"): figure.value for figure in every}
    same = theirs.get("nll", theirs.get("squared_error", math.log(theirs.get("perplexity", theirs.get("context_perplexity", 1.0)))))
    # A language model is judged with the text before each segment; the others are judged alike.
    assert figure.value == pytest.approx(same, rel=0.05 if id == "tasks/language_model" else 1e-4)


def test_a_module_of_ones_own_is_judged() -> None:
    own = {"id": "models/own", "factory": "tests.plugins.models.nets:Recurrent", "folder": "."}
    task = LanguageModelling()
    model = task.assemble(own, block, small.text(), 12)
    (figure,) = OwnMetric(f"{__name__}:nats_of", ".").figures(model, task, small.text(), "valid", 0, 8, 0)
    assert figure.detail["targets"] == len(small.text().splits["valid"]) - 1


def test_the_example_of_the_readme_counts_rare_words(tmp_path: Path) -> None:
    (tmp_path / "rare.py").write_text(EXAMPLE)
    text = small.text()
    model = LanguageModelling().assemble(small.plan([])["model"], block, text, 12)
    ids = text.splits["test"].astype(np.int64)
    rare = text.vocabulary.counts[ids[1:]] <= 20
    perplexity, accuracy = OwnMetric("rare:rare_words", str(tmp_path)).figures(model, LanguageModelling(), text, "test", 0, 8, 0)
    assert perplexity.key == "quality/test_rare_perplexity"
    assert perplexity.detail["words"] == int(rare.sum())
    assert (perplexity.better, accuracy.better) == ("lower", "higher")
    assert 1 < perplexity.value < 10 * text.vocabulary.size
    assert 0 <= accuracy.value <= 1


def test_chance_is_the_runs_and_nothing_outside_sees_it(tmp_path: Path) -> None:
    def draw(*_: Any) -> Figure:
        return Figure("chance", float(torch.rand(1)) + random.random() + float(np.random.rand()), "", "none")

    first = judged(draw, tmp_path)
    before = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()  # type: ignore[index]
    assert judged(draw, tmp_path) == first
    assert torch.equal(torch.get_rng_state(), before[0])
    assert (random.getstate(), np.random.get_state()[1].tolist()) == before[1:]  # type: ignore[index]


def test_the_model_is_frozen_and_stays_as_it_was(tmp_path: Path) -> None:
    def spoil(model: Any, *_: Any) -> Figure:
        assert not model.training
        assert not torch.is_grad_enabled()
        next(model.parameters()).add_(1)
        return Figure("x", 0.0, "", "none")

    with pytest.raises(MetricError, match="changed the weights of the model: it must leave the model as it is"):
        judged(spoil, tmp_path)


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        (3.0, "TypeError"),
        ([3.0], "gave a float: it must return engines.api.Figure, or a list of them"),
        (Figure("Worst line", 1.0, "", "lower"), 'calls a figure "Worst line": names are of small letters, digits and _'),
        (Figure("perplexity", 1.0, "", "lower"), 'gives a figure "perplexity", and there is another one of that name'),
        ([Figure("x", 1.0, "", "lower"), Figure("x", 2.0, "", "lower")], "another one of that name"),
        (Figure("x", 1.0, "", "less"), 'is "less"; it must be one of higher, lower, none'),  # type: ignore[arg-type]
        (Figure("x", "many", "", "lower"), '"x" must have a number as its value'),  # type: ignore[arg-type]
        (Figure("x", 1.0, "", "lower", detail={"a": object()}), "details of plain values"),
    ],
)
def test_what_is_no_figure_is_refused_with_what_to_do(given: Any, sentence: str, tmp_path: Path) -> None:
    with pytest.raises(MetricError, match=re.escape(sentence)):
        judged(lambda *_: given, tmp_path, taken=["quality/test_perplexity"])


def test_what_raises_is_told_with_its_line(tmp_path: Path) -> None:
    with pytest.raises(MetricError, match=r"mine:judge failed on the test split: ZeroDivisionError: .* \(test_ownmetric.py, line \d+\)"):
        judged(lambda *_: 1 / 0, tmp_path)


@pytest.mark.parametrize(
    ("reference", "sentence"),
    [
        ("metrics_of_mine", 'must be written as "package.module:function"'),
        ("no_metrics_here:worst", "There is no module no_metrics_here in"),
        ("metrics_of_mine:wurst", "has no wurst. Did you mean worst?"),
        ("metrics_of_mine:NUMBER", "is a int: evaluate must name a function of (model, held_out, task)."),
        ("metrics_of_mine:short", "takes (model), but is called with (model, held_out, task)"),
        ("metrics_of_mine:worst", ""),
    ],
)
def test_a_wrong_function_is_told_before_anything_starts(reference: str, sentence: str, tmp_path: Path) -> None:
    (tmp_path / "metrics_of_mine.py").write_text("NUMBER = 3\ndef worst(model, held_out, task): ...\ndef short(model): ...\n")
    plan = small.plan([]) | {"folder": str(tmp_path), "task": {"id": "tasks/language_model", "evaluate": reference}}
    found = [problem for problem in problems({"mine": plan}) if problem.path.startswith("mine.task")]
    assert sentence in " ".join(problem.sentence() for problem in found)
    assert len(found) == bool(sentence)


def test_every_task_has_the_key_last_in_its_form() -> None:
    entries = {id: entry for id, entry in catalogue.read()["plugins"].items() if entry["kind"] == "task"}
    assert len(entries) >= 4
    assert {list(entry["parameters"]["properties"])[-1] for entry in entries.values()} == {"evaluate"}
