"""Sensitivity against a loop by hand, the mix against all mixes, and the command from a run to its file."""

from __future__ import annotations

import copy
import itertools
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from engines import cli, grammar, sensitivity
from engines.runtime.finished import Finished, save_finished
from engines.runtime.plan import Parts, block, plugin, text_of
from engines.runtime.sensitivity import measure
from engines.sensitivity import Choice, SensitivityError, levels_of, mix
from engines.store import queries
from engines.store.database import Store
from engines.toolbox.specimen import Surroundings
from tests.engines.processes import queue
from tests.engines.runtime import session as small
from tests.engines.test_exporting import done

TOKENS = 300
MATRICES = {"embedding.weight", "layers.0.mixer.lstm.weight_ih_l0", "layers.0.mixer.lstm.weight_hh_l0", "head.output.weight"}


def trained(tmp_path: Path, *, tied: bool = False) -> Finished:
    """The small LSTM after sixty steps."""
    plan = small.plan([{"id": "optimization/adam", "lr": 0.02}], budget={"steps": 60})
    plan["model"]["head"] = {"id": "softmax/full", "tied": tied}
    made = small.trainer(tmp_path, plan)
    made.train()
    return Finished(made.session.model.eval().requires_grad_(False), plan, made.session.task, made.session.text)


def silent(**_: Any) -> None:
    pass


def perplexity(found: Finished, model: Any) -> float:
    return found.task.evaluate(model, found.text, "valid", TOKENS, 32, torch.device("cpu"))[0].value


def pruned_by_hand(weight: torch.Tensor, sparsity: float) -> torch.Tensor:
    numbers = weight.flatten().tolist()
    gone = sorted(range(len(numbers)), key=lambda place: abs(numbers[place]))[: round(sparsity * len(numbers))]
    for place in gone:
        numbers[place] = 0.0
    return torch.tensor(numbers).view_as(weight)


def rounded_by_hand(weight: torch.Tensor, bits: float) -> torch.Tensor:
    """Groups of 64 along a row, symmetric: s = max|w| / (2^(b-1) - 1), halves to even."""
    rows = []
    for row in weight.numpy():
        groups = [row[start : start + 64] for start in range(0, len(row), 64)]
        steps = [np.float32(np.abs(group).max() / np.float32(2 ** (int(bits) - 1) - 1)) for group in groups]
        rows.append(np.concatenate([step * np.round(group * (np.float32(1) / step)) for group, step in zip(groups, steps, strict=True)]))
    return torch.from_numpy(np.stack(rows).astype(np.float32))


@pytest.mark.parametrize(("mode", "levels", "by_hand"), [("sparsity", (0.5, 0.9), pruned_by_hand), ("bits", (4, 2), rounded_by_hand)])
def test_each_layer_alone_is_what_a_loop_by_hand_finds(mode: Any, levels: tuple[float, ...], by_hand: Any, tmp_path: Path) -> None:
    found = trained(tmp_path)
    before = copy.deepcopy(found.model.state_dict())
    said: list[dict[str, Any]] = []
    measured = measure(found, mode, levels, 0.02, TOKENS, lambda **fact: said.append(fact))
    assert {row["name"] for row in measured["layers"]} == MATRICES
    dense = perplexity(found, found.model)
    assert measured["figure"]["value"] == dense
    assert (measured["again"], measured["targets"]) == (0.0, TOKENS)
    losses = []
    for row in measured["layers"]:
        for each in row["levels"]:
            changed: Any = copy.deepcopy(found.model)
            weight = changed.get_parameter(row["name"])
            weight.copy_(by_hand(weight, each["level"]))
            expected = perplexity(found, changed)
            assert each["figure"] == pytest.approx(expected, rel=1e-6)
            assert each["loss"] == pytest.approx(math.log(expected / dense), abs=1e-6)
            assert each["low"] < each["loss"] < each["high"] or each["loss"] == pytest.approx(0, abs=1e-9)
            losses.append(each["loss"])
    assert max(losses) > 0.01
    assert all(torch.equal(tensor, before[name]) for name, tensor in found.model.state_dict().items())
    assert "nll" not in vars(found.model.head)
    assert [fact["done"] for fact in said] == list(range(len(said)))
    assert {fact["of"] for fact in said} == {len(said)}


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize(("mode", "levels"), [("sparsity", (0.3, 0.6)), ("bits", (8, 4, 3))])
def test_the_technique_makes_the_mix_that_was_measured(mode: Any, levels: tuple[float, ...], tied: bool, tmp_path: Path) -> None:
    found = trained(tmp_path, tied=tied)
    suggestion = measure(found, mode, levels, 0.05, TOKENS, silent)["suggestion"]
    recipe = suggestion["recipe"]
    assert suggestion["foretold"] <= 0.05
    copied: Any = copy.deepcopy(found.model)
    technique: Any = plugin(recipe)
    finished, _ = technique.finish(copied, Surroundings(copied))
    assert perplexity(found, finished) == pytest.approx(suggestion["figure"], rel=1e-5)
    assert perplexity(found, found.model) != suggestion["figure"]
    assert json.loads(json.dumps(recipe)) == recipe


def test_what_is_packed_already_is_refused(tmp_path: Path) -> None:
    found = trained(tmp_path)
    technique: Any = plugin({"id": "quantization/weight_only", "types": ["Linear", "LSTM", "Embedding"]})
    packed, _ = technique.finish(found.model, Surroundings(found.model))
    with pytest.raises(SensitivityError, match=r"No matrix of this model can be rounded: its layers are packed already"):
        measure(Finished(packed, found.plan, found.task, found.text), "bits", (4,), 0.01, TOKENS, silent)


