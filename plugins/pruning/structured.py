"""Pruning whole units, which really go."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Any, ClassVar, Literal, Self

import torch
from pydantic import model_validator
from torch import Tensor, nn

from engines.api import Context, Matches, Technique, Trial, certificate, param
from engines.toolbox.importance import Criterion, evaluated, layer_scores, unit_scores
from engines.toolbox.optimization import largest_difference
from engines.toolbox.parts import loose_convolutions, parts_of
from engines.toolbox.slicing import Found, Kind, Part, mask, narrow, removable_layers, remove_layers
from engines.toolbox.specimen import Surroundings, batches, stacked_lstm, transformer
from engines.toolbox.trials import relative_error
from engines.toolbox.tried import described, rebuilt, triable, tried

FINE_TUNE_SHARE = 0.1
"""Tokens of fine-tuning after the cut unless told otherwise, as a share of the tokens trained so far."""
ABSENT: dict[Kind, str] = {
    "heads": "No heads were found: attention is cut where queries, keys, values and output are four Linear under names that are known.",
    "recurrent": "No LSTM was found.",
}
"""What is said where there is nothing of a kind that is cut only if it is asked for."""
EQUAL = 1e-3
"""By how much the loss of the smaller model may differ from that of the masked one, relative: sums of other lengths round otherwise."""


class Structured(Technique):
    """Structured pruning

    Neurons by first order: Molchanov et al. (2017), Pruning convolutional neural networks for resource efficient inference; heads: Michel,
    Levy and Neubig (2019), Are sixteen heads really better than one?; layers: Fan, Grave and Joulin (2020), Reducing transformer depth on demand.

    Equations, for unit u with values a_u (K numbers a token), written by the rows V_u and read by the columns W_u of matrices:

        y = sum over u of W_u a_u                                           (1)
        magnitude:  s_u = |V_u|^2 + |W_u|^2                                 (2)
        activation: s_u = E |W_u a_u|^2 over tokens                         (3)  what y loses without u
        gradient:   s_u = E |sum over the row's tokens of a_u . dL/da_u|    (4)  over rows of text, what the loss gains, to first order
        removed = the units with the smallest s_u, kept up to k with k K a multiple of m        (5)
        V <- rows of the kept, W <- columns of the kept                     (6)

    Units: neurons of a feed-forward network or of a chain Linear - activation - Linear (K = 1); channels between convolutions, or before the
    Linear that reads them, with their share of a batch norm (K places of the kernel that reads them); key heads of
    attention with the queries that share them (head width stays), also in BERT's and Llama's of transformers; hidden units
    of an LSTM that only the next LSTM or a linear head reads. A whole layer that adds x back is removed by leaving x. Its scores: (2) of all its
    weights, E |z - x|^2 / E |x|^2, or (4) of z - x. Layers go first, then units.
    Symbols: m multiple, E expectation over calibration text from the training split.
    Cost: a pass over the calibration text, two for (4), then fine-tuning, which is training. Memory, size and products shrink by what is cut.
    Does nothing when: every share is 0, no part matches, or m leaves nothing to remove (it then says so).
    Parameters: neurons, channels, heads, recurrent, part_shares, layers, criterion, scope, multiple m, calibration, include, exclude,
    fine_tune_tokens, fine_tune_lr.

    Chains are read from nn.Sequential; in a module whose own code calls its layers, two layers are a chain where cutting half of the units out of
    a copy gives what masking them gives. Equal to the masked network, which is checked on calibration text before the run goes on. Left alone,
    with a sentence: experts, torch's MultiheadAttention, matrices that serve in two places, what a norm or an unknown module reads at once.
    """

    paper: ClassVar[str] = (
        "Molchanov et al. (2017), https://arxiv.org/abs/1611.06440; Michel, Levy and Neubig (2019), https://arxiv.org/abs/1905.10650; "
        "Fan, Grave and Joulin (2020), https://arxiv.org/abs/1909.11556"
    )
    conflicts: ClassVar[dict[str, str]] = {
        f"pruning/{name}": "its masks have the shapes from before the cut: give each of the two a variant of its own."
        for name in ("magnitude", "random", "gradient", "activation", "obd", "obs", "movement", "lottery_ticket")
    }

    neurons: float = param(0.5, "Share of the neurons of each feed-forward network that goes.", unit="share", ge=0, lt=1)
    channels: float = param(0.5, "Share of the channels between the convolutions of a chain that goes.", unit="share", ge=0, lt=1)
    heads: float = param(0.0, "Share of the heads (key heads with their queries) of each attention that goes.", unit="share", ge=0, lt=1)
    recurrent: float = param(0.0, "Share of the hidden units of each LSTM that goes.", unit="share", ge=0, lt=1)
    part_shares: dict[str, float] = param({}, "Pattern over names of parts -> share of their units that goes. A later match wins.", unit="share")
    layers: int = param(0, "Whole layers that go.", unit="layers", ge=0, le=1024)
    criterion: Criterion = param("activation", "What makes a unit important: its weights, what it adds, or what the loss says.")
    scope: Literal["layer", "global"] = param("layer", "Rank units within each part, or all of a kind together, each part's scores scaled to norm 1.")
    multiple: int = param(8, "Rows and columns that stay are a multiple of this, which kernels like; 1: just the share.", symbol="m", ge=1, le=1024)
    calibration: int = param(8, "Batches of training text on which units are judged and the cut is checked.", unit="batches", ge=1, le=10_000)
    include: tuple[str, ...] = param(("*",), "Patterns over names of parts (layers.0.mixer, layers.0.feedforward.network); one must match.")
    exclude: tuple[str, ...] = param((), "Patterns over names of parts; none may match.")
    fine_tune_tokens: int | None = param(None, "Tokens trained on after the cut; default: a tenth of those before it.", unit="tokens", ge=0)
    fine_tune_lr: float = param(0.1, "Learning rate of the fine-tuning, as a share of the optimizer's.", unit="share", gt=0)

    @model_validator(mode="after")
    def _shares_of_parts(self) -> Self:
        for pattern, share in self.part_shares.items():
            if not 0 <= share < 1:
                raise ValueError(f'part_shares gives "{pattern}" {share:g}: it is a share of the units, from 0 to below 1.')
        if self.part_shares and self.scope == "global":
            raise ValueError(
                'scope = "global" ranks the units of all parts together, so none has a share of its own: take scope = "layer" or no part_shares.'
            )
        return self

    def matches(self, module: nn.Module, text: Sequence[Any] = ()) -> Matches:
        found = parts_of(module)
        further = tried(module, text, found) if self._tries else []
        found.parts += further
        found.reasons += loose_convolutions(module, found)
        layers = [f"layers.{i}" for i in removable_layers(module) if self._wanted(f"layers.{i}")] if self.layers else []
        left = self._reasons(found)
        if not text and self._tries and triable(module):
            left.append("Layers that nothing but the calls of a module of your own puts one behind the other are found when it runs.")
        return Matches((*layers, *(part.name for part in self._chosen(found))), tuple(left))

    def finish(self, module: nn.Module, ctx: Context) -> tuple[nn.Module, dict[str, Any]]:
        """Cut, check, fine-tune. The record says what stays, which is what `restore` needs."""
        before = sum(p.numel() for p in module.parameters())
        optimizer = _optimizer(ctx)
        text = ctx.calibration(self.calibration)
        gone = self._unneeded_layers(module, text)
        if gone:
            remove_layers(module, gone, optimizer)
        found = parts_of(module)
        further = tried(module, text, found) if self._tries else []
        found.parts += further
        found.reasons += loose_convolutions(module, found)
        parts = self._chosen(found)
        kept = self._kept(module, parts, text)
        for part in parts:
            staying = torch.zeros(part.units, dtype=torch.bool)
            staying[kept[part.name]] = True
            mask(module, part, (~staying).nonzero().flatten())
        masked = _loss(module, text)
        for part in parts:
            narrow(module, part, kept[part.name], optimizer)  # (6)
        _check(masked, module, text)
        self._say(module, ctx, found, parts, kept, gone, before)
        if gone or any(len(kept[part.name]) < part.units for part in parts):
            tokens = round(FINE_TUNE_SHARE * ctx.tokens) if self.fine_tune_tokens is None else self.fine_tune_tokens
            if tokens:
                ctx.train(tokens=tokens, lr_scale=self.fine_tune_lr)
        cut = [described(part) for part in further if part in parts]
        return module, {"layers": gone, "parts": {name: len(units) for name, units in kept.items()}, **({"tried": cut} if cut else {})}

    def restore(self, module: nn.Module, record: dict[str, Any]) -> nn.Module:
        """The smaller structure, for weights that a state_dict brings."""
        if record["layers"]:
            remove_layers(module, record["layers"])
        for part in (*parts_of(module).parts, *(rebuilt(module, each) for each in record.get("tried", ()))):
            if part.name in record["parts"]:
                narrow(module, part, torch.arange(record["parts"][part.name]))
        return module

    def _share(self, part: Part) -> float:
        given = (share for pattern, share in reversed(list(self.part_shares.items())) if fnmatchcase(part.name, pattern))
        return next(given, self._shares[part.kind])

    def _chosen(self, found: Found) -> list[Part]:
        return [part for part in found.parts if self._share(part) > 0 and self._wanted(part.name)]

    def _reasons(self, found: Found) -> list[str]:
        """Why others are left alone, of the kinds that are asked for."""
        told = [sentence for kind, sentence in found.reasons if self._shares[kind] > 0]
        known = {part.kind for part in found.parts} | {kind for kind, _ in found.reasons}
        return told + [sentence for kind, sentence in ABSENT.items() if self._shares[kind] > 0 and kind not in known]

    @property
    def _tries(self) -> bool:
        """Whether neurons or channels are asked for."""
        return max(self.neurons, self.channels, *self.part_shares.values(), 0) > 0

    @property
    def _shares(self) -> dict[Kind, float]:
        return {"neurons": self.neurons, "channels": self.channels, "heads": self.heads, "recurrent": self.recurrent}

    def _wanted(self, name: str) -> bool:
        return any(fnmatchcase(name, pattern) for pattern in self.include) and not any(fnmatchcase(name, pattern) for pattern in self.exclude)

    def _unneeded_layers(self, module: nn.Module, text: list[Any]) -> list[int]:
        """Numbers of the layers that go: of those that can, the ones with the smallest scores; one at least stays."""
        able = [i for i in removable_layers(module) if self._wanted(f"layers.{i}")] if self.layers else []
        scores = layer_scores(module, able, self.criterion, text) if able else {}
        count = min(self.layers, len(able), len(getattr(module, "layers", ())) - 1)
        return sorted(sorted(able, key=scores.__getitem__)[: max(0, count)])

    def _kept(self, module: nn.Module, parts: list[Part], text: list[Any]) -> dict[str, Tensor]:
        """Equation (5): the numbers of the units that stay, rising."""
        scores = unit_scores(module, parts, self.criterion, text) if parts else {}
        if self.scope == "global":
            counts = self._global_counts(parts, scores)
        else:
            counts = {part.name: part.units - round(self._share(part) * part.units) for part in parts}
        return {part.name: scores[part.name].topk(self._rounded(part, counts[part.name])).indices.sort().values for part in parts}

    def _global_counts(self, parts: list[Part], scores: dict[str, Tensor]) -> dict[str, int]:
        """How many units of each part are among the best of their kind."""
        counts: dict[str, int] = {}
        for kind in {part.kind for part in parts}:
            same = [part for part in parts if part.kind == kind]
            scaled = [scores[part.name] / scores[part.name].norm().clamp(min=1e-300) for part in same]
            total = sum(part.units for part in same)
            best = torch.zeros(total, dtype=torch.bool)
            best[torch.cat(scaled).topk(total - round(self._share(same[0]) * total)).indices] = True
            counts |= {part.name: int(chosen.sum()) for part, chosen in zip(same, best.split([p.units for p in same]), strict=True)}
        return counts

    def _rounded(self, part: Part, count: int) -> int:
        """The smallest number of units, not below `count` and 1, whose columns are a multiple of m; all where there is none."""
        return next((k for k in range(max(1, count), part.units) if k * part.columns % self.multiple == 0), part.units)

    def _say(
        self, module: nn.Module, ctx: Context, found: Found, parts: list[Part], kept: dict[str, Tensor], gone: list[int], before: int
    ) -> None:
        after = sum(p.numel() for p in module.parameters())
        words, figures = [], {"parameters_before": float(before), "parameters_after": float(after), "layers_removed": float(len(gone))}
        if gone:
            words.append(f"layers {', '.join(map(str, gone))}")
        names: dict[Kind, str] = {"neurons": "neurons", "channels": "channels", "heads": "heads", "recurrent": "recurrent units"}
        for kind, name in names.items():
            same = [part for part in parts if part.kind == kind]
            units, staying = sum(part.units for part in same), sum(len(kept[part.name]) for part in same)
            if same:
                words.append(f"{units - staying:,} of {units:,} {name} in {len(same)} parts")
                figures |= {f"{kind}_before": float(units), f"{kind}_after": float(staying)}
        left = self._reasons(found)
        if self.layers > len(gone):
            left.append(f"{self.layers - len(gone)} of {self.layers} layers stay: only those that add their input back around all they do can go.")
        if after == before:
            why = "no part of the model matches, or the multiple leaves nothing to remove"
            ctx.effect(" ".join([f"Nothing was removed: {why}.", *left]), **figures)
            return
        share = f"{after:,} of {before:,} parameters stay ({after / before:.1%})"
        ctx.effect(" ".join([f"Removed: {'; '.join(words)}. {share}; matrices and products really are smaller.", *left]), **figures)


def _loss(module: nn.Module, text: list[Any]) -> float | None:
    """Nats a token on the first calibration batch, in evaluation mode, with the same draws each time; None without text."""
    if not text:
        return None
    device = next(module.parameters()).device
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []), evaluated(module, gradients=False):
        torch.manual_seed(0)
        loss, count, *_ = module(text[0], None)
    return float(loss) / int(count)


def _check(masked: float | None, module: nn.Module, text: list[Any]) -> None:
    """Refuse a cut after which the model computes something else than it did with the same units masked."""
    try:
        sliced = _loss(module, text)
        what = f"{sliced:.6g} nats a token, {masked:.6g} with the same units masked" if sliced is not None and masked is not None else ""
    except RuntimeError as error:
        sliced, what = None, f"it fails ({str(error).splitlines()[0]})"
    if what and (sliced is None or masked is None or not abs(sliced - masked) <= EQUAL * max(1.0, abs(masked))):
        raise ValueError(f"The cut changed what the model computes: {what}. Something unseen reads the units: exclude the part.")


def _optimizer(ctx: Context) -> torch.optim.Optimizer | None:
    """None where the model was not trained by steps."""
    try:
        return ctx.optimizer
    except RuntimeError:
        return None


def _cut(model: Any, chosen: Structured) -> tuple[Any, list[tuple[Part, Tensor]]]:
    """The model with masked units, and what narrowing takes to make it small: [(part, kept)]."""
    parts = parts_of(model).parts
    kept = chosen._kept(model, parts, [])
    for part in parts:
        mask(model, part, torch.tensor([u for u in range(part.units) if u not in kept[part.name].tolist()], dtype=torch.int64))
    return model, [(part, kept[part.name]) for part in parts]


@certificate("The sliced model equals the masked one (neurons, heads, key heads with their queries, LSTM units), gradients included", tolerance=1e-5)
def sliced_equals_masked(trial: Trial) -> float:
    """Largest relative error of the hidden states' loss and of the gradients of what is kept."""
    worst = 0.0
    chosen = Structured(neurons=0.6, heads=0.5, recurrent=0.5, criterion="magnitude", multiple=1)
    for made in (transformer(trial), transformer(trial, kv_heads=2, activation="swiglu"), stacked_lstm(trial)):
        masked, cuts = _cut(made, chosen)
        sliced = copy.deepcopy(masked)
        (batch,) = batches(trial, 1)
        loss = masked(batch, None)[0]
        gradients = torch.autograd.grad(loss, list(masked.parameters()))
        for parameter, gradient in zip(masked.parameters(), gradients, strict=True):
            parameter.data = gradient
        for part, kept in cuts:
            narrow(sliced, part, kept)
            narrow(masked, part, kept)  # it holds the gradients now
        smaller = sliced(batch, None)[0]
        ours = torch.autograd.grad(smaller, list(sliced.parameters()))
        errors = [relative_error(one, other) for one, other in zip((smaller, *ours), (loss, *masked.parameters()), strict=True)]
        worst = max(worst, *errors)
    return worst


