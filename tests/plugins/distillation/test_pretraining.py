"""distillation/pretraining: which layers are taken, the loss by hand, what is refused."""

from __future__ import annotations

import math

import pytest
import torch

from engines.api import Trial
from engines.toolbox.specimen import Surroundings, batches, specimen
from plugins.distillation.pretraining import Pretraining, angle

TRIAL = Trial(batch=4, length=6, width=8, vocabulary=13)


def pair(layers: int = 4, **parameters):
    student = specimen(TRIAL, layers=2)
    teacher = specimen(Trial(**{**vars(TRIAL), "seed": 5}), layers=layers).requires_grad_(False).eval()
    context = Surroundings(student)
    context.teachers["big"] = teacher
    return student, teacher, context, Pretraining(teacher="big", **parameters)


@pytest.mark.parametrize(("layers", "taken"), [(4, [0, 2]), (5, [0, 2]), (2, [0, 1]), (6, [0, 3])])
def test_the_student_begins_as_every_second_layer_and_shares_nothing(layers: int, taken: list[int]) -> None:
    student, teacher, context, technique = pair(layers)
    technique.model(student, context)
    for mine, place in zip(student.layers, taken, strict=True):
        for (name, own), other in zip(mine.named_parameters(), teacher.layers[place].parameters(), strict=True):
            assert torch.equal(own, other), name
            assert own.data_ptr() != other.data_ptr()
    assert torch.equal(student.embedding.weight, teacher.embedding.weight)
    assert all(p.requires_grad for p in student.parameters())


def test_the_angle_of_hand_computed_pairs() -> None:
    h, g = (torch.tensor(rows, dtype=torch.float64) for rows in ([[3.0, 0], [1, 0], [0, 2]], [[5.0, 0], [1, 1], [0, -1]]))
    assert float(angle(h, g, torch.tensor([1, 1, 1]))) == pytest.approx(0 + (1 - math.sqrt(0.5)) + 2, rel=1e-12)
    assert float(angle(h, g, torch.tensor([1, 1, -100]))) == pytest.approx(1 - math.sqrt(0.5), rel=1e-12)
    h.requires_grad_()
    assert torch.autograd.gradcheck(lambda h: angle(h, g, torch.tensor([1, 1, 1])), (h,))


def test_the_loss_is_that_of_the_equation() -> None:
    student, teacher, context, technique = pair(temperature=3.0, soft_weight=0.3, cosine_weight=0.2)
    batch = batches(TRIAL, 1)[0]
    loss, count, _, _ = technique.loss(student, context)(batch, None)
    h, g = (model.hidden(batch.inputs_BT)[0].flatten(0, 1) for model in (student, teacher))
    z, v = student.head.scores(h), teacher.head.scores(g)
    hard = torch.nn.functional.cross_entropy(z, batch.targets_BT.flatten(), reduction="sum")
    p, q = (v / 3).softmax(1), (z / 3).softmax(1)
    cosine = (h * g).sum(1) / (h.norm(dim=1) * g.norm(dim=1))
    expected = 0.5 * hard + 0.3 * 9 * (p * (p.log() - q.log())).sum() + 0.2 * (1 - cosine).sum()
    assert float(loss.detach()) == pytest.approx(float(expected.detach()), rel=1e-12)
    assert count == batch.targets_BT.numel()
    loss.backward()
    assert all(p.grad is None for p in teacher.parameters())


def test_what_does_not_fit_is_refused_with_a_sentence() -> None:
    student, _, context, technique = pair(1)
    with pytest.raises(ValueError, match="The student has 2 and the teacher 1 layers"):
        technique.model(student, context)
    context.teachers["big"] = specimen(Trial(**{**vars(TRIAL), "width": 12}), layers=4)
    with pytest.raises(ValueError, match="needs its widths and kinds of parts"):
        technique.model(student, context)
    with pytest.raises(ValueError, match="a cosine needs one width"):
        Pretraining(teacher="big", initialise=False).loss(student, context)(batches(TRIAL, 1)[0], None)
    with pytest.raises(ValueError, match="together at most 1"):
        Pretraining(teacher="big", soft_weight=0.7, cosine_weight=0.7).model(student, context)