# --- The mix ----------------------------------------------------------------------------------------------------------------------------------


def test_a_mix_stays_within_what_may_be_lost_and_leaves_no_move_out() -> None:
    draw = np.random.default_rng(0)
    for _ in range(20):
        choices = [Choice(f"l{n}", bits, 1000 * (32 - bits), float(draw.exponential(0.003) * (9 - bits))) for n in range(4) for bits in (8, 4, 3)]
        allowed = 0.02
        chosen = mix(choices, allowed)
        by = {(each.layer, each.level): each for each in choices}
        spent = sum(by[each].loss for each in chosen.items())
        saved = sum(by[each].saved for each in chosen.items())
        assert spent <= allowed
        per_layer = [[None, *(each for each in choices if each.layer == f"l{n}")] for n in range(4)]
        possible = [[each for each in mixed if each] for mixed in itertools.product(*per_layer)]
        best = max(sum(each.saved for each in mixed) for mixed in possible if sum(each.loss for each in mixed) <= allowed)
        # Greedy: never more than the largest single saving away from the best of all mixes.
        assert best - max(each.saved for each in choices) <= saved <= best
    gains = [Choice("a", 2, 10, -1.0), Choice("b", 2, 10, 0.02)]
    assert mix(gains, 0.01) == {"a": 2}  # a measured gain makes no room for another's loss


def test_a_module_is_packed_whole_or_not_at_all() -> None:
    rows = [
        {"name": "lstm.weight_ih_l0", "names": ["lstm.weight_ih_l0"], "kinds": ["LSTM"]},
        {"name": "lstm.weight_hh_l0", "names": ["lstm.weight_hh_l0"], "kinds": ["LSTM"]},
        {"name": "head.weight", "names": ["head.weight"], "kinds": ["Linear"]},
    ]
    recipe = sensitivity.recipe_of_bits(rows, {"lstm.weight_ih_l0": 4, "head.weight": 3})
    assert recipe == {"id": "quantization/weight_only", "types": ["Linear"], "include": ["head"], "layer_bits": {"head.weight": 3}}
    assert sensitivity.toml(recipe) == (
        '{ id = "quantization/weight_only", types = ["Linear"], include = ["head"], layer_bits = { "head.weight" = 3 } }'
    )
    assert sensitivity.recipe_of_bits(rows, {"lstm.weight_ih_l0": 4}) is None


def test_layers_are_pruned_each_to_its_own_share() -> None:
    rows = [{"name": name, "names": [name], "kinds": [kind]} for name, kind in (("a.weight", "Linear"), ("b.weight", "Conv1d"), ("c.weight", "GRU"))]
    recipe = sensitivity.recipe_of_sparsity(rows, {"a.weight": 0.5, "b.weight": 0.9})
    assert recipe == {
        "id": "pruning/magnitude", "sparsity": 0.9, "layer_sparsity": {"a.weight": 0.5}, "types": ["Linear", "Conv1d"],
        "include": ["a.weight", "b.weight"], "exclude": [], "fine_tune_tokens": 0,
    }  # fmt: skip
    assert "layer_sparsity" not in (sensitivity.recipe_of_sparsity(rows, {"a.weight": 0.5, "c.weight": 0.5}) or {})
    assert sensitivity.recipe_of_sparsity(rows, {}) is None


# --- The command ------------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mode", "words", "sentence"),
    [
        ("bits", "4,1", "1 bits: weights are rounded to 2 to 8 whole bits"),
        ("bits", "3.5", "whole bits"),
        ("sparsity", "0.5, 1", "sparsity 1: it must lie between 0 and 1"),
        ("sparsity", "half", '"half" is no number'),
        ("bits", " , ", "No level is given"),
    ],
)
def test_wrong_levels_are_a_sentence(mode: Any, words: str, sentence: str) -> None:
    with pytest.raises(SensitivityError, match=sentence):
        levels_of(mode, words)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["r9"], "no run r9"),
        (["r1"], "Run r1 is queued"),
        (["r1", "--bits", "4", "--sparsity", "0.5"], "two questions"),
        (["r1", "--bits", "x"], "no number"),
        (["r1", "--allow=-1"], "A mix may not lose -1"),
    ],
)
def test_a_wrong_request_is_a_sentence(store: Store, capsys: pytest.CaptureFixture[str], words: list[str], sentence: str) -> None:
    queue(store, [])
    assert cli.main(["sensitivity", *words, "--store", store.url]) == 2
    assert sentence in capsys.readouterr().err


@pytest.mark.slow
def test_from_a_run_to_its_file(store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "train.txt").write_text(Path(grammar.__file__).read_text())
    plan = small.plan([], corpus={"id": "corpora/text_files", "train": str(tmp_path / "train.txt"), "level": "char"})
    (run,) = done(store, plan)
    parts = Parts.of(plan)
    text = text_of(parts.corpus, lambda _: None)
    torch.manual_seed(0)
    model = parts.task.assemble(plan["model"], block, text, 12)
    save_finished(model, plan, [], Path(store.folder) / "runs" / str(run) / "model", text.fingerprint)
    assert cli.main(["sensitivity", "r1", "--bits", "4,2", "--tokens", "200", "--store", store.url]) == 0
    shown = capsys.readouterr()
    assert "r1 small: 1 of 11, embedding.weight at 4 bits" in shown.err
    for words in ("layers.0.mixer.lstm.weight_hh_l0", "2 bits", "on the first 200 targets", "foretold", "measured together"):
        assert words in shown.out
    (row,) = queries.artifacts(store, run)
    assert (row.kind, row.name, Path(row.path).stat().st_size) == ("sensitivity", "bits", row.bytes)
    assert sensitivity.stored(store, run)["bits"]["levels"] == [4, 2]
