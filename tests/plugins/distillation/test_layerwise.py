"""distillation/layerwise: the loss by hand, scores against the attention itself, what is refused, what is left behind."""

from __future__ import annotations

import pytest
import torch

from engines.api import Trial
from engines.toolbox.attention import SelfAttention
from engines.toolbox.batches import detach
from engines.toolbox.specimen import Surroundings, batches, specimen, transformer
from engines.toolbox.taps import tap
from plugins.distillation.layerwise import PROJECTIONS, Layerwise, places_of

TRIAL = Trial(batch=4, length=6, width=8, vocabulary=13)
WIDE = Trial(batch=4, length=6, width=12, vocabulary=13, seed=5)


def pair(make=specimen, layers=(2, 4), **parameters):
    student, teacher = make(TRIAL, layers=layers[0]), make(WIDE, layers=layers[1]).requires_grad_(False).eval()
    context = Surroundings(student)
    context.teachers["big"] = teacher
    technique = Layerwise(teacher="big", **parameters)
    return technique.model(student, context), teacher, context, technique


def test_layer_maps() -> None:
    assert places_of(2, 4, "uniform") == [1, 3]
    assert places_of(3, 7, "uniform") == [2, 4, 6]
    assert places_of(2, 4, "last") == [2, 3]


def through(model, ids, upto):
    x = model.embedding(ids)
    for layer in model.layers[: upto + 1]:
        x = layer(x)[0]
    return x


def test_the_loss_of_hidden_states_is_that_of_the_paper_and_its_gradients_reach_the_projections() -> None:
    student, teacher, context, technique = pair(hidden_weight=0.7)
    batch = batches(TRIAL, 1)[0]
    loss, *_ = technique.loss(student, context)(batch, None)
    projections = getattr(student, PROJECTIONS).weights
    expected = student(batch)[0]
    for i, place in enumerate((1, 3)):
        difference = through(student, batch.inputs_BT, i) @ projections[i].T - through(teacher, batch.inputs_BT, place)
        expected = expected + 0.7 * difference.square().sum() / 12
    assert float(loss.detach()) == pytest.approx(float(expected.detach()), rel=1e-12)
    parameters = list(student.parameters())
    found, wanted = torch.autograd.grad(loss, parameters), torch.autograd.grad(expected, parameters)
    assert all(torch.allclose(a, b, rtol=1e-10) and b.abs().max() > 0 for a, b in zip(found, wanted, strict=True))
    assert all(p.grad is None for p in teacher.parameters())


@pytest.mark.parametrize("distance", ["squared", "divergence"])
def test_the_loss_of_scores_is_that_of_the_paper(distance: str) -> None:
    student, teacher, context, technique = pair(transformer, hidden_weight=0.0, scores_weight=2.0, distance=distance)
    batch = batches(TRIAL, 1)[0]
    loss, *_ = technique.loss(student, context)(batch, None)
    expected = float(student(batch)[0].detach())
    for i, place in enumerate((1, 3)):
        a, b = (hand_scores(model, batch.inputs_BT, layer) for model, layer in ((student, i), (teacher, place)))
        for t in range(6):
            x, y = a[:, :, t, : t + 1], b[:, :, t, : t + 1]
            far = (x - y).square().mean(-1) if distance == "squared" else (y.softmax(-1) * (y.log_softmax(-1) - x.log_softmax(-1))).sum(-1)
            expected += 2.0 * float(far.detach().sum()) / 4
    assert float(loss.detach()) == pytest.approx(expected, rel=1e-10)
    assert not hasattr(student, PROJECTIONS)


def hand_scores(model, ids, layer):
    x = model.embedding(ids) if layer == 0 else through(model, ids, layer - 1)
    mixer = model.layers[layer].mixer
    x = model.layers[layer].mixer_norm(x)
    q, k = (part(x).reshape(4, 6, 4, -1).permute(0, 2, 1, 3) for part in (mixer.query, mixer.key))
    return q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5


@pytest.mark.parametrize("positions", ["rotary", "learned", "none"])
def test_scores_are_those_that_the_attention_computes_with(positions) -> None:
    torch.manual_seed(0)
    attention = SelfAttention(8, heads=4, kv_heads=2, window=5 if positions != "learned" else 9, positions=positions).double()
    x = torch.randn(3, 9, 8, dtype=torch.float64)
    with tap(torch.nn.ModuleDict({"only": attention}), "only", scores=True) as seen:
        y = attention(x, None)[0]
    score, mask = seen.scores("only")
    value = attention.value(x).reshape(3, 9, 2, 2).permute(0, 2, 1, 3).repeat_interleave(2, dim=1)
    made = score.masked_fill(~mask, float("-inf")).softmax(-1) @ value
    assert torch.allclose(attention.output(made.transpose(1, 2).reshape(3, 9, 8)), y, atol=1e-12)
    assert not attention._forward_hooks
    assert not attention.query._forward_hooks


def test_hooks_go_when_the_pass_fails() -> None:
    student = specimen(TRIAL)
    with pytest.raises(RuntimeError, match="inside"), tap(student, "layers.*"):
        raise RuntimeError("inside")
    assert all(not module._forward_hooks for module in student.modules())


def test_the_teacher_carries_its_own_state() -> None:
    student, teacher, context, technique = pair(hidden_weight=1.0)
    first, second = batches(TRIAL, 2)
    loss_of = technique.loss(student, context)
    _, _, state, _ = loss_of(first, None)
    assert torch.equal(state["teacher"][3][0], teacher.hidden(first.inputs_BT)[1][3][0])
    carried = loss_of(second, detach(state))[0]
    assert not torch.equal(carried, loss_of(second, None)[0])


def test_the_projections_are_gone_from_the_finished_model() -> None:
    student, _, context, technique = pair()
    assert any(PROJECTIONS in name for name in student.state_dict())
    module, _ = technique.finish(student, context)
    assert list(module.state_dict()) == list(specimen(TRIAL).state_dict())


def test_refusals_are_sentences() -> None:
    with pytest.raises(ValueError, match='student has 4 layers and the teacher "big" 2'):
        pair(layers=(4, 2))
    with pytest.raises(ValueError, match=r'No module of the model is called "layer\.\*"'):
        Layerwise(teacher="big", layers="layer").model(*taught_by(specimen(WIDE)))
    student, _, context, technique = pair(scores_weight=1.0)
    with pytest.raises(ValueError, match="SpecimenMixer\\) has 0 attentions"):
        technique.loss(student, context)(batches(TRIAL, 1)[0], None)


def taught_by(teacher):
    student = specimen(TRIAL)
    context = Surroundings(student)
    context.teachers["big"] = teacher
    return student, context
