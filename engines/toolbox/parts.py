"""Finding the parts of a network whose units can be cut out (engines.toolbox.slicing), and why others are none."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from torch import nn

from engines.toolbox.assembly import LanguageModel
from engines.toolbox.feedforward import FeedForward
from engines.toolbox.heads import LinearSoftmax
from engines.toolbox.inputs import Convolution
from engines.toolbox.slicing import NORMS, Found, Kind, Part, Slab

ELEMENTWISE = (
    nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.ELU, nn.SELU, nn.CELU, nn.GELU, nn.SiLU, nn.Mish, nn.Tanh, nn.Sigmoid, nn.Softplus, nn.Hardtanh, nn.Hardswish,
    nn.Hardsigmoid, nn.LogSigmoid, nn.Softsign, nn.Dropout, nn.AlphaDropout, nn.Identity,
)  # fmt: skip
"""What may stand between two Linear or convolutions of a chain: every neuron by itself, without weights."""

ATTENTIONS: tuple[tuple[tuple[str, str, str, str], str, str], ...] = (
    (("q_proj", "k_proj", "v_proj", "o_proj"), "", "head_dim"),
    (("self.query", "self.key", "self.value", "output.dense"), "self", "attention_head_size"),
)
"""Attention of transformers' models, Llama's and BERT's: (queries, keys, values, output), and who knows the width of a head as what. They find out
how many heads there are from what the matrices give."""

CHANNELWISE = (
    *NORMS, nn.Dropout1d, nn.Dropout2d, nn.MaxPool1d, nn.MaxPool2d, nn.AvgPool1d, nn.AvgPool2d, nn.AdaptiveMaxPool1d, nn.AdaptiveMaxPool2d,
    nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.ConstantPad1d, nn.ConstantPad2d, nn.ZeroPad1d, nn.ZeroPad2d, nn.ReflectionPad1d,
    nn.ReflectionPad2d, nn.ReplicationPad1d, nn.ReplicationPad2d, nn.CircularPad1d, nn.CircularPad2d, nn.Upsample,
)  # fmt: skip
"""What may stand between two convolutions, too: every channel by itself."""

PAIRS: tuple[tuple[tuple[str, ...], str], ...] = (
    (("inner", "gate"), "outer"),
    (("linear1",), "linear2"),
    (("gate_proj", "up_proj"), "down_proj"),
    (("intermediate.dense",), "output.dense"),
)
"""Feed-forward networks by the names of their Linear children, (writing, reading): ours, torch's transformer layers, Llama's and BERT's."""


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
        elif not _named_attention(module, name, found):
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


def _named_attention(module: nn.Module, name: str, found: Found) -> bool:
    """Heads of attention that is known by the names of its matrices; whether it is one."""
    for paths, holder, attribute in ATTENTIONS:
        linears = {_join(name, path): linear for path in paths if (linear := _linear(module, path)) is not None}
        if len(linears) < len(paths):
            continue
        width = getattr(module.get_submodule(holder), attribute, 0)
        query, key, value, output = linears.values()
        rows = key.out_features
        fits = width and rows % width == 0 and rows == value.out_features and query.out_features % rows == 0
        if not fits or query.out_features != output.in_features:
            found.reasons.append(("heads", f"{name} is left alone: its matrices are not (heads, head width) by width."))
            return True
        queries, reader = query.out_features // rows * width, _join(name, paths[-1])
        widths = dict(zip(linears, (queries, width, width), strict=False))
        writing = [Slab(path, own, 0, width=each) for path, each in widths.items() for own, _ in linears[path].named_parameters()]
        sizes = (("num_attention_heads", queries // width), ("all_head_size", queries))
        fields = tuple((_join(name, holder), own, numbers) for own, numbers in sizes if hasattr(module.get_submodule(holder), own))
        slabs = (*writing, Slab(reader, "weight", 1, reads=True, width=queries))
        found.parts.append(Part(name, "heads", rows // width, slabs, (reader, "input"), fields, columns=queries))
        return True
    return False


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
    """Linear - elementwise - Linear: the neurons between are read by the second alone; so are the channels between two convolutions, or between
    the last of them and the Linear behind a Flatten, where what stands between works on every channel by itself."""
    writer: tuple[str, Any] | None = None
    inner: dict[str, nn.Module] = {}
    for path, child in _flat(chain, name):
        if type(child) is nn.Linear or cuttable(child):
            flat = any(isinstance(module, nn.Flatten) for module in inner.values())
            if writer is not None and (part := between(writer, inner, path, child, flat=flat)) is not None:
                found.parts.append(part)
            writer, inner = (path, child), {}
        elif isinstance(child, ELEMENTWISE) or (writer is not None and cuttable(writer[1]) and _by_channel(child)):
            inner[path] = child
        else:
            if writer is not None and len(list(chain.modules())) > 2:
                kind: Kind = "neurons" if type(writer[1]) is nn.Linear else "channels"
                found.reasons.append((kind, f"{writer[0]} is left alone: {path}, a {type(child).__name__}, reads all its {kind} at once."))
            writer = None


def cuttable(module: nn.Module) -> bool:
    """A convolution all of whose channels are read together."""
    return isinstance(module, Convolution) and type(module) in Convolution and module.groups == 1


def _by_channel(module: nn.Module) -> bool:
    return isinstance(module, CHANNELWISE) or (isinstance(module, nn.Flatten) and (module.start_dim, module.end_dim) == (1, -1))


def between(writer: tuple[str, Any], inner: Mapping[str, nn.Module], path: str, reader: Any, *, flat: bool) -> Part | None:
    """The units that the first writes and the second alone reads; None where their sizes do not fit. inner: what stands between, by name; flat:
    whether a Linear may read channels, each as several numbers."""
    name, written = writer
    if type(written) is nn.Linear:
        fits = type(reader) is nn.Linear and written.out_features == reader.in_features
        return _neurons(name, {name: written}, path, reader.in_features) if fits else None
    units, read = written.out_channels, reader.in_features if type(reader) is nn.Linear else reader.in_channels
    if (type(reader) is nn.Linear and not flat) or read % units or (read != units and type(reader) is not nn.Linear):
        return None
    writing = [Slab(name, own, 0) for own, _ in written.named_parameters(recurse=False)]
    for norm, module in inner.items():
        if isinstance(module, NORMS):
            writing += [Slab(norm, own, 0) for own in ("weight", "bias", "running_mean", "running_var") if getattr(module, own) is not None]
    return Part(name, "channels", units, (*writing, Slab(path, "weight", 1, reads=True, width=read // units)), (path, "input"))


def loose_convolutions(model: nn.Module, found: Found) -> list[tuple[Kind, str]]:
    """One sentence for all that are read otherwise than by one part alone."""
    cut, told = {part.name for part in found.parts}, " ".join(sentence for _, sentence in found.reasons)
    loose = [name for name, module in model.named_modules() if isinstance(module, Convolution) and name not in cut and f"{name} is left" not in told]
    if loose:
        verb = "is" if len(loose) == 1 else "are"
        return [("channels", f"{', '.join(loose)} {verb} left alone: nothing shows that one part alone reads the channels, each by itself.")]
    return []


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
