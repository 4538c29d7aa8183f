"""Distillation of classifiers: losses by hand on padded texts, padding, modules of one's own, and one recipe with pruning and int8."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from engines.runtime.finished import load_finished, save_finished
from engines.runtime.plan import Parts, block
from engines.toolbox.batches import Batch
from engines.toolbox.heads import IGNORED
from engines.toolbox.specimen import Surroundings
from plugins.distillation.layerwise import PROJECTIONS, Layerwise
from plugins.distillation.soft_labels import SoftLabels
from plugins.tasks.text_classification import TextClassification
from tests.engines.runtime import session as small

CPU = torch.device("cpu")
ADAM = {"id": "optimization/adam", "lr": 0.01}


def table(width: int, layers: int, mixer: str = "attention/bidirectional") -> dict[str, Any]:
    choice = {"id": mixer, "heads": 2}
    layer = {"mixer": choice, "feedforward": {"id": "feedforward/dense"}, "repeat": layers, "residual": None, "norm": None}
    return {"embedding": {"id": "embeddings/lookup", "width": width}, "layers": [layer], "head": {"id": "softmax/full"}}


def classifier(width: int, layers: int, mixer: str = "attention/bidirectional") -> Any:
    torch.manual_seed(width)
    return TextClassification().assemble(table(width, layers, mixer), block, small.text(), 40)


def taught(technique: Any, mixer: str = "attention/bidirectional") -> tuple[Any, Any, Any, Batch]:
    """(student, teacher, what the student's loss is under the technique, a batch with padding)."""
    student, teacher = classifier(8, 2, mixer), classifier(12, 4, mixer).requires_grad_(False).eval()
    context = Surroundings(student)
    context.teachers["big"] = teacher
    batch = next(TextClassification().batches(small.text(), 6, 40, 0))
    assert (batch.inputs_BT == IGNORED).any()
    module = technique.model(student, context) if hasattr(technique, "model") else student
    return module, teacher, technique.loss(module, context), batch


def alone(batch: Batch) -> list[Batch]:
    """Each text by itself, without padding."""
    return [
        Batch(ids[ids >= 0][None], target[None], fresh=True) for ids, target in zip(batch.inputs_BT, batch.targets_BT, strict=True)
    ]  # fmt: skip


def through(model: Any, ids_BT: torch.Tensor, upto: int) -> torch.Tensor:
    x_BTD = model.embedding(ids_BT)
    for layer in model.layers[: upto + 1]:
        x_BTD = layer(x_BTD)[0]
    return x_BTD


def test_soft_labels_of_a_classifier_are_those_of_the_paper() -> None:
    student, teacher, loss_of, batch = taught(SoftLabels(teacher="big", temperature=3.0, weight=0.4))
    expected = 0.0
    for text in alone(batch):
        z_C, v_C = (model.head.scores(model.hidden(text.inputs_BT)[0][0])[0] for model in (student, teacher))
        p, q = (v_C / 3).softmax(-1), (z_C / 3).softmax(-1)
        hard = F.cross_entropy(z_C[None], text.targets_BT.flatten())
        expected += float((0.6 * hard + 0.4 * 9 * (p * (p.log() - q.log())).sum()).detach())
    loss, count, _, _ = loss_of(batch, None)
    assert count == 6
    assert float(loss.detach()) == pytest.approx(expected, rel=1e-4)


def test_hidden_states_are_compared_text_by_text() -> None:
    student, teacher, loss_of, batch = taught(Layerwise(teacher="big", hidden_weight=0.7))
    expected = float(student(batch)[0].detach())
    for text in alone(batch):
        for i, place in enumerate((1, 3)):
            h_TE = through(student, text.inputs_BT, i)[0] @ getattr(student, PROJECTIONS).weights[i].T
            expected += 0.7 * float((h_TE - through(teacher, text.inputs_BT, place)[0]).square().mean().detach())
    assert float(loss_of(batch, None)[0].detach()) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("distance", ["squared", "divergence"])
@pytest.mark.parametrize("mixer", ["attention/bidirectional", "attention/full"])
def test_scores_are_compared_text_by_text_and_never_with_padding(distance: Any, mixer: str) -> None:
    student, teacher, loss_of, batch = taught(Layerwise(teacher="big", hidden_weight=0.0, scores_weight=2.0, distance=distance), mixer)
    expected = float(student(batch)[0].detach())
    for text in alone(batch):
        for i, place in enumerate((1, 3)):
            a_HTT, b_HTT = (_scores(model, text.inputs_BT, layer) for model, layer in ((student, i), (teacher, place)))
            length = a_HTT.shape[-1]
            for t in range(length):
                seen = length if mixer == "attention/bidirectional" else t + 1
                x, y = a_HTT[:, t, :seen], b_HTT[:, t, :seen]
                far = (x - y).square().mean(-1) if distance == "squared" else (y.softmax(-1) * (y.log_softmax(-1) - x.log_softmax(-1))).sum(-1)
                expected += 2.0 * float(far.mean().detach()) / length
    assert float(loss_of(batch, None)[0].detach()) == pytest.approx(expected, rel=1e-4)


def _scores(model: Any, ids_1T: torch.Tensor, layer: int) -> torch.Tensor:
    """(H, T, T) of softmax attention with rotary positions, turned one token at a time."""
    x = model.embedding(ids_1T) if layer == 0 else through(model, ids_1T, layer - 1)
    mixer = model.layers[layer].mixer
    q, k = (part(model.layers[layer].mixer_norm(x))[0].unflatten(-1, (mixer.heads, -1)).transpose(0, 1) for part in (mixer.query, mixer.key))
    half = q.shape[-1] // 2
    angle_TK = torch.arange(q.shape[1])[:, None] * 10_000.0 ** (-torch.arange(half) / half)
    turn = torch.polar(torch.ones_like(angle_TK), angle_TK)
    q, k = (torch.view_as_real(torch.view_as_complex(part.unflatten(-1, (half, 2)).contiguous()) * turn).flatten(-2) for part in (q, k))
    return q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5


def test_more_padding_moves_nothing() -> None:
    _, _, loss_of, batch = taught(Layerwise(teacher="big", hidden_weight=1.0, scores_weight=1.0))
    wider = Batch(F.pad(batch.inputs_BT, (0, 7), value=IGNORED), batch.targets_BT, fresh=True)
    assert float(loss_of(wider, None)[0].detach()) == pytest.approx(float(loss_of(batch, None)[0].detach()), rel=1e-5)


def test_layers_of_a_module_of_ones_own_are_compared_and_others_refused() -> None:
    plan = small.plan([]) | {"model": {"id": "models/own", "factory": "tests.plugins.models.nets:Transformer"}}
    wide = plan | {"model": plan["model"] | {"arguments": {"width": 32, "layers": 4}}}
    task = Parts.of(plan).task
    student, teacher = (task.assemble(each["model"], block, small.text(), 12) for each in (plan, wide))
    context = Surroundings(student)
    context.teachers["big"] = teacher.requires_grad_(False).eval()
    context.batches = [next(task.batches(small.text(), 4, 12, 0))]
    technique = Layerwise(teacher="big", layers="body.blocks")
    loss_of = technique.loss(technique.model(student, context), context)
    plain, loss = (float(each(context.batches[0], None)[0].detach()) for each in (student, loss_of))
    assert [tuple(each.shape) for each in getattr(student, PROJECTIONS).weights] == [(32, 24), (32, 24)]
    assert loss > plain
    with pytest.raises(ValueError, match=r"self_attn.out_proj \(\w+\) gives nothing for ids of shape \(4, 12\): layers .* must give \(rows, tokens"):
        Layerwise(teacher="big", layers="body.blocks.0.self_attn").model(student, context)


@pytest.mark.slow
def test_a_classifier_is_distilled_while_it_is_pruned_and_then_rounded(tmp_path: Path) -> None:
    task = {"task": {"id": "tasks/text_classification"}, "training": {"batch": 16, "sequence": 40}}
    measure = {"measure": {"evaluations": 1, "held_out_tokens": 0, "margin": 0.02}}
    big = small.trainer(tmp_path / "big", small.plan([ADAM], model=table(16, 4), budget={"steps": 60}, **task, **measure))
    big.train()
    teacher = big.session.model.eval().requires_grad_(False)
    recipe = [
        ADAM,
        {"id": "distillation/layerwise", "teacher": "big", "hidden_weight": 0.5, "scores_weight": 0.5},
        {"id": "distillation/soft_labels", "teacher": "big", "weight": 0.5},
        {"id": "pruning/movement", "sparsity": 0.6},
        {"id": "quantization/dynamic_int8"},
    ]
    plan = small.plan(recipe, model=table(8, 2), budget={"steps": 80}, **task, **measure)
    made = small.trainer(tmp_path / "small", plan, teachers={"big": teacher})
    made.train()
    records = made.pipeline.finish()
    model: Any = made.session.model.eval()
    assert not hasattr(model, PROJECTIONS)
    save_finished(model, plan, records, tmp_path / "model", made.session.text.fingerprint)
    kept: Any = load_finished(tmp_path / "model", text=made.session.text).model
    figures = {each.key: each.value for each in made.session.task.evaluate(kept, made.session.text, "test", 0, 32, CPU)}
    assert figures == {each.key: each.value for each in made.session.task.evaluate(model, made.session.text, "test", 0, 32, CPU)}
    assert figures["quality/test_accuracy"] > figures["quality/test_majority_accuracy"] + 0.05
    rounded = [parameter for name, parameter in kept.named_parameters() if parameter.dtype == torch.int8 and name.startswith("layers")]
    assert len(rounded) == 2 * 6, "query, key, value, output and both of the feed-forward in each layer"
    zeros = sum(int((parameter == 0).sum()) for parameter in rounded) / sum(parameter.numel() for parameter in rounded)
    assert 0.59 < zeros < 0.7, "what movement took away stays away when the rest is rounded"
    sentences = " ".join(sentence for _, sentence, _ in made.session.effects)
    assert "attention scores 0.5" in sentences
    assert "50% from the soft labels" in sentences
    assert all(torch.equal(one, other) for one, other in zip(teacher.parameters(), big.session.model.parameters(), strict=True))
