"""Learning from the distribution of a teacher."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import torch

from engines.api import Context, Technique, Trial, certificate, param
from engines.toolbox.batches import detach
from engines.toolbox.distillation import TEACHER, check_pair, divergence, taught
from engines.toolbox.optimization import largest_difference
from engines.toolbox.specimen import Surroundings, backward_of, batches, gradients, specimen


class SoftLabels(Technique):
    """Distillation with soft labels

    Hinton, Vinyals and Dean (2015), Distilling the Knowledge in a Neural Network.

    Equations, for N tokens with student scores z and teacher scores v over V words:

        p = softmax(v / T),   q = softmax(z / T)                                 (1)
        L = (1 - alpha) sum CE(target) + alpha T^2 sum_N KL(p || q)              (2)

    Symbols: T temperature, alpha weight of the teacher, CE the head's own training loss. Softmax does not see a constant added to all
    scores, so (1) takes log p / T of each head and works for every head with a distribution. T^2 keeps the size of the gradient as T grows.
    Cost: a forward pass of the teacher and V log-probabilities of both models a token, even where the student's head is a sampled or
    adaptive one that avoids them; the teacher's training counts as part of the variant's price.
    Does nothing when: alpha = 0 (the teacher is then not even run).
    Parameters: teacher, temperature T, weight alpha.

    The teacher reads the same text with a state of its own, carried along with the student's and reset with it.
    """

    paper: ClassVar[str] = "Hinton, Vinyals and Dean (2015), Distilling the Knowledge in a Neural Network, https://arxiv.org/abs/1503.02531"

    teacher: str = param(help=TEACHER, reference="model")
    temperature: float = param(2.0, "Higher: smoother distributions, more weight on improbable words.", symbol="T", gt=0)
    weight: float = param(0.5, "Share of the loss that follows the teacher instead of the text.", symbol="alpha", ge=0, le=1)

    def loss(self, loss_of: Callable[..., Any], ctx: Context) -> Callable[..., Any]:
        """(batch, state) -> (loss_sum, count, state, extras) with the loss of (2); state = {"student": ..., "teacher": ...}."""
        if self.weight == 0:
            ctx.effect(f'weight = 0: the teacher "{self.teacher}" is not used.')
            return loss_of
        teacher: Any = ctx.teacher(self.teacher)
        check_pair("distillation/soft_labels", self.teacher, teacher, ctx.model)
        size = sum(p.numel() for p in teacher.parameters())
        ctx.effect(
            f'Learns {self.weight:.0%} from the soft labels of "{self.teacher}" ({size:,} parameters) at temperature {self.temperature:g}.',
            teacher_parameters=size,
        )

        return taught(loss_of, ctx.model, teacher, self.weight, self.temperature)  # (2)


@certificate("Weight 0 is plain training, bit for bit", tolerance=0.0)
def weight_zero_is_plain(trial: Trial) -> float:
    """Largest difference of loss and gradients."""
    results = []
    for technique in (None, SoftLabels(teacher="t", weight=0.0)):
        module = specimen(trial)
        loss_of = technique.loss(module, Surroundings(module)) if technique else module
        loss, *_ = backward_of(loss_of)(batches(trial, 1)[0], None)
        results.append(torch.cat([loss.reshape(1), gradients(module)]))
    return largest_difference(*results)


@certificate("At weight 1 and T = 1 a student equal to its teacher has no loss, and no gradient reaches it", tolerance=1e-5)
def own_teacher_is_silent(trial: Trial) -> float:
    """Loss a token or largest gradient, over two segments with carried state."""
    module, teacher = specimen(trial), specimen(trial).requires_grad_(False).eval()
    surroundings = Surroundings(module)
    surroundings.teachers["t"] = teacher
    loss_of = SoftLabels(teacher="t", weight=1.0, temperature=1.0).loss(module, surroundings)
    worst = 0.0
    state: Any = None
    for batch in batches(trial, 2):
        loss, count, state, _ = loss_of(batch, detach(state))
        (loss / count).backward()
        worst = max(worst, abs(float(loss.detach())) / count, float(gradients(module).abs().max()))
    return worst


@certificate("As T grows, the gradient of T^2 KL at centred scores approaches (z - v) / V", tolerance=0.02)
def high_temperature_limit(trial: Trial) -> float:
    """Relative deviation at T = 1000 (Hinton et al., equation 4)."""
    torch.manual_seed(trial.seed)
    v_NV, z_NV = (torch.randn(4, trial.vocabulary, dtype=torch.float64) for _ in range(2))
    v_NV, z_NV = v_NV - v_NV.mean(1, keepdim=True), (z_NV - z_NV.mean(1, keepdim=True)).requires_grad_()
    t = 1000.0
    (gradient_NV,) = torch.autograd.grad(t**2 * divergence(v_NV.log_softmax(1), z_NV.log_softmax(1), t), z_NV)
    limit_NV = (z_NV.detach() - v_NV) / trial.vocabulary
    return float((gradient_NV - limit_NV).norm() / limit_NV.norm())
