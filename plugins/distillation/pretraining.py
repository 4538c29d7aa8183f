"""A student that begins as every n-th layer of its teacher."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import nn

from engines.api import Context, Matches, Technique, Trial, certificate, param
from engines.toolbox.batches import Batch, detach
from engines.toolbox.distillation import TEACHER, check_pair, divergence, log_prob_of
from engines.toolbox.heads import IGNORED
from engines.toolbox.optimization import largest_difference
from engines.toolbox.specimen import Surroundings, backward_of, batches, gradients, specimen


class Pretraining(Technique):
    """Distillation from the first step on

    Sanh, Debut, Chaumond and Wolf (2019), DistilBERT, a distilled version of BERT.

    Equations, for a student of L layers, a teacher of M >= L layers, N tokens, hidden states h (student) and g (teacher) before the head:

        layer i of the student begins as layer floor(i M / L) of the teacher                     (1)
        everything else of the student begins as the teacher's                                   (2)
        L = (1 - alpha - beta) sum CE(target) + alpha T^2 sum KL(p || q) + beta sum (1 - cos(h, g))    (3)

    Symbols: p, q distributions of teacher and student at temperature T; M = 2 L in (1) takes layers 0, 2, 4 and so on.
    Cost: a forward pass of the teacher and V log-probabilities of both models a token; the teacher's training counts as part of the price.
    Does nothing when: initialise is off and alpha = beta = 0 (the teacher is then not even read).
    Parameters: teacher, initialise, temperature T, soft_weight alpha, cosine_weight beta, layers (where the layers stand in the model).

    The student needs the teacher's width and kinds of layers for (1) and (2), and its width for the cosine. The paper distils a masked language
    model; here the targets are those of the task. The teacher reads the same text with a state of its own.
    """

    paper: ClassVar[str] = "Sanh, Debut, Chaumond and Wolf (2019), DistilBERT, a distilled version of BERT, https://arxiv.org/abs/1910.01108"

    teacher: str = param(help=TEACHER, reference="model")
    initialise: bool = param(True, "Begin with weights of the teacher, (1) and (2); off: with the student's own.")
    temperature: float = param(2.0, "Higher: smoother distributions, more weight on improbable words.", symbol="T", gt=0)
    soft_weight: float = param(0.5, "Share of the loss that follows the teacher's distribution.", symbol="alpha", ge=0, le=1)
    cosine_weight: float = param(0.1, "Share of the loss that turns hidden states towards the teacher's.", symbol="beta", ge=0, le=1)
    layers: str = param("layers", "Full name of the list of layers, the same in both models.")

    def matches(self, module: nn.Module, text: Sequence[Any] = ()) -> Matches:
        layers = _count(module.state_dict(), self.layers)
        if self.initialise and not layers:
            sentence = f'The model has no layers under "{self.layers}": name where they stand with `layers`, or set initialise = false.'
            return Matches((), refusal=sentence)
        return Matches(tuple(f"{self.layers}.{place}" for place in range(layers)))

    def model(self, module: nn.Module, ctx: Context) -> nn.Module:
        """(1) and (2): the student's own weights are overwritten, none is shared with the teacher."""
        if self.soft_weight + self.cosine_weight > 1:
            raise ValueError(
                f"soft_weight {self.soft_weight:g} and cosine_weight {self.cosine_weight:g} are more than the whole loss: together at most 1."
            )
        if self.initialise:
            chosen = initialise(module, ctx.teacher(self.teacher), self.layers)
            places = ", ".join(map(str, chosen))
            ctx.effect(f'Begins with the weights of "{self.teacher}": its layers {places}, and all that is no layer.', layers=len(chosen))
        return module

    def loss(self, loss_of: Callable[..., Any], ctx: Context) -> Callable[..., Any]:
        """(batch, state) -> (loss_sum, count, state, extras) with the loss of (3); state = {"student": ..., "teacher": ...}."""
        alpha, beta = self.soft_weight, self.cosine_weight
        if alpha == beta == 0:
            ctx.effect("Both weights are 0: after its start the student learns from the text alone.")
            return loss_of
        teacher: Any = ctx.teacher(self.teacher)
        check_pair("distillation/pretraining", self.teacher, teacher, ctx.model, distribution=alpha > 0)
        ctx.effect(f'Learns {alpha:.0%} from the soft labels of "{self.teacher}" and {beta:.0%} from the direction of its hidden states.')

        def taught(batch: Batch, state: Any) -> tuple[torch.Tensor, int, Any, dict[str, Any]]:
            own, theirs = (None, None) if state is None else (state["student"], state["teacher"])
            loss_sum, count, own, extras = loss_of(batch, own)
            with torch.no_grad():
                g_BTD, theirs, _ = teacher.hidden(batch.inputs_BT, None if batch.fresh else theirs)
            g_ND, h_ND, target_N = g_BTD.flatten(0, 1), extras["hidden_ND"], extras["target_N"]
            loss_sum = (1 - alpha - beta) * loss_sum  # (3)
            if alpha:
                with torch.no_grad():
                    log_p_NV = log_prob_of(teacher, g_ND)
                loss_sum = loss_sum + alpha * self.temperature**2 * divergence(log_p_NV, log_prob_of(ctx.model, h_ND), self.temperature, target_N)
            if beta:
                loss_sum = loss_sum + beta * angle(h_ND, g_ND, target_N)
            return loss_sum, count, {"student": own, "teacher": theirs}, extras

        return taught


