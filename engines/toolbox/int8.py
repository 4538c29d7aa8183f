"""Linear and LSTM modules with int8 weights and activations quantised as they arrive, on the CPU's integer kernels.

Their state_dict holds plain tensors (int8 weights, their scales, biases), so it can be kept in safetensors; the kernels' own packed form is
made from these at the first call. Inference only. Shapes: E outputs, D inputs, H hidden, B rows, T tokens.
"""

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch import nn

HALF_RANGE = 127.5
"""Half of the distance between -128 and 127: the largest |w| lies between the last two levels, as in torch.ao's observers."""


def quantise(weight_ED: torch.Tensor, per_channel: bool) -> tuple[torch.Tensor, torch.Tensor]:
    """(int8 weight_ED, scale): symmetric, w ~ scale * q. One scale (shape ()) or one a row (shape (E,)), float32; halves go to even."""
    weight_ED = weight_ED.detach().float()
    largest = weight_ED.abs().amax(dim=1) if per_channel else weight_ED.abs().max()
    # A weight of zeros only still needs a scale that can be divided by; torch.ao uses the same bound.
    scale = (largest / HALF_RANGE).clamp(min=torch.finfo(torch.float32).eps)
    levels = _quantised(weight_ED, scale).int_repr()
    return levels, scale


