"""Modules whose matrices are kept as packed codes: Linear, convolutions, LSTM, GRU and Embedding that unpack them when they are called.

A matrix is stored in the bytes that its bits need (uint8, plain tensors, so safetensors keep them); products stay in float. Inference only.
Shapes: E outputs (rows), D inputs (columns; of a convolution channels times places of its kernel), N rows asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from fnmatch import fnmatchcase
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from engines.toolbox.exchanging import exchange
from engines.toolbox.quantisers import Quantised, Scheme, dequantise, pack, packed_bytes, unpack

Kind = Literal["Linear", "LSTM", "GRU", "Conv1d", "Conv2d", "Embedding"]
KINDS: dict[str, type[nn.Module]] = {
    "Linear": nn.Linear, "LSTM": nn.LSTM, "GRU": nn.GRU, "Conv1d": nn.Conv1d, "Conv2d": nn.Conv2d, "Embedding": nn.Embedding,
}  # fmt: skip


class StoredMatrix(nn.Module):
    """A matrix of `rows` x `columns` numbers as packed codes of `bits` bits, and what turns them into numbers."""

    def __init__(self, rows: int, columns: int, bits: int) -> None:
        super().__init__()
        self.rows, self.columns, self.bits = rows, columns, bits
        self.packed = nn.Parameter(torch.zeros(rows, packed_bytes(columns, bits), dtype=torch.uint8), requires_grad=False)
        self.kept = False
        """Whether the dense form is kept after the first call: the speed and memory of floats, the file of codes."""
        self._dense: Tensor | None = None

    def decode(self, packed: Tensor, rows: Tensor | None) -> Tensor:
        """The numbers of packed rows; `rows` are their places in the matrix, None for all of them in order."""
        raise NotImplementedError

    def description(self) -> dict[str, Any]:
        """Plain values from which `empty` makes room for the same matrix."""
        raise NotImplementedError

    def dense(self) -> Tensor:
        """All numbers, (E, D), float32."""
        if self._dense is not None:
            return self._dense
        dense_ED = self.decode(self.packed, None)
        if self.kept:
            self._dense = dense_ED
        return dense_ED

    def some(self, ids: Tensor) -> Tensor:
        """The rows `ids` (any shape), (..., D), float32; only they are unpacked."""
        if self._dense is not None:
            return F.embedding(ids, self._dense)
        flat = ids.flatten()
        return self.decode(self.packed[flat], flat).view(*ids.shape, self.columns)

    def bytes(self) -> int:
        """Bytes of codes and of what belongs to them."""
        return sum(t.numel() * t.element_size() for t in (*self.parameters(recurse=False), *self.buffers(recurse=False)))

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        self._dense = None
        super()._load_from_state_dict(*args, **kwargs)

    def _apply(self, *args: Any, **kwargs: Any) -> Any:
        self._dense = None  # moved to another device
        return super()._apply(*args, **kwargs)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_dense": None}


class GridMatrix(StoredMatrix):
    """Codes on a linear grid: s (c - z)."""

    def __init__(self, rows: int, columns: int, scheme: Scheme) -> None:
        super().__init__(rows, columns, scheme.bits)
        self.scheme = scheme
        shape = scheme.shape(rows, columns)
        self.register_buffer("scale", torch.ones(shape, dtype=scheme.scale_type))
        self.register_buffer("zero", None if scheme.symmetric else torch.zeros(shape, dtype=torch.uint8))

    @classmethod
    def of(cls, quantised: Quantised) -> GridMatrix:
        rows, columns = quantised.codes_ED.shape
        made = cls(rows, columns, quantised.scheme).to(quantised.codes_ED.device)
        made.packed.data.copy_(pack(quantised.codes_ED, quantised.scheme.bits))
        made.get_buffer("scale").copy_(quantised.scale_RG)
        if quantised.zero_RG is not None:
            made.get_buffer("zero").copy_(quantised.zero_RG)
        return made

    def decode(self, packed: Tensor, rows: Tensor | None) -> Tensor:
        scale, zero = self.get_buffer("scale"), None if self.scheme.symmetric else self.get_buffer("zero")
        if rows is not None and scale.shape[0] > 1:
            scale, zero = scale[rows], None if zero is None else zero[rows]
        return dequantise(unpack(packed, self.bits, self.columns), scale, zero, self.scheme)

    def description(self) -> dict[str, Any]:
        return {"form": "grid", "rows": self.rows, "columns": self.columns, "scheme": asdict(self.scheme)}


class CodebookMatrix(StoredMatrix):
    """Codes are places in one list of at most 2^b shared values."""

    def __init__(self, rows: int, columns: int, bits: int, size: int) -> None:
        super().__init__(rows, columns, bits)
        self.register_buffer("values", torch.zeros(size))

    @classmethod
    def of(cls, codes_ED: Tensor, values: Tensor, bits: int) -> CodebookMatrix:
        rows, columns = codes_ED.shape
        made = cls(rows, columns, bits, len(values)).to(codes_ED.device)
        made.packed.data.copy_(pack(codes_ED.to(torch.uint8), bits))
        made.get_buffer("values").copy_(values)
        return made

    def decode(self, packed: Tensor, rows: Tensor | None) -> Tensor:
        values: Tensor = self.get_buffer("values")
        codes = unpack(packed, self.bits, self.columns)
        # Narrow places are looked up faster, but graphs take wide ones alone.
        return values[codes.long() if torch.compiler.is_exporting() else codes.int()]

    def description(self) -> dict[str, Any]:
        size = len(self.get_buffer("values"))
        return {"form": "codebook", "rows": self.rows, "columns": self.columns, "bits": self.bits, "size": size}


def matrices_in(module: nn.Module) -> list[StoredMatrix]:
    """The packed matrices of a model, shared ones once. Each stands for rows x columns numbers, not for the bytes it takes."""
    return [matrix for matrix in module.modules() if isinstance(matrix, StoredMatrix)]


def empty(description: Mapping[str, Any]) -> StoredMatrix:
    """Room for the matrix that a state_dict will bring."""
    rows, columns = int(description["rows"]), int(description["columns"])
    if description["form"] == "codebook":
        return CodebookMatrix(rows, columns, int(description["bits"]), int(description["size"]))
    return GridMatrix(rows, columns, Scheme(**description["scheme"]))


class PackedLinear(nn.Module):
    """y = W x + b, (..., D) -> (..., E)."""

    def __init__(self, like: nn.Linear, matrices: Mapping[str, StoredMatrix]) -> None:
        super().__init__()
        self.in_features, self.out_features = like.in_features, like.out_features
        self.matrix = matrices["weight"]
        self.bias = None if like.bias is None else nn.Parameter(like.bias.detach().clone(), requires_grad=False)

    @property
    def weight(self) -> Tensor:
        """The weight as floats, for code that reads rows of it."""
        return self.matrix.dense()

    def forward(self, input: Tensor) -> Tensor:
        return F.linear(input, self.matrix.dense().to(input.dtype), None if self.bias is None else self.bias.to(input.dtype))


class PackedConv(nn.Module):
    """nn.Conv1d or nn.Conv2d with a packed kernel, one row an output channel: the same calls and shapes."""

    def __init__(self, like: nn.Conv1d | nn.Conv2d, matrices: Mapping[str, StoredMatrix]) -> None:
        super().__init__()
        self.in_channels, self.out_channels, self.kernel_size = like.in_channels, like.out_channels, like.kernel_size
        self.stride, self.padding, self.dilation, self.groups = like.stride, like.padding, like.dilation, like.groups
        self.padding_mode, self.around, self.shape = like.padding_mode, like._reversed_padding_repeated_twice, like.weight.shape
        self.matrix = matrices["weight"]
        self.bias = None if like.bias is None else nn.Parameter(like.bias.detach().clone(), requires_grad=False)

    @property
    def weight(self) -> Tensor:
        """The kernel as floats."""
        return self.matrix.dense().view(self.shape)

    def forward(self, input: Tensor) -> Tensor:
        weight, bias = self.weight.to(input.dtype), None if self.bias is None else self.bias.to(input.dtype)
        padding: Any = self.padding
        if self.padding_mode != "zeros":
            input, padding = F.pad(input, self.around, mode=self.padding_mode), 0
        convolve: Any = F.conv1d if len(self.shape) == 3 else F.conv2d
        convolved: Tensor = convolve(input, weight, bias, self.stride, padding, self.dilation, self.groups)
        return convolved


class PackedEmbedding(nn.Module):
    """Rows of a table, unpacked as they are asked for."""

    def __init__(self, like: nn.Embedding, matrices: Mapping[str, StoredMatrix]) -> None:
        super().__init__()
        self.num_embeddings, self.embedding_dim, self.padding_idx = like.num_embeddings, like.embedding_dim, like.padding_idx
        self.width = like.embedding_dim
        self.matrix = matrices["weight"]

    @property
    def weight(self) -> Tensor:
        """The whole table as floats."""
        return self.matrix.dense()

    def forward(self, input: Tensor) -> Tensor:
        return self.matrix.some(input)


class PackedRecurrent(nn.Module):
    """nn.LSTM or nn.GRU with packed matrices and float biases: the same calls and shapes."""

    def __init__(self, like: nn.LSTM | nn.GRU, matrices: Mapping[str, StoredMatrix]) -> None:
        super().__init__()
        self.input_size, self.hidden_size, self.num_layers, self.proj_size = like.input_size, like.hidden_size, like.num_layers, like.proj_size
        self.batch_first, self.bidirectional, self.bias = like.batch_first, like.bidirectional, like.bias
        self.order = list(like._flat_weights_names)
        self.matrices = nn.ModuleDict(dict(matrices))
        for name, parameter in like.named_parameters(recurse=False):
            if name not in matrices:
                self.register_parameter(name, nn.Parameter(parameter.detach().clone(), requires_grad=False))

    def weights(self, input: Tensor) -> list[Tensor]:
        """All matrices and biases as floats, as torch's recurrent kernels want them."""
        found = [self.matrices[name].dense() if name in self.matrices else self.get_parameter(name) for name in self.order]  # type: ignore[operator]
        return [weight.to(input.dtype) for weight in found]

    def zeros(self, input: Tensor, width: int) -> Tensor:
        """A state of nothing."""
        return input.new_zeros(self.num_layers * (2 if self.bidirectional else 1), input.shape[0 if self.batch_first else 1], width)