def angle(h_ND: torch.Tensor, g_ND: torch.Tensor, target_N: torch.Tensor) -> torch.Tensor:
    """sum_N (1 - cos(h, g)), at least in float32; tokens whose target is ignored count nothing. Raises ValueError at unequal widths."""
    if h_ND.shape != g_ND.shape:
        raise ValueError(
            f"The student's hidden states are {tuple(h_ND.shape)} and the teacher's {tuple(g_ND.shape)}: a cosine needs one width. "
            "Give both the same width, or set cosine_weight = 0."
        )
    h_ND, g_ND = (x_ND.float() if x_ND.dtype in (torch.float16, torch.bfloat16) else x_ND for x_ND in (h_ND, g_ND))
    cosine_N = F.cosine_similarity(h_ND, g_ND.to(h_ND.dtype), dim=-1)
    return (1 - cosine_N).masked_fill(target_N == IGNORED, 0.0).sum()


@torch.no_grad()
def initialise(student: nn.Module, teacher: nn.Module, layers: str) -> list[int]:
    """(1) and (2); returns the teacher's layers that were taken. Raises ValueError where names or shapes do not fit."""
    own, theirs = student.state_dict(), teacher.state_dict()
    mine, others = (_count(state, layers) for state in (own, theirs))
    if not 0 < mine <= others:
        raise ValueError(
            f'The student has {mine} and the teacher {others} layers under "{layers}": a student begins as some of its teacher\'s layers. '
            "Give it at least one and at most as many, name where they stand with `layers`, or set initialise = false."
        )
    chosen = [i * others // mine for i in range(mine)]  # (1)
    values = {}
    for name, tensor in own.items():
        source = name
        if name.startswith(f"{layers}."):
            place, _, rest = name[len(layers) + 1 :].partition(".")
            source = f"{layers}.{chosen[int(place)]}.{rest}"
        if source not in theirs or theirs[source].shape != tensor.shape:
            what = f"shape {tuple(theirs[source].shape)}" if source in theirs else "nothing"
            raise ValueError(
                f"{name} of the student has shape {tuple(tensor.shape)}, and the teacher has {what} as {source}: to begin with a teacher's weights "
                "a student needs its widths and kinds of parts. Change the model, or set initialise = false."
            )
        values[name] = theirs[source]
    student.load_state_dict(values)
    return chosen


def _count(state: dict[str, Any], layers: str) -> int:
    """Number of layers that weights stand in."""
    places = {name[len(layers) + 1 :].partition(".")[0] for name in state if name.startswith(f"{layers}.")}
    return len([place for place in places if place.isdigit()])


@certificate("With as many layers as the teacher the student begins equal to it, and neither soft labels nor cosine move it", tolerance=1e-5)
def own_teacher_is_silent(trial: Trial) -> float:
    """Largest of the difference of weights, the loss a token and the gradient, over two segments."""
    module, teacher = specimen(Trial(**{**vars(trial), "seed": trial.seed + 1})), specimen(trial).requires_grad_(False).eval()
    surroundings = Surroundings(module)
    surroundings.teachers["t"] = teacher
    technique = Pretraining(teacher="t", temperature=1.0, soft_weight=0.5, cosine_weight=0.5)
    technique.model(module, surroundings)
    worst = max(largest_difference(mine, theirs) for mine, theirs in zip(module.parameters(), teacher.parameters(), strict=True))
    loss_of, state = technique.loss(module, surroundings), None
    for batch in batches(trial, 2):
        loss, count, state, _ = loss_of(batch, detach(state))
        (loss / count).backward()
        worst = max(worst, abs(float(loss.detach())) / count, float(gradients(module).abs().max()))
    return worst


@certificate("Without initialisation and weights it is plain training, bit for bit", tolerance=0.0)
def nothing_is_plain(trial: Trial) -> float:
    """Largest difference of loss and gradients."""
    results = []
    for technique in (None, Pretraining(teacher="t", initialise=False, soft_weight=0.0, cosine_weight=0.0)):
        module = specimen(trial)
        surroundings = Surroundings(module)
        loss_of = technique.loss(technique.model(module, surroundings), surroundings) if technique else module
        loss, *_ = backward_of(loss_of)(batches(trial, 1)[0], None)
        results.append(torch.cat([loss.reshape(1), gradients(module)]))
    return largest_difference(*results)
