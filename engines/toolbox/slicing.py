"""Parts of a network whose units can be cut out: where each unit lies in the weights, masking it, and making the weights smaller.

A unit is written by some rows and read by some columns of matrices. With its reading columns at zero it is masked: it may still be computed,
nobody sees it. Cutting rows and columns out of the weights gives the same numbers with smaller products. Parameters stay the objects they are
(`parameter.data` becomes smaller), so that optimisers, clipping and hooks go on holding them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor, nn

from engines.toolbox.assembly import LanguageModel, Layer
from engines.toolbox.feedforward import FeedForward
from engines.toolbox.heads import LinearSoftmax

Kind = Literal["neurons", "heads", "recurrent"]

ELEMENTWISE = (
    nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.ELU, nn.SELU, nn.CELU, nn.GELU, nn.SiLU, nn.Mish, nn.Tanh, nn.Sigmoid, nn.Softplus, nn.Hardtanh, nn.Hardswish,
    nn.Hardsigmoid, nn.LogSigmoid, nn.Softsign, nn.Dropout, nn.AlphaDropout, nn.Identity,
)  # fmt: skip
"""What may stand between two Linear of a chain: every neuron by itself, without weights."""

PAIRS: tuple[tuple[tuple[str, ...], str], ...] = (
    (("inner", "gate"), "outer"),
    (("linear1",), "linear2"),
    (("gate_proj", "up_proj"), "down_proj"),
    (("intermediate.dense",), "output.dense"),
)
"""Feed-forward networks by the names of their Linear children, (writing, reading): ours, torch's transformer layers, Llama's and BERT's."""


@dataclass(frozen=True)
class Slab:
    """Where the units of a part lie in one parameter: its dimension `dim` is (blocks, units, width)."""

    module: str
    own: str
    dim: int
    reads: bool = False
    width: int = 1
    blocks: int = 1

    def of(self, model: nn.Module) -> Tensor:
        return model.get_submodule(self.module).get_parameter(self.own)

    def index(self, units: int, chosen: Tensor) -> Tensor:
        """Places of the chosen units along `dim`."""
        every = torch.arange(self.blocks * units * self.width, device=chosen.device).view(self.blocks, units, self.width)
        return every[:, chosen].flatten()


@dataclass(frozen=True)
class Part:
    """Units of one kind that stand beside each other. tap: the module whose first input (or first output) holds the units' values, in order.

    fields: (module, attribute, numbers a unit) of what modules know of their own size. columns: numbers a unit in the largest product.
    """

    name: str
    kind: Kind
    units: int
    slabs: tuple[Slab, ...]
    tap: tuple[str, Literal["input", "output"]]
    fields: tuple[tuple[str, str, int], ...] = ()
    columns: int = 1


@dataclass
class Found:
    """The parts of a model, and why others are none: (kind, sentence)."""

    parts: list[Part] = field(default_factory=list)
    reasons: list[tuple[Kind, str]] = field(default_factory=list)


# --- Cutting ----------------------------------------------------------------------------------------------------------------------------------


@torch.no_grad()
def mask(model: nn.Module, part: Part, removed: Tensor) -> None:
    """Nobody reads these units any more. removed: their numbers, int64."""
    for slab in part.slabs:
        if slab.reads:
            weight = slab.of(model)
            weight.index_fill_(slab.dim, slab.index(part.units, removed.to(weight.device)), 0.0)


@torch.no_grad()
def narrow(model: nn.Module, part: Part, kept: Tensor, optimizer: torch.optim.Optimizer | None = None) -> None:
    """Leave these units alone in the weights, in their order, and in what the optimiser remembers of each weight. kept: their numbers, int64."""
    for slab in part.slabs:
        weight = slab.of(model)
        index = slab.index(part.units, kept.to(weight.device))
        memory = {} if optimizer is None else optimizer.state.get(weight, {})
        for key, value in memory.items():
            if isinstance(value, Tensor) and value.shape == weight.shape:
                memory[key] = value.index_select(slab.dim, index)
        weight.grad = None
        weight.data = weight.data.index_select(slab.dim, index)
    for name in {slab.module for slab in part.slabs}:
        _resize(model.get_submodule(name))
    for name, attribute, numbers in part.fields:
        setattr(model.get_submodule(name), attribute, numbers * len(kept))


def _resize(module: nn.Module) -> None:
    """Let a module know the shapes of its weights."""
    if isinstance(module, nn.Linear):
        module.out_features, module.in_features = module.weight.shape
    elif isinstance(module, nn.LSTM):
        module.input_size, module.hidden_size = (module.get_parameter(f"weight_{own}_l0").shape[1] for own in ("ih", "hh"))
        module.flatten_parameters()


def removable_layers(model: nn.Module) -> list[int]:
    """Numbers of the layers without which x passes on as it is: those that add it back around all they do."""
    if not isinstance(model, LanguageModel):
        return []
    return [
        i
        for i, layer in enumerate(model.layers)
        if isinstance(layer, Layer) and layer.residual and (layer.feedforward is None or layer.feedforward_residual)
    ]