class PackedLSTM(PackedRecurrent):
    """input (B, T, D) where batch_first, else (T, B, D); hx (h, c)."""

    def forward(self, input: Tensor, hx: tuple[Tensor, Tensor] | None = None) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        state = hx or (self.zeros(input, self.proj_size or self.hidden_size), self.zeros(input, self.hidden_size))
        y, h, c = torch.lstm(
            input, state, self.weights(input), self.bias, self.num_layers, 0.0, False, self.bidirectional, self.batch_first
        )  # fmt: skip
        return y, (h, c)


class PackedGRU(PackedRecurrent):
    """input (B, T, D) where batch_first, else (T, B, D); hx (layers, B, H)."""

    def forward(self, input: Tensor, hx: Tensor | None = None) -> tuple[Tensor, Tensor]:
        state = self.zeros(input, self.hidden_size) if hx is None else hx
        return torch.gru(input, state, self.weights(input), self.bias, self.num_layers, 0.0, False, self.bidirectional, self.batch_first)


FORMS: dict[type[nn.Module], Callable[[Any, Mapping[str, StoredMatrix]], nn.Module]] = {
    nn.Linear: PackedLinear, nn.Conv1d: PackedConv, nn.Conv2d: PackedConv, nn.LSTM: PackedLSTM, nn.GRU: PackedGRU, nn.Embedding: PackedEmbedding,
}  # fmt: skip