@certificate("A model without some layers equals the one in which they add nothing", tolerance=1e-6)
def removed_layers_add_nothing(trial: Trial) -> float:
    """Largest relative error of the hidden states; the layers' last matrices are zero on the other side."""
    silent: Any = transformer(trial, layers=3)
    shorter = transformer(trial, layers=3)
    with torch.no_grad():
        for i in (0, 2):
            silent.layers[i].mixer.output.weight.zero_()
            for parameter in silent.layers[i].feedforward.network.outer.parameters():
                parameter.zero_()
    remove_layers(shorter, [0, 2])
    (batch,) = batches(trial, 1)
    return relative_error(shorter.hidden(batch.inputs_BT)[0], silent.hidden(batch.inputs_BT)[0])


@certificate("The activation score of a unit is by how much, squared, what reads it changes when the unit alone is masked", tolerance=1e-5)
def activation_is_what_is_lost(trial: Trial) -> float:
    """Largest relative error over all neurons and heads of a first layer, each masked by itself."""
    model = transformer(trial, layers=1).eval()
    text = batches(trial, 1)
    parts = parts_of(model).parts
    scores = unit_scores(model, parts, "activation", text)
    worst = 0.0
    for part in parts:
        whole = _output(model, part.tap[0], text)
        lost = []
        for unit in range(part.units):
            without = copy.deepcopy(model)
            mask(without, part, torch.tensor([unit]))
            lost.append((_output(without, part.tap[0], text) - whole).square().sum(-1).mean())
        worst = max(worst, relative_error(scores[part.name], torch.stack(lost).double().cpu()))
    return worst


def _output(model: Any, name: str, text: list[Any]) -> Tensor:
    """What a module gives while the model reads."""
    seen: list[Tensor] = []
    hook = model.get_submodule(name).register_forward_hook(lambda module, args, output: seen.append(output.detach()))
    model(text[0], None)
    hook.remove()
    return seen[0]


@certificate("A model that is saved and restored computes bit-equally", tolerance=0.0)
def restores(trial: Trial) -> float:
    """Largest difference of hidden states after finish, restore and load."""
    worst = 0.0
    technique = Structured(heads=0.5, recurrent=0.5, layers=1, criterion="magnitude", multiple=2, fine_tune_tokens=0)
    for made in (transformer, stacked_lstm):
        module, fresh = made(trial), made(trial)
        _, record = technique.finish(module, Surroundings(module))
        restored: Any = technique.restore(fresh, record)
        restored.load_state_dict(module.state_dict())
        (batch,) = batches(trial, 1)
        worst = max(worst, largest_difference(restored.hidden(batch.inputs_BT)[0], module.hidden(batch.inputs_BT)[0]))
    return worst