def remove_layers(model: Any, removed: Sequence[int], optimizer: torch.optim.Optimizer | None = None) -> None:
    """Take whole layers out; those that stay are numbered anew, and the optimiser forgets what is gone."""
    gone = {id(p) for i in removed for p in model.layers[i].parameters()}
    model.layers = nn.ModuleList(layer for i, layer in enumerate(model.layers) if i not in removed)
    gone -= {id(p) for p in model.parameters()}
    for group in [] if optimizer is None else optimizer.param_groups:
        for parameter in group["params"]:
            if id(parameter) in gone:
                optimizer.state.pop(parameter, None)  # type: ignore[union-attr]
        group["params"] = [p for p in group["params"] if id(p) not in gone]


# --- Finding parts ----------------------------------------------------------------------------------------------------------------------------


def parts_of(model: nn.Module) -> Found:
    """Every part of the model, in the order of its modules."""
    found = Found()
    inner = {id(child) for module in model.modules() if _is_chain(module) for child in module.children() if _is_chain(child)}
    for name, module in model.named_modules():
        if _experts(model, name):
            continue
        if hasattr(module, "router"):
            found.reasons.append(("neurons", f"{name} is left alone: its experts see different tokens, and are not cut here."))
        elif _is_chain(module) and id(module) not in inner:
            _chain(module, name, found)
        elif isinstance(module, nn.MultiheadAttention):
            found.reasons.append(("heads", f"{name} is left alone: torch's MultiheadAttention ties its heads to the width of the model."))
        elif all(isinstance(getattr(module, own, None), nn.Linear) for own in ("query", "key", "value", "output")):
            _attention(module, name, found)
        else:
            _feedforward(module, name, found)
    _recurrent(model, found)
    _without_shared(model, found)
    return found


def _experts(model: nn.Module, name: str) -> bool:
    """Whether a module lies below one that routes tokens."""
    words = name.split(".")
    return any(hasattr(model.get_submodule(".".join(words[:n])), "router") for n in range(1, len(words)))


def _linear(module: nn.Module, path: str) -> nn.Linear | None:
    child: Any = module
    for own in path.split("."):
        child = getattr(child, own, None)
    return child if type(child) is nn.Linear else None


def _join(*names: str) -> str:
    return ".".join(name for name in names if name)


def _neurons(name: str, writers: dict[str, nn.Linear], reader: str, units: int) -> Part:
    """The rows of the writing matrices and the columns of the reading one."""
    writing = [Slab(path, own, 0) for path, linear in writers.items() for own, _ in linear.named_parameters(recurse=False)]
    return Part(name, "neurons", units, (*writing, Slab(reader, "weight", 1, reads=True)), (reader, "input"))


def _feedforward(module: nn.Module, name: str, found: Found) -> None:
    for writing, reading in PAIRS:
        if (writing[0] == "inner" and not isinstance(module, FeedForward)) or (
            writing[0] == "linear1" and not isinstance(module, nn.TransformerEncoderLayer | nn.TransformerDecoderLayer)
        ):
            continue  # names too plain to say what a module does
        reader = _linear(module, reading)
        writers = {_join(name, own): linear for own in writing if (linear := _linear(module, own)) is not None}
        if reader is None or (len(writers) < len(writing) and writing[0] != "inner"):
            continue
        if all(linear.out_features == reader.in_features for linear in writers.values()):
            found.parts.append(_neurons(name, writers, _join(name, reading), reader.in_features))
            return