def dequantise(levels_ED: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    """scale * q, float32."""
    return levels_ED.float() * (scale[:, None] if scale.dim() else scale)


def _quantised(weight_ED: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    """torch's quantised tensor, which the kernels pack. Deprecated since 2.13 (pytorch#184982), but there is no other way into them."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*quantized tensor creation functions.*")
        if scale.dim():
            return torch.quantize_per_channel(weight_ED, scale.double(), torch.zeros_like(scale, dtype=torch.int64), 0, torch.qint8)
        return torch.quantize_per_tensor(weight_ED, float(scale), 0, torch.qint8)


class Int8Module(nn.Module):
    """Weights as int8 parameters with scales as buffers, and the packed form that follows from them."""

    def __init__(self) -> None:
        super().__init__()
        self._packed: Any = None

    def hold(self, name: str, shape: torch.Size, per_channel: bool) -> None:
        """Room for a quantised matrix: `name` (a parameter, int8) and `name`_scale (a buffer)."""
        self.register_parameter(name, nn.Parameter(torch.zeros(shape, dtype=torch.int8), requires_grad=False))
        self.register_buffer(f"{name}_scale", torch.ones(shape[0] if per_channel else ()))

    @torch.no_grad()
    def fill(self, name: str, weight_ED: torch.Tensor) -> None:
        """Quantise a matrix into the room that `hold` made."""
        scale = self.get_buffer(f"{name}_scale")
        levels, new_scale = quantise(weight_ED, per_channel=scale.dim() > 0)
        self.get_parameter(name).copy_(levels)
        scale.copy_(new_scale)
        self._packed = None

    def float_weight(self, name: str) -> torch.Tensor:
        """What the integers stand for, float32."""
        return dequantise(self.get_parameter(name), self.get_buffer(f"{name}_scale"))

    def pack(self, name: str, bias: torch.Tensor | None) -> Any:
        """The kernels' form of a matrix. Float to quantised and back again is exact for weights that are levels already."""
        scale = self.get_buffer(f"{name}_scale")
        return torch.ops.quantized.linear_prepack(_quantised(self.float_weight(name), scale), bias)

    def packed(self, x: torch.Tensor) -> Any:
        """The packed form of the whole module, made at the first call; raises RuntimeError for inputs that the kernels cannot take."""
        if x.device.type != "cpu":
            raise RuntimeError(f"int8 modules run on the CPU's integer kernels, but the input is on {x.device}: move model and input to the CPU.")
        if self._packed is None:
            self._packed = self.make_packed()
        return self._packed

    def make_packed(self) -> Any:
        raise NotImplementedError

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        self._packed = None
        super()._load_from_state_dict(*args, **kwargs)

    def __getstate__(self) -> dict[str, Any]:
        # The packed form is a handle of the kernels: copies make their own.
        return {**self.__dict__, "_packed": None}


class Int8Linear(Int8Module):
    """y = W x + b with W in int8 and x quantised to 7 bits with one scale over the whole call. (..., D) -> (..., E)."""

    def __init__(self, like: nn.Linear, per_channel: bool) -> None:
        super().__init__()
        self.in_features, self.out_features = like.in_features, like.out_features
        self.hold("levels", like.weight.shape, per_channel)
        self.bias = None if like.bias is None else nn.Parameter(torch.zeros(like.out_features), requires_grad=False)

    @classmethod
    def of(cls, linear: nn.Linear, per_channel: bool) -> Int8Linear:
        made = cls(linear, per_channel)
        made.fill("levels", linear.weight)
        if made.bias is not None:
            made.bias.data.copy_(linear.bias.detach())
        return made

    @property
    def weight(self) -> torch.Tensor:
        """The weight as floats, for code that reads single rows of it."""
        return self.float_weight("levels")

    def make_packed(self) -> Any:
        return self.pack("levels", self.bias)

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        # reduce_range: 7-bit activations, since products of 8 bits could overflow the 16-bit sums of processors without VNNI.
        y: torch.Tensor = torch.ops.quantized.linear_dynamic(input.float(), self.packed(input), reduce_range=True)
        return y.to(input.dtype)


class Int8LSTM(Int8Module):
    """nn.LSTM with int8 matrices: the same calls and shapes."""

    def __init__(self, like: nn.LSTM, per_channel: bool) -> None:
        super().__init__()
        self.input_size, self.hidden_size, self.num_layers = like.input_size, like.hidden_size, like.num_layers
        self.batch_first, self.bidirectional = like.batch_first, like.bidirectional
        for name, parameter in like.named_parameters(recurse=False):
            if parameter.ndim > 1:
                self.hold(name, parameter.shape, per_channel)
            else:
                self.register_parameter(name, nn.Parameter(torch.zeros(parameter.shape), requires_grad=False))

    @classmethod
    def of(cls, lstm: nn.LSTM, per_channel: bool) -> Int8LSTM:
        made = cls(lstm, per_channel)
        for name, parameter in lstm.named_parameters(recurse=False):
            if parameter.ndim > 1:
                made.fill(name, parameter)
            else:
                made.get_parameter(name).data.copy_(parameter.detach())
        return made

    def make_packed(self) -> Any:
        cells = []
        for layer in range(self.num_layers):
            for direction in ("", "_reverse") if self.bidirectional else ("",):
                b_ih, b_hh = (self.get_parameter(f"bias_{part}_l{layer}{direction}") for part in ("ih", "hh"))
                w_ih, w_hh = (self.pack(f"weight_{part}_l{layer}{direction}", b) for part, b in (("ih", b_ih), ("hh", b_hh)))
                cells.append(torch.ops.quantized.make_quantized_cell_params_dynamic(w_ih, w_hh, b_ih, b_hh, True))
        return cells

    def forward(self, input: torch.Tensor, hx: tuple[torch.Tensor, torch.Tensor] | None = None) -> tuple[torch.Tensor, Any]:
        """input (B, T, D) where batch_first, else (T, B, D); hx = (h, c), each (layers * directions, B, H)."""
        cells = self.packed(input)
        if hx is None:
            directions = 2 if self.bidirectional else 1
            zeros = torch.zeros(self.num_layers * directions, input.shape[0 if self.batch_first else 1], self.hidden_size)
            hx = (zeros, zeros)
        h, c = (part.float().contiguous() for part in hx)
        y, h, c = torch.quantized_lstm(
            input.float(), (h, c), cells, True, self.num_layers, 0.0, False, self.bidirectional, self.batch_first, dtype=torch.qint8, use_dynamic=True
        )
        return y.to(input.dtype), (h.to(input.dtype), c.to(input.dtype))


def reason_against(module: nn.Module) -> str | None:
    """None where the module has an int8 form, else why it has none; the empty string for types that are not meant at all."""
    if type(module) is nn.Linear:
        return None
    if type(module) is nn.LSTM:
        if module.proj_size:
            return "an LSTM with a projection has no int8 kernel"
        return None if module.bias else "an LSTM without biases has no int8 kernel"
    return ""


def int8_form(module: nn.Module, per_channel: bool, *, empty: bool = False) -> Int8Module:
    """The int8 form of a Linear or LSTM: its quantised weights, or (`empty`) room for those that a state_dict will bring."""
    form: type[Int8Linear] | type[Int8LSTM] = Int8Linear if type(module) is nn.Linear else Int8LSTM
    return form(module, per_channel) if empty else form.of(module, per_channel)  # type: ignore[arg-type]
