"""Learning what the layers of a teacher give."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Literal, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from engines.api import Context, Matches, Technique, Trial, certificate, param
from engines.toolbox.batches import Batch, detach
from engines.toolbox.distillation import TEACHER
from engines.toolbox.heads import IGNORED
from engines.toolbox.optimization import largest_difference
from engines.toolbox.precise import at_least_float32
from engines.toolbox.specimen import Surroundings, backward_of, batches, gradients, specimen, transformer
from engines.toolbox.taps import Tap, matching

PROJECTIONS = "layerwise_projections"

Map = Literal["uniform", "last"]
Distance = Literal["squared", "divergence"]


class Layerwise(Technique):
    """Distillation of layers

    Jiao et al. (2020), TinyBERT: Distilling BERT for Natural Language Understanding; Sun et al. (2019), Patient Knowledge Distillation.

    Equations, for a student of L layers and width D, a teacher of M >= L layers and width E, hidden states h_i (student) and g_j (teacher) after
    a layer, attention scores a_i and b_j before the softmax (H heads), N tokens:

        m(i) = ceil((i + 1) M / L) - 1   (uniform),   m(i) = M - L + i   (last)                          (1)
        L_hidden = sum_i sum_N |W_i h_i - g_m(i)|^2 / E                                                  (2)
        L_scores = sum_i sum_N mean over heads and keys s <= t of (a_i - b_m(i))^2   (squared)           (3)
        L_scores = sum_i sum_N mean over heads of KL(softmax b_m(i) || softmax a_i)   (divergence)       (4)
        L = sum CE(target) + beta L_hidden + gamma L_scores                                              (5)

    Symbols: W_i learned projection (E, D), the identity at the start where D = E; beta, gamma weights. With `normalise`, W_i h_i and g of (2)
    are divided by their lengths first, as PKD does. (3) is TinyBERT's; (4) is the distance of MiniLM, here on all mapped layers and without its
    value relations.
    Cost: a forward pass of the teacher, L products of D x E numbers a token; with scores T H products of head width a token in both models, T
    the sequence. The teacher's training counts as part of the price. The projections are trained and dropped at the end.
    Does nothing when: beta = gamma = 0 (the teacher is then not even read).
    Parameters: teacher, hidden_weight beta, scores_weight gamma, map, normalise, distance, layers (where the layers stand in both models).

    Works where there is a target at each token, and on classifiers of whole texts: there the sums of (2) to (4) over tokens are means over those
    of each text, padding left out, so that a text counts once. `layers` names a list of modules that give (rows, tokens, width), in models of
    your own too (`body.blocks`). Scores need attention with separate queries and keys (attention/full, attention/sliding_window,
    attention/bidirectional), as many heads in both models; widths may differ. The teacher reads the same text with a state of its own; keys
    that it remembers from before a segment are left out of (3) and (4), as the student has none.
    """

    paper: ClassVar[str] = (
        "Jiao et al. (2020), TinyBERT: Distilling BERT for Natural Language Understanding, https://arxiv.org/abs/1909.10351; "
        "Sun et al. (2019), Patient Knowledge Distillation for BERT Model Compression, https://arxiv.org/abs/1908.09355"
    )

    teacher: str = param(help=TEACHER, reference="model")
    hidden_weight: float = param(1.0, "Weight of the distance of hidden states.", symbol="beta", ge=0)
    scores_weight: float = param(0.0, "Weight of the distance of attention scores; needs attention in both models.", symbol="gamma", ge=0)
    map: Map = param("uniform", "Which layers of the teacher are learned from: evenly spread, or its last.")
    normalise: bool = param(False, "Compare directions of hidden states only.")
    distance: Distance = param("squared", "Of attention: squared difference of scores, or divergence of what the softmax makes of them.")
    layers: str = param("layers", "Full name of the list of layers, the same in both models.")

    def matches(self, module: nn.Module, text: Sequence[Any] = ()) -> Matches:
        if self.hidden_weight == self.scores_weight == 0:
            return Matches(())
        try:
            return Matches(tuple(matching(module, f"{self.layers}.*")))
        except ValueError as error:
            return Matches((), refusal=f"{error} Name where the layers stand with `layers`.")

    def model(self, module: nn.Module, ctx: Context) -> nn.Module:
        """The projections become a child, so that they are trained, saved and restored with the student."""
        if self.hidden_weight == self.scores_weight == 0:
            return module
        if self.hidden_weight:
            teacher = ctx.teacher(self.teacher)
            own, theirs = self._pair(module, teacher)
            where = next(module.parameters())
            wide_own, wide_theirs = (self._widths(model, layers, ctx) for model, layers in ((module, own), (teacher, theirs)))
            projections = Projections(list(zip(wide_theirs, wide_own, strict=True)), ctx.seed)
            setattr(module, PROJECTIONS, projections.to(where.device, where.dtype))
        return module

    def loss(self, loss_of: Callable[..., Any], ctx: Context) -> Callable[..., Any]:
        """(batch, state) -> (loss_sum, count, state, extras) with the loss of (5); state = {"student": ..., "teacher": ...}."""
        if self.hidden_weight == self.scores_weight == 0:
            ctx.effect(f'Both weights are 0: the teacher "{self.teacher}" is not used.')
            return loss_of
        teacher: Any = ctx.teacher(self.teacher)
        own, _theirs = self._pair(ctx.model, teacher)
        # Held here too: techniques that train on in `finish` may do so after the child is gone.
        projections = getattr(ctx.model, PROJECTIONS, None)
        places, pattern, scores = places_of(len(own), len(layers_of(teacher, self.layers)), self.map), f"{self.layers}.*", self.scores_weight > 0
        ctx.effect(
            f'Its layers learn from layers {", ".join(map(str, places))} (from 0) of "{self.teacher}": '
            f"hidden states weigh {self.hidden_weight:g}, attention scores {self.scores_weight:g}.",
            layers=len(places),
        )

        def taught(batch: Batch, state: Any) -> tuple[Tensor, int, Any, dict[str, Any]]:
            mine, others = (None, None) if state is None else (state["student"], state["teacher"])
            with ctx.tap(pattern, scores=scores) as student_tap:
                loss_sum, count, mine, extras = loss_of(batch, mine)
            with torch.no_grad(), ctx.tap(pattern, scores=scores, model=teacher) as teacher_tap:
                _, others, _ = teacher.hidden(batch.inputs_BT, None if batch.fresh else others)
                chosen = [teacher_tap.names[place] for place in places]
            present_BT, counted_BT = counted(extras["target_N"], batch.inputs_BT)
            for i, (name, other) in enumerate(zip(student_tap.names, chosen, strict=True)):
                if projections is not None:
                    far_BT = self._hidden(projections(i, student_tap.outputs[name]), teacher_tap.outputs[other])
                    loss_sum = loss_sum + self.hidden_weight * (far_BT * counted_BT).sum()  # (2)
                if scores:
                    far_BT = self._scores(student_tap, name, teacher_tap, other, present_BT)
                    loss_sum = loss_sum + self.scores_weight * (far_BT * counted_BT).sum()
            return loss_sum, count, {"student": mine, "teacher": others}, extras  # (5)

        return taught

    def finish(self, module: nn.Module, ctx: Context) -> tuple[nn.Module, dict[str, Any]]:
        """The projections served training alone."""
        if hasattr(module, PROJECTIONS):
            delattr(module, PROJECTIONS)
        return module, {}

    def _pair(self, student: nn.Module, teacher: nn.Module) -> tuple[list[nn.Module], list[nn.Module]]:
        """The student's layers and those of the teacher that (1) gives them. Raises ValueError with a sentence."""
        own, theirs = layers_of(student, self.layers), layers_of(teacher, self.layers)
        if len(own) > len(theirs):
            raise ValueError(
                f'The student has {len(own)} layers and the teacher "{self.teacher}" {len(theirs)}: each layer learns from one of the teacher\'s, '
                "so give the student at most as many."
            )
        return own, [theirs[place] for place in places_of(len(own), len(theirs), self.map)]

    def _widths(self, model: nn.Module, layers: Sequence[nn.Module], ctx: Context) -> list[int]:
        """Of what the layers give: as they say, else as they give it for a text. Raises ValueError with a sentence."""
        told = [getattr(layer, "width", None) for layer in layers]
        if all(isinstance(width, int) for width in told):
            return [int(width) for width in told if width is not None]
        batch, training, reads = ctx.calibration(1)[0], model.training, cast(Any, model)
        with torch.no_grad(), torch.random.fork_rng(), ctx.tap(f"{self.layers}.*", model=model) as tap:
            reads.eval().hidden(batch.inputs_BT, None)
        model.train(training)
        names = {id(module): name for name, module in model.named_modules()}
        given: list[Any] = [tap.outputs.get(names[id(layer)]) for layer in layers]
        for layer, output in zip(layers, given, strict=True):
            if not isinstance(output, Tensor) or output.ndim != 3 or output.shape[:2] != batch.inputs_BT.shape:
                what = f"shape {tuple(output.shape)}" if isinstance(output, Tensor) else "nothing" if output is None else f"a {type(output).__name__}"
                raise ValueError(
                    f"{names[id(layer)]} ({type(layer).__name__}) gives {what} for ids of shape {tuple(batch.inputs_BT.shape)}: layers that are "
                    "compared must give (rows, tokens, width). Name others with `layers`, or use distillation/soft_labels."
                )
        return [output.shape[-1] for output in given]

    def _hidden(self, h_BTE: Tensor, g_BTE: Tensor) -> Tensor:
        """The distance of (2) at each token, (B, T)."""
        h_BTE, g_BTE = at_least_float32(h_BTE), at_least_float32(g_BTE)
        if self.normalise:
            h_BTE, g_BTE = F.normalize(h_BTE, dim=-1), F.normalize(g_BTE, dim=-1)
        return (h_BTE - g_BTE.to(h_BTE.dtype)).square().mean(-1)

    def _scores(self, student: Tap, name: str, teacher: Tap, other: str, present_BT: Tensor | None) -> Tensor:
        """(3) or (4) at each token, (B, T). present_BT: where there are tokens; None: everywhere."""
        a_BHTT, seen_TT = student.scores(name)
        b_BHTT, also_TT = teacher.scores(other)
        if a_BHTT.shape != b_BHTT.shape:
            raise ValueError(
                f"{name} of the student has {a_BHTT.shape[1]} heads and {other} of the teacher {b_BHTT.shape[1]}: scores are compared head by head. "
                "Give both as many heads, or set scores_weight = 0."
            )
        seen_TT = seen_TT & also_TT
        if present_BT is not None:
            seen_TT = seen_TT & present_BT[:, None, None, :]
        a_BHTT, b_BHTT = at_least_float32(a_BHTT), at_least_float32(b_BHTT)
        if self.distance == "squared":
            far_BHT = (a_BHTT - b_BHTT).square().masked_fill(~seen_TT, 0.0).sum(-1) / seen_TT.sum(-1)  # (3)
        else:
            unseen = torch.finfo(a_BHTT.dtype).min / 2
            log_q, log_p = (score.masked_fill(~seen_TT, unseen).log_softmax(-1) for score in (a_BHTT, b_BHTT))
            far_BHT = (log_p.exp() * (log_p - log_q)).sum(-1)  # (4)
        return far_BHT.mean(1)