def _attention(module: Any, name: str, found: Found) -> None:
    """Heads by rows of query, key, value and columns of output; where queries share keys, all queries of a key go together."""
    heads, groups = getattr(module, "heads", 0), getattr(module, "kv_heads", getattr(module, "heads", 0))
    known = {"query.weight", "key.weight", "value.weight", "output.weight", "query.bias", "key.bias", "value.bias", "output.bias", "table.weight"}
    other = {own for own, _ in (*module.named_parameters(), *module.named_buffers())} - known
    rows = {own: getattr(module, own).out_features for own in ("query", "key", "value")}
    fits = heads and rows["query"] % heads == 0 and rows["query"] == module.output.in_features
    fits = fits and heads % groups == 0 and rows["key"] == rows["value"] == rows["query"] // heads * groups
    if other or not fits:
        why = f"it has {', '.join(sorted(other))} beside its four matrices" if other else "its matrices are not (heads, head width) by width"
        found.reasons.append(("heads", f"{name} is left alone: {why}."))
        return
    width = rows["query"] // heads
    widths = {"query": heads // groups * width, "key": width, "value": width}
    writing = [Slab(_join(name, own), kept, 0, width=each) for own, each in widths.items() for kept, _ in getattr(module, own).named_parameters()]
    reading = Slab(_join(name, "output"), "weight", 1, reads=True, width=widths["query"])
    fields = [(name, "heads", heads // groups), *([(name, "kv_heads", 1)] if hasattr(module, "kv_heads") else [])]
    found.parts.append(
        Part(name, "heads", groups, (*writing, reading), (_join(name, "output"), "input"), tuple(fields), columns=widths["query"]),
    )


def _is_chain(module: nn.Module) -> bool:
    """A Sequential that calls its children one after the other."""
    return isinstance(module, nn.Sequential) and type(module).forward is nn.Sequential.forward


def _flat(chain: nn.Module, name: str) -> Iterator[tuple[str, nn.Module]]:
    for own, child in chain.named_children():
        if _is_chain(child):
            yield from _flat(child, _join(name, own))
        else:
            yield _join(name, own), child


def _chain(chain: nn.Module, name: str, found: Found) -> None:
    """Linear - elementwise - Linear: the neurons between are read by the second alone."""
    writer: tuple[str, nn.Linear] | None = None
    for path, child in _flat(chain, name):
        if type(child) is nn.Linear:
            if writer is not None and writer[1].out_features == child.in_features:
                found.parts.append(_neurons(writer[0], {writer[0]: writer[1]}, path, child.in_features))
            writer = (path, child)
        elif not isinstance(child, ELEMENTWISE):
            if writer is not None and len(list(chain.modules())) > 2:
                found.reasons.append(("neurons", f"{writer[0]} is left alone: {path}, a {type(child).__name__}, reads all its neurons at once."))
            writer = None


def _recurrent(model: nn.Module, found: Found) -> None:
    """Hidden units of an LSTM whose outputs are read by the next LSTM or by a linear head, with nothing between."""
    layers = list(model.layers) if isinstance(model, LanguageModel) else []
    placed: set[int] = set()
    for i, layer in enumerate(layers):
        lstm = getattr(layer.mixer, "lstm", None)
        if type(lstm) is not nn.LSTM:
            continue
        placed.add(id(lstm))
        name = f"layers.{i}.mixer.lstm"
        reader, why = _reader(model, layers, i)
        if lstm.num_layers > 1 or lstm.proj_size or lstm.bidirectional or not lstm.bias:
            reader, why = None, "it is not one plain layer (layers, projection, directions, biases); use repeat in place of layers"
        if reader is None:
            found.reasons.append(("recurrent", f"{name} is left alone: {why}."))
            continue
        gates = [Slab(name, own, 0, blocks=4) for own in ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")]
        slabs = (*gates, Slab(name, "weight_hh_l0", 1, reads=True), reader)
        fields = ((f"layers.{i}.mixer", "width", 1), (f"layers.{i}", "width", 1))
        found.parts.append(Part(name, "recurrent", lstm.hidden_size, slabs, (name, "output"), fields))
    for name, module in model.named_modules():
        if isinstance(module, nn.LSTM) and id(module) not in placed:
            found.reasons.append(("recurrent", f"{name} is left alone: what reads its outputs is not known in a model of your own."))


def _reader(model: Any, layers: list[Any], i: int) -> tuple[Slab | None, str]:
    """The columns that read the outputs of layer i, or why none do it alone."""
    if layers[i].residual or layers[i].feedforward is not None:
        return None, "a residual or a feed-forward reads its outputs in the model's own width"
    if i + 1 < len(layers):
        after = layers[i + 1]
        if after.residual or not isinstance(after.mixer_norm, nn.Identity) or type(getattr(after.mixer, "lstm", None)) is not nn.LSTM:
            return None, f"layers.{i + 1} does not read its outputs by an LSTM alone (a norm, a residual, or another mixer)"
        return Slab(f"layers.{i + 1}.mixer.lstm", "weight_ih_l0", 1, reads=True), ""
    head = model.head
    if not isinstance(model.final_norm, nn.Identity):
        return None, "a norm before the head reads all its outputs at once"
    if not isinstance(head, LinearSoftmax) or {own.partition(".")[0] for own, _ in head.named_parameters()} - {"output", "projection"}:
        return None, f"the head, a {type(head).__name__}, reads its outputs otherwise than by one matrix"
    return Slab("head.output" if head.projection is None else "head.projection", "weight", 1, reads=True), ""


def _without_shared(model: nn.Module, found: Found) -> None:
    """A matrix that serves in two places cannot be cut for one of them."""
    held = Counter(id(p) for module in model.modules() for p in module.parameters(recurse=False))
    used = Counter(id(child) for module in model.modules() for child in module._modules.values())
    parts = found.parts
    found.parts = []
    for part in parts:
        shared = next((s for s in part.slabs if held[id(s.of(model))] > 1 or used[id(model.get_submodule(s.module))] > 1), None)
        if shared is None:
            found.parts.append(part)
        else:
            found.reasons.append((part.kind, f"{part.name} is left alone: {shared.module}.{shared.own} also serves in another place."))
