"""What every plugin of the catalogue must be, whoever wrote it: built, trained, causal, effective, restorable, and as it says it is.

A plugin that is added is tested here without a line of its own, unless it has parameters without a default or does nothing in a tiny model
under its defaults: then EXAMPLES names some.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import torch

from engines import catalogue
from engines.api import Block, Plugin, Site, Study, Task, Technique
from engines.runtime import checkpoint
from engines.runtime.effects import Structure
from engines.runtime.finished import load_finished, save_finished
from engines.runtime.plan import block
from engines.runtime.study import measure, study_of
from engines.runtime.train import Cancelled, Trainer
from engines.runtime.verify import verify
from engines.toolbox.batches import Batch
from engines.toolbox.heads import IGNORED, judge
from tests.engines.runtime import session as small

EXAMPLES: dict[str, dict[str, Any]] = {
    "corpora/labelled_files": {"train": "text.txt"},
    "corpora/sentence_pairs": {"train": "pairs.tsv"},
    "corpora/text_files": {"train": "text.txt"},
    "distillation/layerwise": {"teacher": "teacher"},
    "distillation/pretraining": {"teacher": "teacher"},
    "distillation/soft_labels": {"teacher": "teacher"},
    "models/own": {"factory": "tests.plugins.models.nets:recurrent"},
    "softmax/adaptive": {"cutoffs": [50, 200], "div_value": 2.0},
    "softmax/importance_sampled": {"samples": 64},
    "softmax/hard_negatives": {"negatives": 100},
    "softmax/nce": {"samples": 64},
    "softmax/negative_sampling": {"samples": 64},
    "experts/switch": {"experts": 2},
    "optimization/clip_norm": {"max_norm": 0.01},
    "quantization/ternary_distilled": {"teacher": "teacher"},
    "pruning/structured": {"recurrent": 0.5},
    "batching/random_bptt": {"spread": 3.0, "shortest": 4},
    "studies/combined_operations": {"words": [1, 3, 5], "width": 8, "batch": 2},
    "studies/data_movement": {"mib": [0.0625, 0.125], "words": 4, "width": 8},
    "studies/minibatch": {"batches": [1, 3], "lines": 7, "width": 4, "source": {"id": "corpora/python_stdlib", "fraction": 0.001}},
    "studies/operation_parallel": {"sizes": [4, 8], "operations": 2},
    "studies/threads": {"sizes": [4, 8], "threads": [1, 2]},
    "studies/head_vocabulary": {"vocabularies": [60, 120], "tokens": 8, "width": 32},
    "studies/matmul": {"largest": 64, "dtypes": ["float32", "float64"], "threads": [1]},
    "studies/prediction_search": {
        "source": "synthetic",
        "vocabulary": 300,
        "width": 8,
        "contexts": 20,
        "calibration": 30,
        "dimensions": [4],
        "candidates": [20],
        "lists": 8,
        "probed": [2],
        "links": 8,
        "beams": [8],
        "bits": [64],
    },
    "studies/sparse_matmul": {"densities": [0.1, 0.5], "batches": [1, 3], "widths": [16, 32]},
    "studies/repeated_operations": {"words": [1, 3, 5], "width": 8, "vectors": 3, "example_width": 4},
}
"""Parameters that a plugin needs, or needs to matter with 500 words, 24 numbers and 12 tokens."""

ELSEWHERE = {
    "baselines/linear": "tells texts apart and predicts no token: tests/plugins/baselines/test_linear.py",
    "models/pretrained": "has 134.5 M parameters and tokens of its own: tests/plugins/models/test_pretrained.py",
    "models/sentence_encoder": "has tokens of its own: tests/plugins/models/test_sentence_encoder.py",
}
"""Blocks that are what they are, and where they are tried."""

ADAM = {"id": "optimization/adam", "lr": 0.01}
SGD = {"id": "optimization/sgd", "lr": 0.5}
DEFAULTS = {"embedding": "embeddings/lookup", "mixer": "recurrent/lstm", "head": "softmax/full"}
STEPS = 3
CLOSE = 1e-3
"""What a technique that promises `close` may change in a loss of this model, relative, within STEPS steps."""


def plugins(kind: type[Plugin] = Plugin) -> list[str]:
    return [id for id in catalogue.sources() if issubclass(catalogue.load(id), kind)]


def small_blocks() -> list[str]:
    """Blocks that can be tried in a tiny model."""
    return [id for id in plugins(Block) if id not in ELSEWHERE]


def choice(id: str) -> dict[str, Any]:
    return {"id": id} | EXAMPLES.get(id, {})


def made(id: str) -> Any:
    return catalogue.load(id)(**EXAMPLES.get(id, {}))


# --- Every plugin -----------------------------------------------------------------------------------------------------------------------------


def test_every_built_in_loads() -> None:
    entries = catalogue.build()["plugins"]
    assert len(entries) >= 25
    assert {id: entry["error"] for id, entry in entries.items() if entry["error"]} == {}


@pytest.mark.parametrize("id", plugins())
def test_the_card_says_what_a_reader_needs(id: str) -> None:
    entry = catalogue.entry(id)
    title, card = entry["title"], entry["card"]
    assert 3 <= len(title) <= 80
    assert re.search(r"https?://", entry["paper"]), "a paper needs a link"
    assert re.search(r"\d{4}", entry["paper"] + card), "a reference needs a year"
    assert "Does nothing when" in card
    if entry["kind"] in ("block", "technique"):
        assert re.search(r"\(1\)|\(\w, \w\)|\([A-Z]\)", card), "equations or shapes"
        assert "Cost:" in card
    for name, field in entry["parameters"].get("properties", {}).items():
        assert field.get("description"), f"{name} has no help"


@pytest.mark.parametrize("id", plugins())
def test_parameters_round_trip_through_json_and_fit_their_schema(id: str) -> None:
    plugin = made(id)
    written = plugin.model_dump_json()
    assert type(plugin).model_validate_json(written) == plugin
    jsonschema.validate(json.loads(written), catalogue.entry(id)["parameters"])
    with pytest.raises(ValueError, match="no_such_parameter"):
        type(plugin)(**EXAMPLES.get(id, {}), no_such_parameter=1)


@pytest.mark.parametrize("id", [id for id, entry in catalogue.build()["plugins"].items() if entry["certificates"]])
@pytest.mark.parametrize("trial", [{}, {"batch": 3, "length": 7, "width": 8, "vocabulary": 31, "seed": 1}], ids=["default", "small and odd"])
def test_every_certificate_holds(id: str, trial: dict[str, Any]) -> None:
    if reason := catalogue.load(id).unavailable():
        pytest.skip(reason)
    for each in verify(id, trial):
        assert each["holds"], f"{each['statement']}: {each.get('reason') or each['error']}"


# --- Blocks -----------------------------------------------------------------------------------------------------------------------------------


def model_table(id: str) -> dict[str, Any]:
    """A two-layer model that has the block in its place, or the whole model."""
    slot = catalogue.entry(id)["slot"]
    if slot == "model":
        return choice(id)
    chosen = {name: {"id": default} for name, default in DEFAULTS.items()} | {slot: choice(id)}
    chosen["embedding"] = chosen["embedding"] | {"width": 24}
    layer = {"mixer": chosen["mixer"], "feedforward": chosen.get("feedforward"), "repeat": 2, "residual": None, "norm": None}
    return {"embedding": chosen["embedding"], "layers": [layer], "head": chosen["head"]}


def causal(id: str) -> bool:
    return bool(catalogue.entry(id)["causal"])


CAUSAL = [id for id in small_blocks() if causal(id)]


def task_of(id: str) -> str:
    """The task that a block is tried on: a mixer that looks ahead can only read whole texts."""
    return "tasks/language_model" if causal(id) else "tasks/text_classification"


def model_of(id: str) -> Any:
    torch.manual_seed(0)
    task: Task = catalogue.load(task_of(id))()  # type: ignore[assignment]
    return task.assemble(model_table(id), block, small.text(), 12)


def batch_of(length: int = 12, id: str = "") -> Batch:
    ids = torch.randint(small.SIZE, (4, length + 1), generator=torch.Generator().manual_seed(1))
    return Batch(ids[:, :-1], ids[:, 1:] if not id or causal(id) else ids[:, -1:] % 2)


@pytest.mark.parametrize("id", small_blocks())
def test_a_block_trains_and_every_weight_moves(id: str, tmp_path: Path) -> None:
    trainer = small.trainer(tmp_path, small.plan([ADAM], model=model_table(id), budget={"steps": 80}, task={"id": task_of(id)}))
    session = trainer.session
    before = {name: p.detach().clone() for name, p in session.model.named_parameters()}

    def judged() -> float:
        """By the task's first figure, the lower the better, on text that is trained on: a head's training loss may be a surrogate."""
        figure = session.task.evaluate(session.model, session.text, "train", 0, 32, session.device)[0]
        return figure.value if figure.better == "lower" else 1 / figure.value

    untrained = judged()
    trainer.train()
    if trainer.pipeline.fitted:
        assert trainer.session.tokens == 80 * 8 * 12
    else:
        assert len(small.losses(trainer)) == 80
    assert judged() < 0.9 * untrained
    still = [name for name, p in trainer.session.model.named_parameters() if p.requires_grad and torch.equal(before[name], p)]
    assert not still, "these parameters never moved"


@pytest.mark.parametrize("id", CAUSAL)
def test_a_future_token_changes_no_earlier_output(id: str) -> None:
    model, batch = model_of(id).eval(), batch_of()
    changed = batch.inputs_BT.clone()
    changed[:, 7] = (changed[:, 7] + 1) % small.SIZE
    with torch.no_grad():
        first, second = model.hidden(batch.inputs_BT, None)[0], model.hidden(changed, None)[0]
    # Not bit for bit: experts are called with other tokens together.
    torch.testing.assert_close(first[:, :7], second[:, :7], rtol=1e-5, atol=1e-6)
    assert (first[:, 7:] - second[:, 7:]).abs().max() > 1e-3


@pytest.mark.parametrize("id", [id for id in small_blocks() if not causal(id)])
def test_a_mixer_that_looks_ahead_is_refused_where_tokens_are_predicted(id: str) -> None:
    task: Task = catalogue.load("tasks/language_model")()  # type: ignore[assignment]
    with pytest.raises(ValueError, match=rf"Layer 1 \({id}\) lets a token see the tokens after it.*use a causal mixer"):
        task.assemble(model_table(id), block, small.text(), 12)


@pytest.mark.parametrize("id", [id for id in small_blocks() if catalogue.entry(id)["slot"] in ("embedding", "mixer", "feedforward")])
def test_padding_behind_a_text_changes_nothing_of_it(id: str) -> None:
    """Neither its probabilities nor the gradients of its loss, in training as in evaluation."""
    torch.manual_seed(0)
    task: Task = catalogue.load("tasks/text_classification")()  # type: ignore[assignment]
    model: Any = task.assemble(model_table(id), block, small.text(), 12)
    ids_BT = batch_of().inputs_BT
    cut_BT = ids_BT.clone()
    cut_BT[:, 7:] = IGNORED
    targets_B1 = ids_BT[:, :1] % 2
    for training in (False, True):
        model.train(training)
        found = []
        for inputs_BT in (ids_BT[:, :7], cut_BT):
            loss, count, _, extras = model(Batch(inputs_BT, targets_B1, fresh=True))
            wanted = [p for p in model.parameters() if p.requires_grad]
            objective = loss + extras.get("auxiliary", 0.0) if training else loss  # the auxiliary loss of evaluation is read by nobody
            gradients = torch.autograd.grad(objective, wanted, materialize_grads=True)
            found.append([loss.detach(), torch.as_tensor(count), *gradients])
        for alone, padded in zip(*found, strict=True):
            torch.testing.assert_close(padded, alone, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("id", CAUSAL)
def test_token_by_token_equals_all_at_once(id: str) -> None:
    """What generation relies on: the carried state stands for the text before."""
    model, batch = model_of(id).eval(), batch_of()
    with torch.no_grad():
        whole, _, _ = model.hidden(batch.inputs_BT, None)
        state, steps = None, []
        for t in range(batch.inputs_BT.shape[1]):
            x_B1D, state, _ = model.hidden(batch.inputs_BT[:, t : t + 1], state)
            steps.append(x_B1D)
    torch.testing.assert_close(torch.cat(steps, dim=1), whole, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("id", [id for id in plugins(Block) if catalogue.entry(id)["slot"] == "head"])
def test_a_head_is_one_distribution_or_one_order_of_tokens_in_all_its_calls(id: str) -> None:
    head, target_N = model_of(id).eval().head, batch_of().targets_BT.flatten()
    with torch.no_grad():
        hidden_ND = torch.randn(len(target_N), 24, generator=torch.Generator().manual_seed(2))
        score_NV = torch.empty(len(target_N), small.SIZE)
        best_NV, order_NV = head.topk(hidden_ND, small.SIZE)
        score_NV.scatter_(1, order_NV, best_NV)
        assert torch.equal(order_NV.sort(1).values, torch.arange(small.SIZE).expand(len(target_N), -1))
        assert (best_NV.diff(dim=1) <= 0).all()
        own_N1 = score_NV.gather(1, target_N[:, None])
        above_N, others_N = (score_NV > own_N1).sum(1), (score_NV == own_N1).sum(1) - 1
        # A score that is computed once more may round past its neighbour.
        torch.testing.assert_close(head.rank(hidden_ND, target_N), 1 + above_N + others_N / 2, rtol=0, atol=2)
        assert head.rank(hidden_ND, torch.full_like(target_N, IGNORED)).isinf().all()
        values_NK, ids_NK = head.topk(hidden_ND, 5)
        torch.testing.assert_close(values_NK, best_NV[:, :5], rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(score_NV.gather(1, ids_NK), values_NK, rtol=1e-4, atol=1e-4)
        if not head.normalised:
            assert not {"nll", "log_prob"} & set(dir(head)), "there is no distribution to ask for"
            assert re.fullmatch(r"[^A-Z].*[^.]", head.no_distribution), "the rest of a sentence, without its full stop"
            return
        torch.testing.assert_close(head.log_prob(hidden_ND), score_NV, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(score_NV.exp().sum(1), torch.ones(len(target_N)), rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(head.nll(hidden_ND, target_N), -own_N1.squeeze(1), rtol=1e-4, atol=1e-4)
        assert (head.nll(hidden_ND, torch.full_like(target_N, IGNORED)) == 0).all()


@pytest.mark.parametrize("id", small_blocks())
def test_weights_sit_in_stock_modules_that_are_called(id: str) -> None:
    """Otherwise techniques cannot find and swap them. Parameters of norms and single vectors are free."""
    model, batch = model_of(id), batch_of(id=id)
    called: set[int] = set()
    for module in model.modules():
        module.register_forward_hook(lambda module, args, output: called.add(id_of(module)))
    model(batch, None)
    model.eval()
    with torch.no_grad():
        judge(model.head, model.hidden(batch.inputs_BT, None)[0].flatten(0, 1), batch.targets_BT.flatten())
        for layer in getattr(model, "layers", ()):
            if layer.feedforward is not None:
                # Varied enough that every expert is sent something.
                layer.feedforward(3 * torch.randn(8, 12, 24, generator=torch.Generator().manual_seed(3)))
    owners = [(name, module) for name, module in model.named_modules() if any(p.dim() > 1 for p in module.parameters(recurse=False))]
    assert owners or callable(getattr(model, "fit", None)), "only what is fitted at once has no weights"
    for name, module in owners:
        stock = any(kind.__module__.startswith("torch.nn") for kind in type(module).__mro__[:2])
        assert stock, f"{name} ({type(module).__name__}) holds a matrix of its own"
        assert id_of(module) in called, f"{name} is never called"


id_of = id


# --- Techniques -------------------------------------------------------------------------------------------------------------------------------


def recipe(id: str, earlier: bool = True) -> list[dict[str, Any]]:
    """The technique with what it needs. An optimizer stands alone."""
    entry = catalogue.entry(id)
    needed = [choice(name) for name in entry["requires"] if "/" in name]
    own = [choice(id)] if earlier else []
    return [*([] if entry["group"] == "optimizer" else [SGD]), *needed, *own]


def trained(folder: Path, techniques: list[dict[str, Any]], steps: int = STEPS) -> Trainer:
    trainer = small.trainer(folder, small.plan(techniques, budget={"steps": steps}))
    trainer.train()
    return trainer


def technique_ids() -> list[Any]:
    reasons = {id: catalogue.load(id).unavailable() for id in plugins(Technique)}
    return [pytest.param(id, marks=[pytest.mark.skip(reason=reason)] if reason else []) for id, reason in reasons.items()]


@pytest.mark.parametrize("id", technique_ids())
def test_a_technique_trains_and_keeps_its_promise_about_numbers(id: str, tmp_path: Path) -> None:
    entry = catalogue.entry(id)
    trainer = trained(tmp_path / "with", recipe(id), 12)
    losses = small.losses(trainer)
    assert len(losses) == 12
    without = recipe(id, earlier=False) or [SGD | {"lr": 0.01}]
    plain = trained(tmp_path / "without", without, 12)
    if entry["numerics"] == "same":
        assert losses == small.losses(plain)
    elif entry["numerics"] == "close":
        assert losses[:STEPS] == pytest.approx(small.losses(plain)[:STEPS], rel=CLOSE)
    else:
        trainer.pipeline.finish()
        plain.pipeline.finish()
        assert losses != small.losses(plain) or not equal_models(trainer.session.model, plain.session.model), "it had no effect"


@pytest.mark.parametrize("id", technique_ids())
def test_a_technique_says_what_it_changed_and_swaps_only_what_it_declares(id: str, tmp_path: Path) -> None:
    trainer = trained(tmp_path, recipe(id))
    before = Structure.of(trainer.session.model).types
    original = Structure.of(trained(tmp_path / "plain", recipe(id, earlier=False) or [SGD]).session.model).types
    trainer.pipeline.finish()
    gone = original - Structure.of(trainer.session.model).types
    declared = set(catalogue.entry(id)["replaces"])
    assert set(gone) <= declared, f"swaps out {dict(gone)}, but declares {sorted(declared)}"
    if declared:
        assert gone, f"declares to replace {sorted(declared)}, and replaced nothing"
    assert sum(before.values()) > 0
    stated = [effect for effect in trainer.pipeline.stated_effects() if effect.technique == id]
    assert stated
    assert all(effect.sentence.endswith((".", "!")) for effect in stated)


@pytest.mark.slow
@pytest.mark.parametrize("id", technique_ids())
def test_the_finished_model_survives_saving_and_restoring(id: str, tmp_path: Path) -> None:
    trainer = trained(tmp_path, recipe(id))
    records = trainer.pipeline.finish()
    model: Any = trainer.session.model.eval()
    save_finished(model, trainer.session.plan, records, tmp_path / "model", trainer.session.text.fingerprint)
    loaded: Any = load_finished(tmp_path / "model", "cpu", trainer.session.text).model
    batch = batch_of()
    with torch.no_grad():
        judged = [each.head.nll(each.hidden(batch.inputs_BT, None)[0].flatten(0, 1), batch.targets_BT.flatten()) for each in (model, loaded)]
    assert torch.equal(*judged)
    assert Structure.of(model).types == Structure.of(loaded).types


@pytest.mark.slow
@pytest.mark.parametrize("id", technique_ids())
def test_a_run_with_the_technique_resumes_as_if_it_had_not_stopped(id: str, tmp_path: Path) -> None:
    whole = trained(tmp_path / "whole", recipe(id), 8)
    plan = small.plan(recipe(id), budget={"steps": 8})
    first = small.trainer(tmp_path / "parts", plan)
    update = first.pipeline.update

    def update_and_ask() -> None:
        update()
        first.control.stop = first.session.step == 3

    first.pipeline.update = update_and_ask
    with pytest.raises(Cancelled):
        first.train()
    found = checkpoint.find(tmp_path / "parts" / "checkpoint")
    assert found is not None
    second = small.trainer(tmp_path / "parts", plan, earlier=checkpoint.load(found))
    second.train()
    assert small.losses(first) + small.losses(second) == small.losses(whole)
    assert equal_models(second.session.model, whole.session.model)


def equal_models(one: torch.nn.Module, other: torch.nn.Module) -> bool:
    mine, theirs = one.state_dict(), other.state_dict()
    return mine.keys() == theirs.keys() and all(torch.equal(mine[name], theirs[name]) for name in mine if isinstance(mine[name], torch.Tensor))


# --- Studies ---------------------------------------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("id", plugins(Study))
def test_a_study_measures_and_concludes(id: str) -> None:
    """Its alternatives compute the same values, or nothing is measured."""
    study = study_of(id, EXAMPLES.get(id, {}) | {"seconds": 0.01})
    told: list[dict[str, Any]] = []
    found = measure(study, "which?", tell=lambda **event: told.append(event))
    json.dumps(found, allow_nan=False)
    points = [point for curve in found["curves"] for point in curve["points"]]
    assert points or found["steps"]
    assert all(point["value"] > 0 and (point["low"] is None or point["low"] <= point["value"] <= point["high"]) for point in points)
    assert [event["event"] for event in told].count("point") == len(points)
    assert told[-1]["done"] == told[-1]["total"] > 0
    assert found["findings"]
    assert found["expectation"]["outcome"] in ("met", "refuted", "not decided")
    for sentence in (*found["findings"], *found["not_shown"], found["expectation"]["sentence"], found["expectation"]["reason"]):
        assert re.fullmatch(r"\S.*[.!]", sentence), sentence


@pytest.mark.parametrize("id", plugins(Study))
def test_a_study_says_what_it_will_measure_without_allocating(id: str) -> None:
    study = study_of(id, {})
    if study.corpus() is None:
        groups = list(study.groups_with(None, block))
        assert all(len({cell.curve for cell in group.cells}) == len(group.cells) > 0 for group in groups)
        xs = [group.x for group in groups if group.x is not None]
        assert xs == sorted(xs)


def test_a_layer_of_every_mixer_and_feedforward_fits_together() -> None:
    slots = {id: catalogue.entry(id)["slot"] for id in plugins(Block)}
    site = Site(width=24, vocabulary=small.text().vocabulary, length=12)
    for id in (id for id, slot in slots.items() if slot in ("mixer", "feedforward")):
        built = made(id).build(site)
        assert built.width == 24, f"{id} must keep the incoming width by default and say it"