def stock(module: nn.Module) -> type[nn.Module] | None:
    """Which of the stock types a module computes as; None for others. A subclass with a forward of its own is another."""
    return next((kind for kind in FORMS if isinstance(module, kind) and type(module).forward is kind.forward), None)


def matrices_of(
    module: nn.Module, kinds: Sequence[Kind], include: Sequence[str], exclude: Sequence[str]
) -> tuple[dict[str, nn.Parameter], list[str]]:
    """Matrices, and kernels of convolutions, of all children of these kinds whose module name matches a pattern of `include` and none of `exclude`,
    by full parameter name; and sentences about those that match but cannot be packed. A tied weight stands under each of its names."""
    wanted_types = tuple(KINDS[kind] for kind in kinds)
    found: dict[str, nn.Parameter] = {}
    skipped: list[str] = []
    for name, child in module.named_modules():
        wanted = any(fnmatchcase(name, p) for p in include) and not any(fnmatchcase(name, p) for p in exclude)
        if not name or not wanted or not isinstance(child, wanted_types):
            continue
        if stock(child) is None:
            skipped.append(f"{name} (a {type(child).__name__} computes in a way of its own)")
        elif getattr(child, "max_norm", None) is not None:
            skipped.append(f"{name} (an embedding with max_norm changes its rows as it reads them)")
        else:
            found |= {f"{name}.{own}": parameter for own, parameter in child.named_parameters(recurse=False) if parameter.ndim > 1}
    return found, skipped


def store(module: nn.Module, matrices: Mapping[str, StoredMatrix]) -> None:
    """Exchange the modules that own these parameters (by full name; all matrices of a module together) for their packed form."""
    for name in dict.fromkeys(full.rpartition(".")[0] for full in matrices):
        child = module.get_submodule(name)
        own = {full.rpartition(".")[2]: matrix for full, matrix in matrices.items() if full.rpartition(".")[0] == name}
        kind = stock(child)
        assert kind is not None
        form = FORMS[kind](child, own)
        exchange(module, name, form)


def record_of(matrices: Mapping[str, StoredMatrix]) -> dict[str, Any]:
    """What `restored` needs, as JSON."""
    return {"matrices": {name: {**matrix.description(), "kept": matrix.kept} for name, matrix in matrices.items()}}


def restored(module: nn.Module, record: Mapping[str, Any]) -> nn.Module:
    """The structure that `store` left, with room for the codes; weights that were tied share their codes again."""
    shared: dict[int, StoredMatrix] = {}
    matrices: dict[str, StoredMatrix] = {}
    for name, description in record["matrices"].items():
        matrix = shared.setdefault(id(module.get_parameter(name)), empty(description))
        matrix.kept = bool(description["kept"])
        matrices[name] = matrix
    store(module, matrices)
    return module


def bytes_of(module: nn.Module) -> int:
    """Bytes of parameters and buffers, shared ones once."""
    return sum(t.numel() * t.element_size() for t in {id(t): t for t in (*module.parameters(), *module.buffers())}.values())