class Projections(nn.Module):
    """(i, h_BTD) -> h_BTE, one matrix a layer. Plain parameters, so that techniques on nn.Linear leave alone what is dropped at the end."""

    def __init__(self, shapes: Sequence[tuple[int, int]], seed: int) -> None:
        super().__init__()
        draw = torch.Generator().manual_seed(seed)
        self.weights = nn.ParameterList(
            torch.eye(out) if out == into else torch.randn(out, into, generator=draw) / into**0.5 for out, into in shapes
        )

    def forward(self, place: int, h_BTD: Tensor) -> Tensor:
        weight = self.weights[place]
        return F.linear(h_BTD.to(weight.dtype), weight)


def places_of(own: int, others: int, chosen: Map) -> list[int]:
    """m(i) of (1)."""
    return [others - own + i if chosen == "last" else -(-(i + 1) * others // own) - 1 for i in range(own)]


def layers_of(model: nn.Module, layers: str) -> list[nn.Module]:
    """The layers of a model, in order."""
    return list(matching(model, f"{layers}.*").values())


def counted(target_N: Tensor, inputs_BT: Tensor) -> tuple[Tensor | None, Tensor]:
    """(where there are tokens, None: everywhere; how much each token counts), both (B, T): 1 where it is a target, or its share of a whole text.

    Raises ValueError with a sentence where there is neither a target at each token nor one for each text.
    """
    if target_N.numel() == inputs_BT.numel():
        return None, (target_N != IGNORED).reshape(inputs_BT.shape).float()
    if inputs_BT.ndim != 2 or target_N.numel() != len(inputs_BT):
        raise ValueError("distillation/layerwise needs a target at each token or one for each text, and this task has neither: use soft_labels.")
    present_BT = inputs_BT >= 0
    return present_BT, present_BT / present_BT.sum(dim=1, keepdim=True).clamp(min=1)


@certificate("Both weights 0 are plain training, bit for bit", tolerance=0.0)
def nothing_is_plain(trial: Trial) -> float:
    """Largest difference of loss and gradients."""
    results = []
    for technique in (None, Layerwise(teacher="t", hidden_weight=0.0)):
        module = specimen(trial)
        surroundings = Surroundings(module)
        loss_of = technique.loss(technique.model(module, surroundings), surroundings) if technique else module
        loss, *_ = backward_of(loss_of)(batches(trial, 1)[0], None)
        results.append(torch.cat([loss.reshape(1), gradients(module)]))
    return largest_difference(*results)


@certificate("A student equal to its teacher has the plain loss and gradient: its hidden states, carried over segments, are silent", tolerance=1e-5)
def own_teacher_is_silent(trial: Trial) -> float:
    """Largest difference of the loss a token and the gradient, over two segments."""
    results = []
    for taught in (False, True):
        module = specimen(trial)
        surroundings = Surroundings(module)
        surroundings.teachers["t"] = specimen(trial).requires_grad_(False).eval()
        technique, state = Layerwise(teacher="t"), None
        loss_of = technique.loss(technique.model(module, surroundings), surroundings) if taught else module
        for batch in batches(trial, 2):
            loss, count, state, _ = loss_of(batch, detach(state))
            (loss / count).backward()
        technique.finish(module, surroundings)
        results.append(torch.cat([loss.detach().reshape(1) / count, gradients(module)]))
    return largest_difference(*results)


@certificate("Attention scores of a student equal to its teacher are silent, squared and as divergence", tolerance=1e-5)
def own_scores_are_silent(trial: Trial) -> float:
    """Largest difference of the loss a token and the gradient."""
    results = []
    distances: tuple[Distance | None, ...] = (None, "squared", "divergence")
    for distance in distances:
        module = transformer(trial, heads=2)
        surroundings = Surroundings(module)
        surroundings.teachers["t"] = transformer(trial, heads=2).requires_grad_(False).eval()
        technique = Layerwise(teacher="t", hidden_weight=0.0, scores_weight=1.0, distance=distance or "squared")
        loss_of = technique.loss(module, surroundings) if distance else module
        loss, count, *_ = loss_of(batches(trial, 1)[0], None)
        (loss / count).backward()
        results.append(torch.cat([loss.detach().reshape(1) / count, gradients(module)]))
    return max(largest_difference(results[0], other) for other in results[1:])
