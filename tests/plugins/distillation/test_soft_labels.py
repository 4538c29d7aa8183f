"""distillation/soft_labels: the loss by hand, the teacher's state, what is refused."""

from __future__ import annotations

import math

import pytest
import torch

from engines.api import Trial
from engines.toolbox.batches import Batch, detach
from engines.toolbox.distillation import divergence
from engines.toolbox.optimization import largest_difference
from engines.toolbox.specimen import Surroundings, backward_of, batches, gradients, specimen
from plugins.distillation.soft_labels import SoftLabels
from plugins.memory.gradient_accumulation import GradientAccumulation
from plugins.precision.mixed import Mixed

TRIAL = Trial(batch=4, length=6, width=8, vocabulary=13)
OTHER = Trial(batch=4, length=6, width=12, vocabulary=13, seed=5)


def pair(**parameters):
    student, teacher = specimen(TRIAL), specimen(OTHER).requires_grad_(False).eval()
    context = Surroundings(student)
    context.teachers["big"] = teacher
    return student, teacher, context, SoftLabels(teacher="big", **parameters)


def test_divergence_of_a_hand_computed_pair() -> None:
    # p_2 ~ (sqrt(.64), sqrt(.36)) = (4/7, 3/7) and q_2 ~ (sqrt(.2), sqrt(.8)) = (1/3, 2/3)
    p, q = (torch.tensor([pair], dtype=torch.float64).log() for pair in ([0.64, 0.36], [0.2, 0.8]))
    expected = 4 / 7 * math.log((4 / 7) / (1 / 3)) + 3 / 7 * math.log((3 / 7) / (2 / 3))
    assert float(divergence(p, q, 2.0)) == pytest.approx(expected, rel=1e-12)
    assert float(divergence(p.repeat(3, 1), q.repeat(3, 1), 2.0, torch.tensor([0, -100, 1]))) == pytest.approx(2 * expected, rel=1e-12)


def test_the_loss_is_that_of_the_paper() -> None:
    student, teacher, context, technique = pair(temperature=3.0, weight=0.3)
    batch = batches(TRIAL, 1)[0]
    loss, count, _, extras = technique.loss(student, context)(batch, None)
    target_N = batch.targets_BT.flatten()
    z = student.head.scores(student.hidden(batch.inputs_BT)[0].flatten(0, 1))
    v = teacher.head.scores(teacher.hidden(batch.inputs_BT)[0].flatten(0, 1))
    hard = torch.nn.functional.cross_entropy(z, target_N, reduction="sum")
    p, q = (v / 3).softmax(1), (z / 3).softmax(1)
    soft = (p * (p.log() - q.log())).sum()
    assert float(loss.detach()) == pytest.approx(float((0.7 * hard + 0.3 * 9 * soft).detach()), rel=1e-12)
    assert count == target_N.numel()
    assert "auxiliary" in extras


def test_the_teacher_gets_its_own_state_and_no_gradient() -> None:
    student, teacher, context, technique = pair(weight=1.0)
    first, second = batches(TRIAL, 2)
    loss_of = technique.loss(student, context)
    _, _, state, _ = loss_of(first, None)
    loss, _, _, _ = loss_of(second, detach(state))
    loss.backward()
    whole = torch.cat([first.inputs_BT, second.inputs_BT], 1)
    v = teacher.head.log_prob(teacher.hidden(whole)[0][:, 6:].flatten(0, 1))
    z = student.head.log_prob(student.hidden(whole)[0][:, 6:].flatten(0, 1))
    assert float(loss.detach()) == pytest.approx(float((4 * divergence(v, z, 2.0)).detach()), rel=1e-10)
    assert all(p.grad is None for p in teacher.parameters())


def test_a_fresh_batch_starts_the_teacher_anew() -> None:
    student, _, context, technique = pair(weight=1.0)
    loss_of = technique.loss(student, context)
    batch = batches(TRIAL, 1)[0]
    _, _, state, _ = loss_of(batch, None)
    fresh = Batch(batch.inputs_BT, batch.targets_BT, fresh=True)
    assert torch.equal(loss_of(fresh, detach(state))[0], loss_of(batch, None)[0])


def test_accumulation_splits_the_teachers_state_with_the_rows() -> None:
    def run(n: int) -> torch.Tensor:
        student, _, context, technique = pair()
        backward = GradientAccumulation(micro_batches=n).gradient(backward_of(technique.loss(student, context)), Surroundings(student))
        state = None
        for batch in batches(TRIAL, 2):
            _, _, state, _ = backward(batch, state)
            state = detach(state)
        return gradients(student)

    assert largest_difference(run(3), run(1)) < 1e-12


@pytest.mark.parametrize("mixed_first", [True, False])
def test_works_beside_mixed_precision_in_either_order(mixed_first: bool) -> None:
    student, teacher = specimen(Trial(**{**vars(TRIAL), "dtype": "float32"})), specimen(Trial(**{**vars(OTHER), "dtype": "float32"})).eval()
    context = Surroundings(student)
    context.teachers["big"] = teacher
    soft = SoftLabels(teacher="big", weight=1.0)
    batch = batches(TRIAL, 1)[0]
    expected = float(soft.loss(student, context)(batch, None)[0].detach())
    loss_of = student
    for technique in [Mixed(), soft] if mixed_first else [soft, Mixed()]:
        loss_of = technique.loss(loss_of, context)
    loss, *_ = loss_of(batch, None)
    loss.backward()
    assert float(loss.detach()) == pytest.approx(expected, rel=0.1)


def test_another_vocabulary_is_refused_with_a_sentence() -> None:
    student, _, context, technique = pair()
    context.teachers["big"] = specimen(Trial(vocabulary=20))
    with pytest.raises(ValueError, match='The teacher "big" knows 20 words and this variant 13'):
        technique.loss(student, context)


def test_a_head_without_distribution_is_refused() -> None:
    student, teacher, context, technique = pair()
    teacher.head.normalised = False
    with pytest.raises(ValueError, match="the head of the teacher has none"):
        technique.loss(student, context)


def test_weight_zero_does_not_even_ask_for_the_teacher() -> None:
    student = specimen(TRIAL)
    context = Surroundings(student)
    assert SoftLabels(teacher="nobody", weight=0.0).loss(student, context) is student
    assert "not used" in context.effects[0][0]
